package wireguard

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressenter/pressenter/internal/tunnel"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

func TestWriteUAPI(t *testing.T) {
	key, port := wgtypes.Key{7}, 51820
	var peers []tunnel.Peer
	for _, p := range member().Peers {
		peers = append(peers, p.Peer)
	}
	var m model
	m.apply(changes(nil, peers))
	moved := peers[1]
	moved.Address, moved.Keepalive = meshAddress(9), 90*time.Millisecond
	text := "== a new device\n" + writeUAPI(wgtypes.Config{PrivateKey: &key, ListenPort: &port, Peers: changes(nil, peers)}) +
		"== one goes, one moves, one stays\n" + writeUAPI(wgtypes.Config{Peers: changes(m.peers, []tunnel.Peer{peers[0], moved})}) +
		"== reset\n" + writeUAPI(wgtypes.Config{Peers: anew(m.peers[1])})
	golden(t, "testdata/uapi.txt", text)
}

// What a device is told is what it tells, but for the lines that order.
func TestReadUAPIReadsWhatIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		port := rapid.IntRange(0, 65535).Draw(t, "port")
		steps := changes(nil, anyPeers(t, "peers"))
		var m model
		m.apply(steps)
		got, err := readUAPI(writeUAPI(wgtypes.Config{ListenPort: &port, Peers: steps}))
		if err != nil {
			t.Fatal(err)
		}
		var seen model
		seen.peers = got.Peers
		if again := changes(seen.peers, nil); len(again) != len(m.peers) {
			t.Fatalf("read %d peers of %d", len(again), len(m.peers))
		}
		for i, p := range m.peers {
			g := got.Peers[i]
			if g.PublicKey != p.PublicKey || addrPort(g.Endpoint) != addrPort(p.Endpoint) || !sameNets(g.AllowedIPs, p.AllowedIPs) ||
				g.PersistentKeepaliveInterval != p.PersistentKeepaliveInterval || got.ListenPort != port {
				t.Fatalf("read %+v, want %+v", g, p)
			}
		}
	})
}

func TestReadUAPI(t *testing.T) {
	text := "private_key=" + strings.Repeat("01", 32) + "\nlisten_port=5\npublic_key=" + strings.Repeat("02", 32) +
		"\nendpoint=[2001:db8::1]:7\nlast_handshake_time_sec=3\nlast_handshake_time_nsec=4\nrx_bytes=5\ntx_bytes=6\n" +
		"allowed_ip=fd5e::1/128\nallowed_ip=10.0.0.0/8\nunheard_of=1\npublic_key=" + strings.Repeat("03", 32) + "\nendpoint=[::ffff:192.0.2.1]:8\n"
	d, err := readUAPI(text)
	if err != nil {
		t.Fatal(err)
	}
	if d.PrivateKey != (wgtypes.Key{}) || d.ListenPort != 5 || len(d.Peers) != 2 {
		t.Fatalf("got private key or port %d or %d peers", d.ListenPort, len(d.Peers))
	}
	p, q := d.Peers[0], d.Peers[1]
	if p.PublicKey[0] != 2 || p.Endpoint.String() != "[2001:db8::1]:7" || !p.LastHandshakeTime.Equal(time.Unix(3, 4)) ||
		p.ReceiveBytes != 5 || p.TransmitBytes != 6 || len(p.AllowedIPs) != 2 {
		t.Errorf("first peer: %+v", p)
	}
	if q.PublicKey[0] != 3 || q.Endpoint.String() != "192.0.2.1:8" || !q.LastHandshakeTime.IsZero() || q.AllowedIPs != nil {
		t.Errorf("second peer: %+v", q)
	}
	for _, bad := range []string{
		"listen_port=70000", "public_key=02", "public_key=zz", "public_key=%s\nendpoint=host:1", "public_key=%s\nallowed_ip=1",
		"public_key=%s\nrx_bytes=x", "public_key=%s\ntx_bytes=", "public_key=%s\nlast_handshake_time_sec=?", "public_key=%s\npersistent_keepalive_interval=-1",
	} {
		if _, err := readUAPI(strings.ReplaceAll(bad, "%s", strings.Repeat("02", 32))); err == nil {
			t.Errorf("%q was read", bad)
		} else if strings.Contains(err.Error(), "host") {
			t.Errorf("the error tells an endpoint: %v", err)
		}
	}
}

func FuzzReadUAPI(f *testing.F) {
	f.Add("listen_port=5\npublic_key=" + strings.Repeat("02", 32) + "\nendpoint=[::1]:7\nallowed_ip=fd5e::1/128\n\nerrno=0\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readUAPI(text)
		if err != nil {
			return
		}
		steps := make([]wgtypes.PeerConfig, len(d.Peers))
		for i, p := range d.Peers {
			steps[i] = wgtypes.PeerConfig{
				PublicKey: p.PublicKey, Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, PersistentKeepaliveInterval: &p.PersistentKeepaliveInterval,
			}
		}
		again, err := readUAPI(writeUAPI(wgtypes.Config{ListenPort: &d.ListenPort, Peers: steps}))
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		for i := range d.Peers {
			d.Peers[i].LastHandshakeTime, d.Peers[i].ReceiveBytes, d.Peers[i].TransmitBytes = time.Time{}, 0, 0
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatalf("(-read +read again):\n%s", diff)
		}
	})
}
