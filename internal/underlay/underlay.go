// Package underlay is about where members are outside the mesh: it looks up the addresses that tunnels and relays send
// to, and keeps such addresses out of what is written, because a hidden validator has one too.
package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Resolve looks up the addresses of an endpoint of the roster, host:port, and leaves out what nobody can be reached at.
// There is at least one unless there is an error. An error of a name server's may say which of our own addresses asked.
func Resolve(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("look up %q: the port is not a number from 1 to 65535", hostport)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		if ip = ip.Unmap(); !ip.IsUnspecified() && !ip.IsMulticast() {
			addrs = append(addrs, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("the name has no usable address")
	}
	return addrs, nil
}
