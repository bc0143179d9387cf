package relay

import "net/netip"

// reachable returns where a socket that listens on a is reached from the same host.
func reachable(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = loopback(ip)
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// loopback returns the loopback address of the same family.
func loopback(of netip.Addr) netip.Addr {
	if of.Unmap().Is6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
