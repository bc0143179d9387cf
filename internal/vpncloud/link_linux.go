package vpncloud

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// overhead is what vpncloud adds to a packet at most: outer IPv6 and UDP headers, and its own.
	overhead = 73
	maxMTU   = 1500 - overhead
	// minMTU is IPv6's: with less, the kernel takes the addresses away. What is larger than the way underneath then goes
	// in fragments.
	minMTU = 1280
	// segmentHeaders are IPv6's and TCP's.
	segmentHeaders = 40 + 20
)

// link is the TUN device. It is ours and stays when the program ends, so that addresses, routes and sockets do.
type link struct {
	name    string
	address netip.Addr
	network netip.Prefix
}

// openLink makes the device. One of that name that nobody uses is what a predecessor left.
func openLink(name string, address netip.Addr, network netip.Prefix) (*link, error) {
	l := &link{name: name, address: address, network: network}
	if err := errors.Join(Clear(name), mustBeFree(name)); err != nil {
		return nil, err
	}
	if err := l.ensure(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// Clear removes the TUN device of that name that a killed predecessor left. Others' are left alone.
func Clear(name string) error {
	old, err := netlink.LinkByName(name)
	if isNoLink(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for interface %q: %w", name, err)
	}
	if old.Type() != "tuntap" || inUse(old) {
		return nil
	}
	if err := netlink.LinkDel(old); err != nil && !isNoLink(err) {
		return fmt.Errorf("remove stale interface %q: %w", name, err)
	}
	return nil
}

// mustBeFree returns an error where there is a device of that name.
func mustBeFree(name string) error {
	old, err := netlink.LinkByName(name)
	switch {
	case isNoLink(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for interface %q: %w", name, err)
	case old.Type() != "tuntap":
		return fmt.Errorf("interface %q exists and is no TUN device", name)
	}
	return fmt.Errorf("interface %q is in use by another program", name)
}

// inUse reports whether a program has the TUN device open.
func inUse(l netlink.Link) bool {
	flags := l.Attrs().RawFlags
	return flags&unix.IFF_LOWER_UP != 0 && flags&unix.IFF_UP != 0
}

func isNoLink(err error) bool { return errors.As(err, &netlink.LinkNotFoundError{}) }

// ensure makes the device if it is not there.
func (l *link) ensure() error {
	_, err := netlink.LinkByName(l.name)
	if !isNoLink(err) {
		return err
	}
	tun := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: l.name, MTU: maxMTU}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI,
	}
	if err := netlink.LinkAdd(tun); err != nil {
		return fmt.Errorf("make interface %q: %w", l.name, err)
	}
	for _, f := range tun.Fds { // it stays without us, and has room for one user
		if err := f.Close(); err != nil {
			return fmt.Errorf("make interface %q: %w", l.name, err)
		}
	}
	return l.configure()
}

// configure sets MTU, address and routes, whatever is there.
func (l *link) configure() error {
	wrap := func(what string, err error) error { return fmt.Errorf("%s of interface %q: %w", what, l.name, err) }
	dev, err := netlink.LinkByName(l.name)
	if err != nil {
		return wrap("look", err)
	}
	if mtu := min(max(dev.Attrs().MTU, minMTU), maxMTU); mtu != dev.Attrs().MTU {
		if err := netlink.LinkSetMTU(dev, mtu); err != nil {
			return wrap("set MTU", err)
		}
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(l.address, l.address.BitLen())), Flags: unix.IFA_F_NODAD}
	err = netlink.AddrReplace(dev, address)
	if errors.Is(err, unix.EACCES) { // IPv6 is off for new interfaces
		err = os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", l.name, "disable_ipv6"), []byte("0"), 0)
		if err == nil {
			err = netlink.AddrReplace(dev, address)
		}
	}
	if err != nil {
		return wrap("set IPv6 address", err)
	}
	if err := netlink.LinkSetUp(dev); err != nil {
		return wrap("set up", err)
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: dev.Attrs().Index, Dst: ipNet(l.network)}); err != nil {
		return wrap("set route", err)
	}
	return nil
}

// segment makes TCP advertise segments that fit into a packet of so many bytes, to one address; 0 undoes it.
func (l *link) segment(address netip.Addr, packet int) error {
	dev, err := netlink.LinkByName(l.name)
	if err != nil {
		return fmt.Errorf("set segment: %w", err)
	}
	route := &netlink.Route{LinkIndex: dev.Attrs().Index, Dst: ipNet(netip.PrefixFrom(address, address.BitLen()))}
	if packet == 0 {
		if err := netlink.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("forget segment of %v: %w", address, err)
		}
		return nil
	}
	route.AdvMSS = max(packet, minMTU) - segmentHeaders
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("set segment of %v: %w", address, err)
	}
	return nil
}

func (l *link) mtu() int {
	dev, err := netlink.LinkByName(l.name)
	if err != nil {
		return maxMTU
	}
	return dev.Attrs().MTU
}

func (l *link) close() error {
	dev, err := netlink.LinkByName(l.name)
	if isNoLink(err) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(dev)
	}
	if err != nil {
		return fmt.Errorf("remove interface %q: %w", l.name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// attributes are the child's: a group of its own, and the end of the thread that started it is its own.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// lowPorts are those that only a process with CAP_NET_BIND_SERVICE may listen on.
const lowPorts = 1024

// start starts the program on a port, without the right to low ports if it needs none: whoever runs the mesh may have it
// as an ambient capability, for relays, and a child gets what the thread has that starts it (capabilities(7)).
func start(cmd *exec.Cmd, port uint16) error {
	if port < lowPorts {
		return cmd.Start()
	}
	runtime.LockOSThread()
	ambient := func(what uintptr) (int, error) {
		return unix.PrctlRetInt(unix.PR_CAP_AMBIENT, what, unix.CAP_NET_BIND_SERVICE, 0, 0)
	}
	had, err := ambient(unix.PR_CAP_AMBIENT_IS_SET)
	if err == nil && had == 1 {
		_, err = ambient(unix.PR_CAP_AMBIENT_LOWER)
	}
	if err == nil {
		err = cmd.Start()
	}
	if had == 1 {
		if _, back := ambient(unix.PR_CAP_AMBIENT_RAISE); back != nil {
			// Nobody else may get this thread: it ends with its goroutine, and the child with it.
			return errors.Join(err, fmt.Errorf("take the right to low ports back: %w", back))
		}
	}
	runtime.UnlockOSThread()
	return err
}

// uptimeHours counts hours as vpncloud does.
func uptimeHours() uint16 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &t); err != nil {
		return 0
	}
	return uint16(t.Sec / 3600)
}

// makeInMemory makes an empty private folder in a file system in memory.
func makeInMemory(name string) (string, error) {
	var wrong []error
	for _, root := range []string{"/run", "/dev/shm"} {
		var fs unix.Statfs_t
		if unix.Statfs(root, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
			continue
		}
		path := filepath.Join(root, name)
		err := os.RemoveAll(path)
		if err == nil {
			err = os.Mkdir(path, 0o700)
		}
		if err == nil {
			return path, nil
		}
		wrong = append(wrong, err) // /run is root's, and a service's sandbox may have it read-only
	}
	if len(wrong) == 0 {
		return "", errors.New("neither /run nor /dev/shm is in memory")
	}
	return "", errors.Join(wrong...)
}
