package meshrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// eventually is for what must happen and nothing else measures; no test waits for it when all is well.
const eventually = 30 * time.Second

// inside is the mesh as one host sees it: connections are real ones on loopback, addresses are the mesh's.
type inside struct {
	tunnel.Network
	t *testing.T

	mu        sync.Mutex
	listeners map[uint16]*doorway
	unknown   map[string]bool // members that left
	forbidden map[string]bool // members that we may not have to do with
	dialled   chan *net.TCPConn
	refuse    error // what dialling ends with
}

// doorway is a listener inside the mesh.
type doorway struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (d *doorway) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *doorway) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *doorway) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection whose other end is a peer.
type from struct {
	*net.TCPConn
	peer netip.Addr
}

func (c from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.peer, 1234)) }

func (n *inside) ListenTCP(port uint16) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.listeners[port]; d != nil {
		select {
		case <-d.closed:
		default:
			return nil, errors.New("the port is in use")
		}
	}
	d := &doorway{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[port] = d
	return d, nil
}

func (n *inside) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	refuse := n.refuse
	n.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	if want := netip.AddrPortFrom(meshAddress("peer"), access.P2P.Port()); to != want {
		n.t.Errorf("dialled %s, want %s", to, want)
	}
	near, far := tcpPair(n.t)
	select {
	case n.dialled <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect is a peer that connects to a service of ours.
func (n *inside) connect(peer string, s access.Service) *net.TCPConn {
	n.t.Helper()
	n.mu.Lock()
	d := n.listeners[s.Port()]
	n.mu.Unlock()
	near, far := tcpPair(n.t)
	select {
	case d.conns <- from{near, meshAddress(peer)}:
	case <-d.closed:
		n.t.Fatalf("%s is not served", s)
	}
	return far
}

func (n *inside) set(which map[string]bool, peer string, is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	which[peer] = is
}

func meshAddress(name string) netip.Addr {
	a := [16]byte{0: 0xfd}
	copy(a[1:], name)
	return netip.AddrFrom16(a)
}

// tcpPair returns both ends of a connection on loopback.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(eventually))
		t.Cleanup(func() { c.Close() })
	}
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// newForwarder returns one in a mesh of the members peer, other and whoever else is named by a test.
func newForwarder(t *testing.T) (*forwarder, *inside) {
	n := &inside{
		t: t, listeners: map[uint16]*doorway{}, unknown: map[string]bool{}, forbidden: map[string]bool{},
		dialled: make(chan *net.TCPConn),
	}
	f := &forwarder{
		network: n,
		logger:  slog.New(slog.DiscardHandler),
		allowed: func(from netip.Addr, s access.Service) (roster.Member, bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, name := range []string{"peer", "other"} {
				if meshAddress(name) == from {
					return roster.Member{Name: name}, !n.unknown[name] && !n.forbidden[name] && s == access.P2P
				}
			}
			return roster.Member{}, false
		},
		address: func(peer string) (netip.Addr, bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return meshAddress(peer), !n.unknown[peer]
		},
		mayDial: func(peer string, s access.Service) bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return !n.forbidden[peer] && s == access.P2P
		},
	}
	t.Cleanup(f.close)
	return f, n
}

// node is the program that is served: it takes connections on loopback.
func node(t *testing.T) (address string, accept func() *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() *net.TCPConn {
		t.Helper()
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(eventually))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(eventually))
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
}

// freePort returns an address on loopback that nobody listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(eventually))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// converse says something each way, with half-closed ends, and waits for both ends to be closed.
func converse(t *testing.T, a, b *net.TCPConn) {
	t.Helper()
	say(t, a, b, "question")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(b); len(rest) > 0 || err != nil {
		t.Fatalf("%q, %v after the end", rest, err)
	}
	say(t, b, a, "answer after the end of the question")
	if err := b.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(a); len(rest) > 0 || err != nil {
		t.Fatalf("%q, %v after the end", rest, err)
	}
}

func say(t *testing.T, a, b *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(a, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(b, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v, want %q", got, err, text)
	}
}

// broken waits until the other end has ended a connection.
func broken(t *testing.T, c *net.TCPConn) {
	t.Helper()
	b, err := io.ReadAll(c)
	var timeout net.Error
	if len(b) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("read %q, %v from a connection that should have ended", b, err)
	}
}

