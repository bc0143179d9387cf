package meshrun

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// TestForwardThroughTunnels goes from a port of one host to a program of another through two real tunnels.
func TestForwardThroughTunnels(t *testing.T) {
	near, far := netstack(t), netstack(t)
	for a, b := range map[*wireguardEnd]*wireguardEnd{near: far, far: near} {
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.ListenPort())
		if err := a.SetPeers([]tunnel.Peer{{Key: b.public, Address: b.Address(), Endpoint: at}}); err != nil {
			t.Fatal(err)
		}
	}
	to, accept := node(t)
	server := &forwarder{
		network: far, logger: slog.New(slog.DiscardHandler),
		allowed: func(from netip.Addr, s access.Service) (roster.Member, bool) {
			return roster.Member{}, from == near.Address() && s == access.P2P
		},
	}
	client := &forwarder{
		network: near, logger: slog.New(slog.DiscardHandler),
		address: func(peer string) (netip.Addr, bool) { return far.Address(), peer == "far" },
		mayDial: func(string, access.Service) bool { return true },
	}
	t.Cleanup(server.close)
	t.Cleanup(client.close)
	at := freePort(t)
	if err := server.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := client.set(nil, []api.Forward{{Peer: "far", Service: "p2p", Listen: at}}); err != nil {
		t.Fatal(err)
	}
	converse(t, dial(t, at), accept())
	a, b := dial(t, at), accept()
	say(t, a, b, "hello")
	client.close()
	broken(t, a)
	broken(t, b)
}

type wireguardEnd struct {
	*wireguard.Device
	public tunnel.Key
}

func netstack(t *testing.T) *wireguardEnd {
	private, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := private.Public()
	if err != nil {
		t.Fatal(err)
	}
	var address [16]byte
	copy(address[8:], public[:])
	address[0] = 0xfd
	d, err := wireguard.Open(t.Context(), wireguard.Config{
		Backend: wireguard.Netstack, PrivateKey: private, Listen: netip.MustParseAddrPort("127.0.0.1:0"),
		Address: netip.AddrFrom16(address), Network: netip.MustParsePrefix("fd00::/48"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return &wireguardEnd{d, public}
}
