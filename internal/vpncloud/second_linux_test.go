package vpncloud

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// TestSecondAddress lets others look for a host at an address that is not the one that it sends from by itself, as those
// are that a cloud adds to a server.
func TestSecondAddress(t *testing.T) {
	internet := newInternet(t)
	a, b := newHost(t, internet, "a"), attach(t, internet, "b")
	second := b.Address.Next()
	if out, err := b.Command(t.Context(), "ip", "addr", "add", fmt.Sprintf("%v/29", second), "dev", b.Device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.config.Public = second
	b.start()
	at := netip.AddrPortFrom(second, b.port)
	a.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: b.key, Address: b.config.Address, Endpoint: at}}})
	b.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: a.key, Address: a.config.Address}}}) // it is looked for, and does not look
	a.reaches(b.config.Address)
	for _, s := range a.must(order{Do: "state"}).States {
		if s.Endpoint != at {
			t.Errorf("b is at %v, want %v", s.Endpoint, at)
		}
	}
}

// TestClear removes the device that a killed process left, and nobody else's.
func TestClear(t *testing.T) {
	netlab.Skip(t)
	host := netlab.New(t).Namespace("clear")
	if out, err := host.Command(t.Context(), "sh", "-ec", "ip tuntap add left mode tun; ip link set left up; ip link add theirs type veth peer name other").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err := host.Do(func() error {
		for _, name := range []string{"left", "theirs", "none"} {
			if err := Clear(name); err != nil {
				return err
			}
		}
		if _, err := netlink.LinkByName("left"); !isNoLink(err) {
			t.Errorf("what was left is still there: %v", err)
		}
		_, err := netlink.LinkByName("theirs")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