// turnedAway connects to a forward that leads nowhere. The reset may come before we know that we were connected.
func turnedAway(t *testing.T, at string) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(eventually))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read from a forward that leads nowhere: %v, want a reset", err)
	}
}

func TestServe(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	a := n.connect("peer", access.P2P)
	converse(t, a, accept())
	broken(t, n.connect("stranger", access.P2P))
	n.set(n.forbidden, "other", true)
	broken(t, n.connect("other", access.P2P))
	if got := f.refused.Load(); got != 2 {
		t.Errorf("%d connections were refused, want 2", got)
	}
	converse(t, n.connect("peer", access.P2P), accept())
}

func TestForward(t *testing.T) {
	f, n := newForwarder(t)
	at := freePort(t)
	if err := f.set(nil, []api.Forward{{Peer: "peer", Service: "p2p", Listen: at}}); err != nil {
		t.Fatal(err)
	}
	a := dial(t, at)
	converse(t, a, <-n.dialled)
	for _, which := range []map[string]bool{n.forbidden, n.unknown} {
		n.set(which, "peer", true)
		turnedAway(t, at)
		n.set(which, "peer", false)
	}
	if got := f.refused.Load(); got != 2 {
		t.Errorf("%d connections were refused, want 2", got)
	}
	n.mu.Lock()
	n.refuse = errors.New("no way there")
	n.mu.Unlock()
	turnedAway(t, at)
}

// TestServedProgramIsDown has nobody listen where peers are led to: they are told at once.
func TestServedProgramIsDown(t *testing.T) {
	f, n := newForwarder(t)
	if err := f.set([]Served{{"p2p", freePort(t)}}, nil); err != nil {
		t.Fatal(err)
	}
	broken(t, n.connect("peer", access.P2P))
}

// TestBreaksGoThrough resets one end: the other must not believe that all was said.
func TestBreaksGoThrough(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	a := n.connect("peer", access.P2P)
	b := accept()
	say(t, a, b, "hello")
	reset(a)
	if _, err := b.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after a reset: %v, want a reset", err)
	}
}

func TestSetKeepsWhatStays(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	keep, gone := api.Forward{Peer: "peer", Service: "p2p", Listen: freePort(t)}, api.Forward{Peer: "other", Service: "p2p", Listen: freePort(t)}
	served := []Served{{"p2p", to}}
	if err := f.set(served, []api.Forward{keep, gone}); err != nil {
		t.Fatal(err)
	}
	a, b := dial(t, keep.Listen), n.connect("peer", access.P2P)
	far, local := <-n.dialled, accept()
	say(t, a, far, "before")
	say(t, b, local, "before")

	// The port of what is gone is used for another peer in the same call.
	moved := api.Forward{Peer: "peer", Service: "p2p", Listen: gone.Listen}
	for range 2 {
		if err := f.set(served, []api.Forward{keep, moved}); err != nil {
			t.Fatal(err)
		}
	}
	say(t, a, far, "after")
	say(t, b, local, "after")
	converse(t, dial(t, moved.Listen), <-n.dialled)

	if err := f.set(nil, []api.Forward{keep}); err != nil {
		t.Fatal(err)
	}
	broken(t, b)
	broken(t, local)
	say(t, a, far, "at last")
	if c, err := net.Dial("tcp", moved.Listen); err == nil {
		c.Close()
		t.Error("a forward that is gone still listens")
	}
	f.close()
	broken(t, a)
	if err := f.set(served, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("set after close: %v", err)
	}
}

