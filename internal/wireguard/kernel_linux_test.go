package wireguard

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestKernel(t *testing.T) {
	testBackend(t, func(t *testing.T) opener { return newLAN(t).opener(Kernel) })
}

func TestTUN(t *testing.T) {
	testBackend(t, func(t *testing.T) opener { return newLAN(t).opener(TUN) })
}

func TestKernelDeviceIsAdopted(t *testing.T) {
	a, b := pair(t, newLAN(t).opener(Kernel))
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	reach(t, ub, ua)
	before := stateOf(t, a, b.key)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	reach(t, ub, ua) // nobody is there who would see to it
	port := a.ListenPort()
	a = openEnd(t, a.place, a.config)
	after := stateOf(t, a, b.key)
	if a.ListenPort() != port || !after.Handshake.Equal(before.Handshake) || after.Received < before.Received {
		t.Errorf("before %+v at port %d, after %+v at port %d", before, port, after, a.ListenPort())
	}
	setPeers(t, a, b.peer(b.at()))
	reach(t, ua, ub)
	if s := stateOf(t, a, b.key); !s.Handshake.Equal(before.Handshake) {
		t.Errorf("the session was made anew: %+v, then %+v", before, s)
	}
}

func TestDeviceOfAnotherKindIsRefused(t *testing.T) {
	p := newLAN(t).host(1)
	private, _ := newKey(t)
	for _, b := range []Backend{Kernel, TUN, ""} {
		err := p.do(func() error {
			_, err := Open(t.Context(), Config{Backend: b, Interface: "eth0", PrivateKey: private, Address: meshAddress(1), Network: network})
			return err
		})
		if none := (unavailable{}); errors.As(err, &none) && b == Kernel {
			t.Logf("kernel: %v", err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), `already, of kind "veth"`) {
			t.Errorf("backend %q took a device of another kind: %v", b, err)
		}
	}
	if err := p.do(func() error { return up("eth0") }); err != nil {
		t.Errorf("the device is no more: %v", err)
	}
}

func TestOpenTakesTheBestThereIs(t *testing.T) {
	l := newLAN(t)
	e := openEnd(t, l.host(1), Config{Interface: "pwbest", Address: meshAddress(1)})
	hasKernel := l.host(2).do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "probe"
		return netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	}) == nil
	t.Logf("%s, because %s", e.Backend(), e.Reason())
	if hasKernel != (e.Backend() == Kernel) || e.Backend() == Netstack {
		t.Errorf("opened %s; kernel WireGuard: %v", e.Backend(), hasKernel)
	}
	if !hasKernel && !strings.Contains(e.Reason(), "no WireGuard device") {
		t.Errorf("reason is %q", e.Reason())
	}
}

// TestKernelClear removes the kernel's device, which goes on without a process, and no device of another kind.
func TestKernelClear(t *testing.T) {
	p := newLAN(t).host(1)
	err := p.do(func() error {
		if err := errors.Join(Clear("eth0"), Clear("nothing")); err != nil {
			return err
		}
		if err := up("eth0"); err != nil {
			return err
		}
		if _, err := makeKernelDevice("mesh0"); err != nil {
			return err
		}
		if err := Clear("mesh0"); err != nil {
			return err
		}
		if _, err := netlink.LinkByName("mesh0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
			t.Errorf("the device is still there: %v", err)
		}
		return nil
	})
	if none := (unavailable{}); errors.As(err, &none) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
}
