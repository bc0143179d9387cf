package mesh

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// fakeUDP is the socket of the control plane inside.
type fakeUDP struct {
	t      *fakeTunnel
	in     chan fakeDatagram
	closed chan struct{}
	once   sync.Once
}

type fakeDatagram struct {
	b    []byte
	from netip.Addr
}

func (t *fakeTunnel) ListenUDP(uint16) (net.PacketConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.udp = &fakeUDP{t: t, in: make(chan fakeDatagram, 256), closed: make(chan struct{})}
	return t.udp, nil
}

func (u *fakeUDP) deliver(b []byte, from netip.Addr) {
	select {
	case u.in <- fakeDatagram{b, from}:
	case <-u.closed:
	default:
	}
}

func (u *fakeUDP) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-u.in:
		return copy(b, d.b), &net.UDPAddr{IP: d.from.AsSlice(), Port: 51821}, nil
	case <-u.closed:
		return 0, nil, net.ErrClosed
	}
}

func (u *fakeUDP) WriteTo(b []byte, to net.Addr) (int, error) {
	u.t.net.pings.Add(1)
	u.t.sendUDP(b, to.(*net.UDPAddr).AddrPort().Addr())
	return len(b), nil
}

func (u *fakeUDP) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

func (u *fakeUDP) LocalAddr() net.Addr              { return &net.UDPAddr{IP: u.t.address.AsSlice(), Port: 51821} }
func (u *fakeUDP) SetDeadline(time.Time) error      { return nil }
func (u *fakeUDP) SetReadDeadline(time.Time) error  { return nil }
func (u *fakeUDP) SetWriteDeadline(time.Time) error { return nil }

// fakeListener takes TCP connections inside.
type fakeListener struct {
	t      *fakeTunnel
	in     chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (t *fakeTunnel) ListenTCP(uint16) (net.Listener, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tcp = &fakeListener{t: t, in: make(chan net.Conn, 64), closed: make(chan struct{})}
	return t.tcp, nil
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{IP: l.t.address.AsSlice(), Port: 51821} }

// fakeTCP is one end of a connection: a pipe that counts and that knows who is at the other end.
type fakeTCP struct {
	net.Conn
	net    *internet
	remote netip.Addr
}

func (c *fakeTCP) Write(b []byte) (int, error) {
	c.net.tcp.Add(uint64(len(b)) + uint64(len(b)/1300+1)*130)
	return c.Conn.Write(b)
}
func (c *fakeTCP) RemoteAddr() net.Addr { return &net.TCPAddr{IP: c.remote.AsSlice(), Port: 51821} }

// DialTCP connects when packets can go both ways at this moment, and else waits until ctx is done.
func (t *fakeTunnel) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if l := t.reach(to.Addr()); l != nil {
		a, b := net.Pipe()
		select {
		case l.in <- &fakeTCP{Conn: b, net: t.net, remote: t.address}:
			time.Sleep(2 * t.net.latency)
			return &fakeTCP{Conn: a, net: t.net, remote: to.Addr()}, nil
		case <-l.closed:
			return nil, errors.New("connection refused")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// reach returns the listener of a peer with whom there is a session on both sides; one that refuses where it has none.
func (t *fakeTunnel) reach(to netip.Addr) *fakeListener {
	t.net.mu.RLock()
	defer t.net.mu.RUnlock()
	t.mu.Lock()
	p := t.byAddr[to]
	if p == nil || p.session == 0 || t.down.Load() {
		t.mu.Unlock()
		return nil
	}
	session, key, endpoint := p.session, t.key, p.state.Endpoint
	var target *fakeTunnel
	if s := t.shims[endpoint]; s != nil {
		target = s.to
	} else {
		target = t.net.at[endpoint]
		if target != nil && (target == t || t.net.blind(t, target) || t.net.blind(target, t)) {
			target = nil
		}
	}
	t.mu.Unlock()
	if target == nil {
		return nil
	}
	target.mu.Lock()
	defer target.mu.Unlock()
	o := target.peers[key]
	if o == nil || o.session != session && o.prev != session || o.Address != t.address || target.down.Load() {
		return nil
	}
	if target.tcp == nil {
		refuses := &fakeListener{closed: make(chan struct{})}
		close(refuses.closed)
		return refuses
	}
	return target.tcp
}

// fakeRelays is a host's relay client.
type fakeRelays struct {
	t      *fakeTunnel
	byID   func(roster.Key) *fakeTunnel
	mu     sync.Mutex
	opened map[roster.Key]*shim
	broken atomic.Bool // no relay is reached
	opens  int
}

var shimPort atomic.Uint32

func (r *fakeRelays) Open(ctx context.Context, via, to roster.Member) (netip.AddrPort, error) {
	v, target := r.byID(via.Identity), r.byID(to.Identity)
	if v == nil || target == nil || v.down.Load() || r.broken.Load() {
		<-ctx.Done()
		return netip.AddrPort{}, fmt.Errorf("open relay: %w", ctx.Err())
	}
	time.Sleep(3 * r.t.net.latency)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opens++
	s := r.opened[to.Identity]
	if s == nil {
		n := shimPort.Add(1)
		s = &shim{owner: r.t, to: target, local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10000+n%50000))}
	}
	n := shimPort.Add(1)
	s = &shim{broken: &r.broken, owner: r.t, via: v, to: target, local: s.local, hop: netip.AddrPortFrom(v.whereabouts().Addr(), uint16(10000+n%50000))}
	if v == target { // handed to its own tunnel
		s.hop = netip.AddrPortFrom(s.local.Addr(), s.hop.Port())
	}
	if r.opened == nil {
		r.opened = map[roster.Key]*shim{}
	}
	r.opened[to.Identity] = s
	r.t.mu.Lock()
	r.t.shims[s.local] = s
	r.t.mu.Unlock()
	r.t.net.mu.Lock()
	r.t.net.hops[s.hop] = s
	r.t.net.mu.Unlock()
	return s.local, nil
}

func (r *fakeRelays) Close(to roster.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.opened[to]
	if s == nil {
		return
	}
	delete(r.opened, to)
	r.t.mu.Lock()
	delete(r.t.shims, s.local)
	r.t.mu.Unlock()
	r.t.net.mu.Lock()
	delete(r.t.net.hops, s.hop)
	r.t.net.mu.Unlock()
}

// keyOf derives a key that is nobody else's.
func keyOf(parts ...any) [32]byte { return sha256.Sum256([]byte(fmt.Sprint(parts...))) }