func TestSetTriesAgain(t *testing.T) {
	f, n := newForwarder(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	busy := api.Forward{Peer: "peer", Service: "p2p", Listen: l.Addr().String()}
	free := api.Forward{Peer: "peer", Service: "p2p", Listen: freePort(t)}
	if err := f.set(nil, []api.Forward{busy, free}); err == nil {
		t.Error("listened on a port that is in use")
	}
	converse(t, dial(t, free.Listen), <-n.dialled)
	l.Close()
	if err := f.set(nil, []api.Forward{busy, free}); err != nil {
		t.Fatal(err)
	}
	converse(t, dial(t, busy.Listen), <-n.dialled)
}

func TestSetRefuses(t *testing.T) {
	f, _ := newForwarder(t)
	for _, listen := range []string{"0.0.0.0:0", "192.0.2.1:1", "localhost:1", ":1", "", "[::]:1", "127.0.0.1"} {
		if err := f.set(nil, []api.Forward{{Peer: "peer", Service: "p2p", Listen: listen}}); err == nil {
			t.Errorf("a forward listens on %q", listen)
		}
		if err := f.set([]Served{{"p2p", listen}}, nil); err == nil {
			t.Errorf("peers are led to %q", listen)
		}
	}
	if err := f.set([]Served{{"other", "127.0.0.1:1"}}, []api.Forward{{Peer: "peer", Service: "other", Listen: "127.0.0.1:0"}}); err == nil {
		t.Error("a service that is not known is served")
	}
}

func TestCutEndsConnections(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	at := freePort(t)
	if err := f.set([]Served{{"p2p", to}}, []api.Forward{{Peer: "peer", Service: "p2p", Listen: at}}); err != nil {
		t.Fatal(err)
	}
	for name, which := range map[string]map[string]bool{"left": n.unknown, "forbidden": n.forbidden} {
		out := dial(t, at)
		outFar := <-n.dialled
		in := n.connect("peer", access.P2P)
		inFar := accept()
		stays := n.connect("other", access.P2P)
		staysFar := accept()
		n.set(which, "peer", true)
		f.cut()
		for _, c := range []*net.TCPConn{out, outFar, in, inFar} {
			broken(t, c)
		}
		say(t, stays, staysFar, "still here when one "+name)
		n.set(which, "peer", false)
	}
}

// TestPeerConnectsAnew has a peer come again without having taken leave, as after its mesh process was killed: its old
// connection ends if it was silent, so that the program here does not take the new one for a second.
func TestPeerConnectsAnew(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	old := n.connect("peer", access.P2P)
	oldFar := accept()
	other := n.connect("other", access.P2P)
	otherFar := accept()
	second := n.connect("peer", access.P2P)
	secondFar := accept()
	say(t, old, oldFar, "a connection that is used stays")
	f.mu.Lock()
	f.stale = 1
	f.mu.Unlock()
	again := n.connect("peer", access.P2P)
	againFar := accept()
	for _, c := range []*net.TCPConn{old, oldFar, second, secondFar} {
		broken(t, c)
	}
	say(t, again, againFar, "the new one goes on")
	say(t, other, otherFar, "others' too")
}

// TestPeerLeavesWhileItIsLetIn changes the roster while it is asked about a connection.
func TestPeerLeavesWhileItIsLetIn(t *testing.T) {
	f, n := newForwarder(t)
	to, _ := node(t)
	var asked atomic.Bool
	f.allowed = func(netip.Addr, access.Service) (roster.Member, bool) {
		if asked.Swap(true) {
			return roster.Member{}, false
		}
		f.cut()
		return roster.Member{}, true
	}
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	broken(t, n.connect("peer", access.P2P))
}

// TestConnectionsOfAMemberAreFew opens too many: the last is refused until one ends, and others are not concerned.
func TestConnectionsOfAMemberAreFew(t *testing.T) {
	f, n := newForwarder(t)
	to, accept := node(t)
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	var first, firstFar *net.TCPConn
	for i := range maxConnections {
		a := n.connect("peer", access.P2P)
		b := accept()
		say(t, a, b, fmt.Sprint(i))
		if i == 0 {
			first, firstFar = a, b
		}
	}
	broken(t, n.connect("peer", access.P2P))
	say(t, n.connect("other", access.P2P), accept(), "another member")
	first.Close()
	broken(t, firstFar)
	firstFar.Close()
	for f.count(meshAddress("peer")) == maxConnections { // the passage ends after its connections
		runtime.Gosched()
	}
	say(t, n.connect("peer", access.P2P), accept(), "again")
}

// TestConnectionsAreFew: many members that open as many as they may do not keep another one from its first few.
func TestConnectionsAreFew(t *testing.T) {
	f, n := newForwarder(t)
	f.allowed = func(netip.Addr, access.Service) (roster.Member, bool) { return roster.Member{}, true }
	to, accept := node(t)
	if err := f.set([]Served{{"p2p", to}}, nil); err != nil {
		t.Fatal(err)
	}
	for member := range maxAll / maxConnections {
		for range maxConnections {
			say(t, n.connect(fmt.Sprint("greedy", member), access.P2P), accept(), "one of many")
		}
	}
	for range alwaysTaken {
		say(t, n.connect("late", access.P2P), accept(), "one of few")
	}
	broken(t, n.connect("late", access.P2P))
}

func (f *forwarder) count(peer netip.Addr) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[peer]
}
