package wireguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// newBind returns where WireGuard in user space sends and receives: the library's bind with all its offloads where
// every address is listened on, and a plain socket otherwise.
func newBind(listen netip.Addr) conn.Bind {
	if !listen.IsValid() {
		return conn.NewDefaultBind()
	}
	return &oneAddress{address: listen.Unmap()}
}

// bufferSize is what to ask for a socket's buffers, in bytes. The kernel gives what it may.
const bufferSize = 4 << 20

// oneAddress is a bind with one socket on one address.
type oneAddress struct {
	address netip.Addr
	mu      sync.RWMutex
	socket  *net.UDPConn
}

var _ conn.Bind = (*oneAddress)(nil)

// Open implements conn.Bind.
func (b *oneAddress) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.socket != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	s, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.address, port)))
	if err != nil {
		return nil, 0, err
	}
	_, _ = s.SetReadBuffer(bufferSize), s.SetWriteBuffer(bufferSize)
	b.socket = s
	return []conn.ReceiveFunc{receiver(s)}, uint16(s.LocalAddr().(*net.UDPAddr).Port), nil
}

// receiver returns what receives from a socket. Packets from one peer after another share their endpoint.
func receiver(s *net.UDPConn) conn.ReceiveFunc {
	last := &endpoint{}
	return func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, a, err := s.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		if a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()); a != last.to {
			last = &endpoint{a}
		}
		sizes[0], from[0] = n, last
		return 1, nil
	}
}

// Close implements conn.Bind.
func (b *oneAddress) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.socket == nil {
		return nil
	}
	err := b.socket.Close()
	b.socket = nil
	return err
}

// Send implements conn.Bind.
func (b *oneAddress) Send(packets [][]byte, to conn.Endpoint) error {
	e, ok := to.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.RLock()
	s := b.socket
	b.mu.RUnlock()
	if s == nil {
		return net.ErrClosed
	}
	for _, p := range packets {
		if _, err := s.WriteToUDPAddrPort(p, e.to); err != nil {
			return sendError(err)
		}
	}
	return nil
}

// sendError takes the two addresses away that the net package adds.
func sendError(err error) error {
	if no := syscall.Errno(0); errors.As(err, &no) {
		return fmt.Errorf("send: %w", no)
	}
	return redacted{err}
}

// ParseEndpoint implements conn.Bind.
func (b *oneAddress) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, errors.New("want address:port")
	}
	return &endpoint{netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}, nil
}

// SetMark implements conn.Bind. Marks are for routing by policy, which a socket on one address has no use for.
func (b *oneAddress) SetMark(uint32) error { return nil }

// BatchSize implements conn.Bind.
func (b *oneAddress) BatchSize() int { return 1 }

// endpoint is where a peer is, for a socket whose own address never changes. It is never changed.
type endpoint struct{ to netip.AddrPort }

// ClearSrc implements conn.Endpoint.
func (e *endpoint) ClearSrc() {}

// SrcToString implements conn.Endpoint.
func (e *endpoint) SrcToString() string { return "" }

// DstToString implements conn.Endpoint.
func (e *endpoint) DstToString() string { return e.to.String() }

// DstToBytes implements conn.Endpoint.
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.to.MarshalBinary() // cannot fail
	return b
}

// DstIP implements conn.Endpoint.
func (e *endpoint) DstIP() netip.Addr { return e.to.Addr() }

// SrcIP implements conn.Endpoint.
func (e *endpoint) SrcIP() netip.Addr { return netip.Addr{} }
