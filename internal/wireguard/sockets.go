package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// The sockets of a netstack, made to keep the net package's promises: errors that match net.ErrClosed and
// os.ErrDeadlineExceeded, and addresses that are there after the end.

// DialTCP implements [tunnel.Network].
func (n *netstack) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Is6() {
		return nil, fmt.Errorf("dial %s inside the mesh: it is not an IPv6 address", to)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.open, cancel)()
	c, err := gonet.DialTCPWithBind(ctx, n.stack, full(netip.AddrPortFrom(n.address, 0)), full(to), ipv6.ProtocolNumber)
	if err != nil {
		return nil, n.failed("dial", err)
	}
	local := c.LocalAddr()
	if local == nil || n.open.Err() != nil {
		return nil, errors.Join(n.failed("dial", net.ErrClosed), c.Close())
	}
	return &tcpConn{TCPConn: c, life: life{network: n}, local: local, remote: net.TCPAddrFromAddrPort(to)}, nil
}

// ListenTCP implements [tunnel.Network].
func (n *netstack) ListenTCP(port uint16) (net.Listener, error) {
	l, err := gonet.ListenTCP(n.stack, full(netip.AddrPortFrom(n.address, port)), ipv6.ProtocolNumber)
	if err != nil {
		return nil, n.failed("listen", err)
	}
	if n.open.Err() != nil { // the stack may not have seen it when it ended
		return nil, errors.Join(n.failed("listen", net.ErrClosed), l.Close())
	}
	return &listener{TCPListener: l, life: life{network: n}, address: l.Addr()}, nil
}

// ListenUDP implements [tunnel.Network].
func (n *netstack) ListenUDP(port uint16) (net.PacketConn, error) {
	at := full(netip.AddrPortFrom(n.address, port))
	c, err := gonet.DialUDP(n.stack, &at, nil, ipv6.ProtocolNumber)
	if err != nil {
		return nil, n.failed("listen", err)
	}
	if n.open.Err() != nil {
		return nil, errors.Join(n.failed("listen", net.ErrClosed), c.Close())
	}
	return &udpConn{UDPConn: c, life: life{network: n}, local: c.LocalAddr()}, nil
}

func (n *netstack) failed(doing string, err error) error {
	if n.open.Err() != nil {
		err = net.ErrClosed
	}
	return fmt.Errorf("%s inside the mesh: %w", doing, err)
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom16(a.Addr().As16()), Port: a.Port()}
}

// life is how long a socket goes on: until it is closed, or the network that it is of.
type life struct {
	network *netstack
	closed  atomic.Bool
}

func (l *life) over() bool { return l.closed.Load() || l.network.open.Err() != nil }

// usual returns err as the net package would have it.
func (l *life) usual(err error) error {
	var op *net.OpError
	switch {
	case err == nil:
	case l.over():
		return net.ErrClosed
	case errors.As(err, &op) && op.Timeout():
		op.Err = os.ErrDeadlineExceeded
	}
	return err
}

// tcpConn is a TCP connection.
type tcpConn struct {
	*gonet.TCPConn
	life
	local, remote net.Addr
}

func (c *tcpConn) LocalAddr() net.Addr  { return c.local }
func (c *tcpConn) RemoteAddr() net.Addr { return c.remote }

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return n, c.usual(err)
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.usual(err)
}

func (c *tcpConn) Close() error {
	c.closed.Store(true)
	return c.TCPConn.Close()
}

// listener takes TCP connections.
type listener struct {
	*gonet.TCPListener
	life
	address net.Addr
}

func (l *listener) Addr() net.Addr { return l.address }

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.TCPListener.Accept()
		if l.over() {
			if err == nil {
				_ = c.Close()
			}
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.address, Err: net.ErrClosed}
		}
		if err != nil {
			return nil, err
		}
		local, remote := c.LocalAddr(), c.RemoteAddr()
		if local == nil || remote == nil { // it is over already
			_ = c.Close()
			continue
		}
		return &tcpConn{TCPConn: c.(*gonet.TCPConn), life: life{network: l.network}, local: local, remote: remote}, nil
	}
}

func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.Shutdown()
	return l.TCPListener.Close()
}

// udpConn is a UDP port.
type udpConn struct {
	*gonet.UDPConn
	life
	local net.Addr
}

func (c *udpConn) LocalAddr() net.Addr { return c.local }

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.UDPConn.ReadFrom(b)
	return n, from, c.usual(err)
}

func (c *udpConn) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.UDPConn.WriteTo(b, to)
	return n, c.usual(err)
}

func (c *udpConn) Close() error {
	c.closed.Store(true)
	return c.UDPConn.Close()
}
