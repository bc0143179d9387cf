package netlab

import (
	"fmt"
	"net/netip"
)

// Internet is a router with hosts around it, each in a subnet of its own out of the networks for documentation
// (RFC 5737, RFC 3849). Packets are as small on its links as on real ones: nothing is segmented later.
type Internet struct {
	Router *Namespace
	lab    *Lab
	slices int // subnets given away
	hosts  int
}

// Host is a namespace with one link to the router, and a default route through it.
type Host struct {
	*Namespace
	// Address and Address6 are what it has now; see [Host.Move].
	Address  netip.Addr
	Address6 netip.Addr
	// Device is its interface, Port the router's at the other end.
	Device, Port string

	internet         *Internet
	subnet4, subnet6 netip.Prefix
}

// Internet makes a router without hosts.
func (l *Lab) Internet() *Internet {
	l.tb.Helper()
	n := &Internet{Router: l.Namespace("router"), lab: l}
	n.Router.sysctl("net/ipv4/ip_forward", "1")
	n.Router.sysctl("net/ipv6/conf/all/forwarding", "1")
	return n
}

// Host attaches a host with an IPv4 and an IPv6 address.
func (n *Internet) Host(label string) *Host { return n.HostBehind(label, WireOptions{}) }

// HostBehind attaches a host whose link has delay or rate.
func (n *Internet) HostBehind(label string, options WireOptions) *Host {
	n.lab.tb.Helper()
	h := &Host{Namespace: n.lab.Namespace(label), Device: "eth0", Port: fmt.Sprintf("port%d", n.hosts), internet: n}
	n.hosts++
	link(n.lab, end{h.Namespace, h.Device}, end{n.Router, h.Port}, options)
	h.renumber()
	return h
}

// documentation are RFC 5737's networks, cut into /29s.
var documentation = []netip.Addr{netip.MustParseAddr("192.0.2.0"), netip.MustParseAddr("198.51.100.0"), netip.MustParseAddr("203.0.113.0")}

// slice is how many addresses a host's IPv4 subnet has.
const slice = 8

// subnets returns the i-th pair of subnets.
func subnets(i int) (v4, v6 netip.Prefix, err error) {
	offset := i / len(documentation) * slice
	if offset > 256-slice {
		return v4, v6, fmt.Errorf("the networks for documentation have room for %d subnets", len(documentation)*256/slice)
	}
	a := documentation[i%len(documentation)].As4()
	a[3] = byte(offset)
	b := netip.MustParseAddr("2001:db8::").As16()
	b[5] = byte(i + 1)
	return netip.PrefixFrom(netip.AddrFrom4(a), 29), netip.PrefixFrom(netip.AddrFrom16(b), 64), nil
}

// renumber gives the host addresses in the next free subnets. The first address is the router's.
func (h *Host) renumber() {
	h.lab.tb.Helper()
	v4, v6, err := subnets(h.internet.slices)
	h.lab.must(err)
	h.internet.slices++
	h.subnet4, h.subnet6 = v4, v6
	gateway4, gateway6 := v4.Addr().Next(), v6.Addr().Next()
	h.Address, h.Address6 = gateway4.Next(), gateway6.Next()
	h.internet.Router.batch(
		fmt.Sprintf("addr add %v/29 dev %s", gateway4, h.Port),
		fmt.Sprintf("addr add %v/64 dev %s nodad", gateway6, h.Port),
	)
	h.batch(
		fmt.Sprintf("addr add %v/29 dev %s", h.Address, h.Device),
		fmt.Sprintf("addr add %v/64 dev %s nodad", h.Address6, h.Device),
		fmt.Sprintf("route replace default via %v", gateway4),
		fmt.Sprintf("route replace default via %v", gateway6),
	)
}

// Move gives the host other addresses, in other subnets, as a provider does or a line that was cut. The old ones are
// gone before the new ones come, and nobody answers there any more.
func (h *Host) Move() {
	h.lab.tb.Helper()
	h.batch(
		fmt.Sprintf("addr del %v/29 dev %s", h.Address, h.Device),
		fmt.Sprintf("addr del %v/64 dev %s", h.Address6, h.Device),
	)
	h.internet.Router.batch(
		fmt.Sprintf("addr del %v/29 dev %s", h.subnet4.Addr().Next(), h.Port),
		fmt.Sprintf("addr del %v/64 dev %s", h.subnet6.Addr().Next(), h.Port),
	)
	h.renumber()
}

// Shape limits the host's link in both directions, in bits a second.
func (h *Host) Shape(bitsPerSecond uint64) {
	h.lab.tb.Helper()
	h.Namespace.Shape(h.Device, bitsPerSecond)
	h.internet.Router.Shape(h.Port, bitsPerSecond)
}
