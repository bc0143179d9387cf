// Package relay carries tunnel packets over TLS for members whose UDP is blocked: a switch on a sentry's opt-in port
// ([Server]) and the local end that looks like a UDP peer ([Client]). The relay sees ciphertext only.
//
// A link is one TLS 1.3 connection between a member and a relay. On it go frames: the length of a datagram in two
// bytes, big-endian, at most [MaxDatagram]; the identity of a member, its destination on the way to the relay and its
// source on the way back; the datagram. A frame without a datagram says that its sender is alive. Nothing but WireGuard
// messages is passed in either direction, and only to where the roster says that a member is, so that a relay is of no
// use to anybody else.
//
// Underlay addresses of members are never logged, nor part of an error: a hidden validator is a client like any other.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// How long things take. All of it is measured by the monotonic clock.
const (
	keepalive        = 2 * time.Second // a link says that it is alive
	silence          = 5 * time.Second // a link that says nothing for so long is dead
	handshakeTimeout = 5 * time.Second
	idle             = 3 * time.Minute // a session without traffic ends
	unanswered       = 9 * time.Second // for so long a handshake may go one way in vain; WireGuard repeats it after 5 s
	holdOff          = time.Second     // between two attempts to go the same way
)

// Resolver looks up the addresses of host:port.
type Resolver func(ctx context.Context, hostport string) ([]netip.AddrPort, error)

// lookup asks r, or the system where there is none, and leaves out what no member can be reached at.
func (r Resolver) lookup(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	if r == nil {
		r = systemResolver
	}
	found, err := r(ctx, hostport)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, a := range found {
		if a.Port() != 0 && a.Addr().IsValid() && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() {
			addrs = append(addrs, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("the name has no usable address")
	}
	return addrs, nil
}

func systemResolver(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "ip", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip, uint16(port))
	}
	return addrs, nil
}

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

// reason returns what went wrong without the addresses that the network's errors carry. A look-up that times out tells
// in words which of our addresses it asked from.
func reason(err error) error {
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			return fmt.Errorf("look up %s: no such host", dns.Name)
		case dns.IsTimeout:
			return fmt.Errorf("look up %s: no answer in time", dns.Name)
		}
		return fmt.Errorf("look up %s: no answer", dns.Name)
	}
	for op := (*net.OpError)(nil); errors.As(err, &op); {
		err = op.Err
	}
	return err
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
