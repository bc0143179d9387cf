package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// host is the host's own network stack, on a device that leads into the mesh.
type host struct {
	netlink *netlink.Handle // of the network namespace that the device was opened in
	link    netlink.Link
	address netip.Addr
	mtu     int
}

var _ inside = (*host)(nil)

// openHost gives the device of that name our address, the route to the mesh, and brings it up.
func openHost(c Config) (*host, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("talk to the kernel's network: %w", err)
	}
	h := &host{netlink: nl, address: c.Address, mtu: c.mtu(defaultMTU)}
	if err := h.configure(c); err != nil {
		nl.Close()
		return nil, err
	}
	return h, nil
}

func (h *host) configure(c Config) (err error) {
	if h.link, err = h.netlink.LinkByName(c.Interface); err != nil {
		return fmt.Errorf("find device %q: %w", c.Interface, err)
	}
	if err := h.netlink.LinkSetMTU(h.link, h.mtu); err != nil {
		return fmt.Errorf("set MTU %d of device %q: %w", h.mtu, c.Interface, err)
	}
	if err := h.setAddress(c.Network); err != nil {
		return fmt.Errorf("give device %q the address %s: %w", c.Interface, h.address, err)
	}
	if err := h.netlink.LinkSetUp(h.link); err != nil {
		return fmt.Errorf("bring device %q up: %w", c.Interface, err)
	}
	whole := netlink.Route{LinkIndex: h.link.Attrs().Index, Dst: ipNet(c.Network), Src: h.address.AsSlice()}
	if err := h.netlink.RouteReplace(&whole); err != nil {
		return fmt.Errorf("route %s to device %q: %w", c.Network, c.Interface, err)
	}
	return nil
}

// setAddress makes our address the only one of the mesh that the device has.
func (h *host) setAddress(network netip.Prefix) error {
	own := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(h.address, 128)), Flags: unix.IFA_F_NODAD}
	have, err := steady(func() ([]netlink.Addr, error) { return h.netlink.AddrList(h.link, netlink.FAMILY_V6) })
	if err != nil {
		return err
	}
	for _, a := range have {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip != h.address && network.Contains(ip) {
			if err := h.netlink.AddrDel(h.link, &a); err != nil {
				return err
			}
		}
	}
	return h.netlink.AddrReplace(h.link, own)
}

// Address implements [tunnel.Network].
func (h *host) Address() netip.Addr { return h.address }

// MTU implements [tunnel.Network].
func (h *host) MTU() int { return h.mtu }

// DialTCP implements [tunnel.Network].
func (h *host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: h.address.AsSlice()}, Control: h.control}
	return d.DialContext(ctx, "tcp6", to.String())
}

// ListenTCP implements [tunnel.Network].
func (h *host) ListenTCP(port uint16) (net.Listener, error) {
	l := net.ListenConfig{Control: h.control}
	return l.Listen(context.Background(), "tcp6", netip.AddrPortFrom(h.address, port).String())
}

// ListenUDP implements [tunnel.Network]. Its packets are never fragmented and may be as large as the MTU, whatever
// limit SetSegment set: they are what measures it.
func (h *host) ListenUDP(port uint16) (net.PacketConn, error) {
	l := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		return errors.Join(h.control(network, address, c), setOption(c, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}))
	}}
	return l.ListenPacket(context.Background(), "udp6", netip.AddrPortFrom(h.address, port).String())
}

// control binds a socket to the device. Without it the host would take packets for the mesh address from any network
// that it is in, with any source, and send ours there when the device is gone.
func (h *host) control(_, _ string, c syscall.RawConn) error {
	return setOption(c, func(fd int) error { return unix.BindToDevice(fd, h.link.Attrs().Name) })
}

func setOption(c syscall.RawConn, set func(fd int) error) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = set(int(fd)) }), err)
}

// setSegment limits segments by a route of the peer's own. Its MTU limits what we send, its advertised segment size
// what the peer sends us. Routes outlive this process with Kernel, as the device does.
func (h *host) setSegment(address netip.Addr, packet int) error {
	r := netlink.Route{LinkIndex: h.link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(address, 128))}
	if packet == 0 {
		if err := h.netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("route %s as the rest: %w", address, err)
		}
		return nil
	}
	r.Src, r.MTU, r.AdvMSS = h.address.AsSlice(), packet, packet-tcpHeaders
	if err := h.netlink.RouteReplace(&r); err != nil {
		return fmt.Errorf("route %s in packets of %d bytes: %w", address, packet, err)
	}
	return nil
}

// close forgets the device and leaves it as it is.
func (h *host) close() { h.netlink.Close() }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

var errNoName = unavailable{errors.New("no device in the kernel: it was given no name")}

// lacking makes of an error, where it says that this host or process cannot have such a device at all, one that lets the
// next best backend be tried.
func lacking(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	for _, no := range []syscall.Errno{unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENODEV, unix.ENOENT, unix.ENXIO, unix.EPROTONOSUPPORT} {
		if errors.Is(err, no) {
			return unavailable{err}
		}
	}
	return err
}
