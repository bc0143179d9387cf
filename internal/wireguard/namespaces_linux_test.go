package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lan is a router with hosts around it, in namespaces of their own. It needs root, no other program, and of the kernel
// no more than pairs of Ethernet devices.
type lan struct {
	t     *testing.T
	hub   *namespace
	hosts map[int]place
}

// namespace is a network namespace without a name: it ends with the last file that is open in it.
type namespace struct{ file *os.File }

// newNamespace makes a namespace in which loopback is up.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return errors.Join(err, up("lo"))
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("network namespaces need root: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.file.Close() })
	return n
}

// onThread calls f on a thread of its own, and brings the thread back to where it was.
func onThread(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and is lost with the goroutine
	}
	runtime.UnlockOSThread()
	return err
}

func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{t: t, hub: newNamespace(t), hosts: map[int]place{}}
	err := l.hub.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// host returns the n-th host, whose eth0 is in a network of its own and has the router as default route.
func (l *lan) host(n int) place {
	l.t.Helper()
	if p, ok := l.hosts[n]; ok {
		return p
	}
	ns, port := newNamespace(l.t), fmt.Sprintf("port%d", n)
	router, host := netip.AddrFrom4([4]byte{192, 0, 2, byte(4*n + 1)}), netip.AddrFrom4([4]byte{192, 0, 2, byte(4*n + 2)})
	err := l.hub.do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = port
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns.file.Fd())})
		return errors.Join(err, attach(port, router))
	})
	err = errors.Join(err, ns.do(func() error {
		return errors.Join(attach("eth0", host), netlink.RouteAdd(&netlink.Route{Gw: router.AsSlice()}))
	}))
	if errors.Is(err, unix.EOPNOTSUPP) {
		l.t.Skipf("the kernel has no pairs of Ethernet devices: %v", err)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.hosts[n] = place{host, ns.do}
	return l.hosts[n]
}

// attach gives a device an address in a network of four, and brings it up.
func attach(name string, a netip.Addr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 30))}
	return errors.Join(netlink.AddrAdd(l, address), netlink.LinkSetUp(l))
}

// opener opens members with a device in the kernel, each on a host of its own.
func (l *lan) opener(b Backend) opener {
	return func(t testing.TB, n int, change func(*Config)) *end {
		t.Helper()
		// Names are this process's own: tools' sockets are by name alone.
		c := Config{Backend: b, Interface: fmt.Sprintf("pw%d-%d", os.Getpid()%100_000, n), Address: meshAddress(n)}
		if change != nil {
			change(&c)
		}
		e, err := tryEnd(t, l.host(n), c)
		if none := (unavailable{}); errors.As(err, &none) {
			t.Skip(none.Error())
		}
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// giveAddress gives a device an IPv6 address, at once.
func giveAddress(name string, a netip.Addr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 128)), Flags: unix.IFA_F_NODAD})
}

// routeTo sends what is for an address to a neighbour on a device's link.
func routeTo(name string, to, neighbour netip.Addr) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(netip.PrefixFrom(to, 128)), Gw: neighbour.AsSlice()})
}

// linkLocal returns a host's own IPv6 address on the link to the router.
func linkLocal(t *testing.T, e *end) (a netip.Addr) {
	t.Helper()
	err := e.place.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := steady(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_V6) })
		for _, has := range all {
			if has.IP.IsLinkLocalUnicast() {
				a, _ = netip.AddrFromSlice(has.IP)
			}
		}
		return err
	})
	if err != nil || !a.IsValid() {
		t.Fatalf("address of eth0: %v, %v", a, err)
	}
	return a
}

// listenEverywhere opens a UDP port of the mesh address as programs do that know nothing of the mesh.
func listenEverywhere(t *testing.T, e *end) (c net.PacketConn) {
	t.Helper()
	err := e.place.do(func() (err error) {
		c, err = net.ListenUDP("udp6", &net.UDPAddr{IP: e.Address().AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heard reports whether a datagram is there.
func heard(c net.PacketConn) bool {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return false
	}
	_, _, err := c.ReadFrom(make([]byte, 100))
	return err == nil
}
