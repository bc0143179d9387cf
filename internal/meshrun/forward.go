package meshrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// What a forwarder carries at most, and how long it tries to connect.
const (
	maxConnections = 32  // with one member
	maxAll         = 256 // with all members together, but for the first few with each
	alwaysTaken    = 4   // connections with one member, however many others have
	forwardTimeout = 10 * time.Second
	staleAfter     = 4 * time.Second // without a word, as a path that is dead
	acceptAgain    = 100 * time.Millisecond
)

// forwarder carries TCP connections between programs of this host and peers inside a mesh that only this process can
// use. It enforces what the packet filter does elsewhere: peers get in by who they are, and we dial whom we may.
//
// Any user of this host can connect to a forward: loopback has no owners. That is acceptable, since it gives them no
// more than the peer's port, and behind that the chain's own protocol proves who speaks by its node id; a host that
// runs a validator has no other users. The peers' address and port are never a local program's to choose.
type forwarder struct {
	network tunnel.Network
	allowed func(from netip.Addr, s access.Service) (roster.Member, bool) // whether a peer may start a service here
	address func(peer string) (netip.Addr, bool)                          // of a peer inside the mesh
	mayDial func(peer string, s access.Service) bool
	logger  *slog.Logger
	stale   time.Duration // 0: staleAfter

	refused atomic.Uint64 // connections that somebody may not have, or has too many of

	setting sync.Mutex // one set at a time

	mu       sync.Mutex
	closed   bool
	openings map[any]*opening // by Served or api.Forward
	passages map[*passage]bool
	members  map[netip.Addr]int // passages with each peer
	running  sync.WaitGroup
}

// opening is a listener and the way of what comes in there.
type opening struct {
	net.Listener
	ctx   context.Context
	close context.CancelFunc
	name  string // for the log
	// serves: what comes in is from peers, else from programs of this host.
	serves bool
	// judge returns the peer of a connection and whether it may have it, which is asked again when the roster changes.
	judge func(near net.Conn) (peer netip.Addr, may func() bool)
	dial  func(ctx context.Context, peer netip.Addr) (net.Conn, error)
}

// end closes an opening and all connections that came in there.
func (o *opening) end() {
	o.close()
	o.Close()
}

// passage is one connection that is carried.
type passage struct {
	of    *opening
	heard atomic.Int64 // when the peer last said something, since begun
	ctx   context.Context
	cut   context.CancelFunc
	peer  netip.Addr
	may   func() bool
}

// set opens what is new, closes what is gone and leaves the rest alone, connections too. What cannot be opened is in
// the error and tried again with the next call.
func (f *forwarder) set(served []Served, forwards []api.Forward) error {
	f.setting.Lock()
	defer f.setting.Unlock()
	wanted := map[any]bool{}
	for _, s := range served {
		wanted[s] = true
	}
	for _, s := range forwards {
		wanted[s] = true
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return net.ErrClosed
	}
	for what, o := range f.openings { // first, since a port may change hands
		if !wanted[what] {
			o.end()
			delete(f.openings, what)
		} else {
			delete(wanted, what)
		}
	}
	f.mu.Unlock()
	var problems []error
	for what := range wanted {
		if err := f.open(what); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// open begins to take connections.
func (f *forwarder) open(what any) error {
	var (
		o   *opening
		err error
	)
	switch what := what.(type) {
	case Served:
		o, err = f.serve(what)
	case api.Forward:
		o, err = f.forward(what)
	}
	if err != nil {
		return err
	}
	o.ctx, o.close = context.WithCancel(context.Background())
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		o.close()
		return errors.Join(net.ErrClosed, o.Close())
	}
	if f.openings == nil {
		f.openings = map[any]*opening{}
	}
	f.openings[what] = o
	f.running.Go(func() { f.accept(o) })
	return nil
}

// serve lets peers in to a service of this host.
func (f *forwarder) serve(w Served) (*opening, error) {
	s := access.Service(w.Service)
	if s.Port() == 0 {
		return nil, fmt.Errorf("serve %q inside the mesh: there is no such service", w.Service)
	}
	if !isLoopback(w.To) {
		return nil, fmt.Errorf("serve %s inside the mesh: %q is not an address and port on loopback", s, w.To)
	}
	l, err := f.network.ListenTCP(s.Port())
	if err != nil {
		return nil, fmt.Errorf("serve %s inside the mesh: %w", s, err)
	}
	return &opening{
		Listener: l, name: w.Service, serves: true,
		judge: func(near net.Conn) (netip.Addr, func() bool) {
			peer := remote(near)
			return peer, func() bool {
				_, ok := f.allowed(peer, s)
				return ok
			}
		},
		dial: func(ctx context.Context, _ netip.Addr) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", w.To)
		},
	}, nil
}

// forward leads a loopback port of this host to a peer's service.
func (f *forwarder) forward(w api.Forward) (*opening, error) {
	s := access.Service(w.Service)
	if s.Port() == 0 {
		return nil, fmt.Errorf("forward to %s: there is no service %q", w.Peer, w.Service)
	}
	if !isLoopback(w.Listen) {
		return nil, fmt.Errorf("forward to %s of %s: %q is not an address and port on loopback", s, w.Peer, w.Listen)
	}
	l, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return nil, fmt.Errorf("forward to %s of %s: %w", s, w.Peer, err)
	}
	return &opening{
		Listener: l, name: w.Service + " of " + w.Peer,
		judge: func(net.Conn) (netip.Addr, func() bool) {
			peer, known := f.address(w.Peer)
			return peer, func() bool {
				now, ok := f.address(w.Peer) // a name may go to another host
				return known && ok && now == peer && f.mayDial(w.Peer, s)
			}
		},
		dial: func(ctx context.Context, peer netip.Addr) (net.Conn, error) {
			return f.network.DialTCP(ctx, netip.AddrPortFrom(peer, s.Port()))
		},
	}, nil
}

// isLoopback reports whether s is the literal address of a port that only this host reaches.
func isLoopback(s string) bool {
	a, err := netip.ParseAddrPort(s)
	return err == nil && a.Addr().IsLoopback()
}

// remote returns the other end's address, not valid where it has none.
func remote(c net.Conn) netip.Addr {
	a, _ := c.RemoteAddr().(*net.TCPAddr)
	return a.AddrPort().Addr().Unmap()
}

// accept takes connections until the opening is closed.
func (f *forwarder) accept(o *opening) {
	for {
		near, err := o.Accept()
		if err == nil {
			f.running.Go(func() { f.carry(o, near) })
			continue
		}
		if o.ctx.Err() != nil {
			return
		}
		f.logger.Warn("accept a connection", "of", o.name, "err", err) // as when there are no more file descriptors
		again := time.NewTimer(acceptAgain)
		select {
		case <-again.C:
		case <-o.ctx.Done():
			again.Stop()
			return
		}
	}
}

// carry connects one connection with the other side, and moves what is said until both sides have ended. Where there is
// no other side it resets it, so that who dialled notices and dials again.
func (f *forwarder) carry(o *opening, near net.Conn) {
	p := f.enter(o, near)
	if p == nil || !p.may() { // asked after cut can find it, so that nobody slips through a change of the roster
		f.refused.Add(1)
		reset(near)
		f.leave(p)
		return
	}
	defer f.leave(p)
	f.cutStale(p)
	ctx, cancel := context.WithTimeout(p.ctx, forwardTimeout)
	defer cancel()
	far, err := o.dial(ctx, p.peer)
	if err != nil {
		f.logger.Debug("connect", "to", o.name, "err", err)
		reset(near)
		return
	}
	defer context.AfterFunc(p.ctx, func() {
		reset(near)
		reset(far)
	})()
	exchange(near, far, p.hear)
}

// begun is what passages count from: no wall clock decides.
var begun = time.Now()

func (p *passage) hear() { p.heard.Store(int64(time.Since(begun))) }

// cutStale ends what is left of a peer that connects anew: a mesh process that was killed, or a path that was dead, takes no
// leave. A node that still has the old connection refuses the new one, and its peer gives up in the end.
func (f *forwarder) cutStale(p *passage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for old := range f.passages {
		silent := time.Since(begun) - time.Duration(old.heard.Load())
		if old != p && p.of.serves && old.of == p.of && old.peer == p.peer && silent > cmp.Or(f.stale, staleAfter) {
			old.cut()
		}
	}
}

// enter counts a connection in; nil if its peer has too many.
func (f *forwarder) enter(o *opening, near net.Conn) *passage {
	peer, may := o.judge(near)
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.members[peer]; f.closed || n == maxConnections || n >= alwaysTaken && len(f.passages) >= maxAll {
		return nil
	}
	p := &passage{of: o, peer: peer, may: may}
	p.hear()
	p.ctx, p.cut = context.WithCancel(o.ctx)
	if f.passages == nil {
		f.passages, f.members = map[*passage]bool{}, map[netip.Addr]int{}
	}
	f.passages[p] = true
	f.members[peer]++
	return p
}

func (f *forwarder) leave(p *passage) {
	if p == nil {
		return
	}
	p.cut()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.passages, p)
	if f.members[p.peer]--; f.members[p.peer] == 0 {
		delete(f.members, p.peer)
	}
}

// cut ends the connections of peers that left the roster or may not have them any more.
func (f *forwarder) cut() {
	f.mu.Lock()
	var all []*passage
	for p := range f.passages {
		all = append(all, p)
	}
	f.mu.Unlock()
	for _, p := range all {
		if !p.may() {
			p.cut()
		}
	}
}

// close ends everything, and returns when nothing runs any more.
func (f *forwarder) close() {
	f.mu.Lock()
	f.closed = true
	for what, o := range f.openings {
		o.end()
		delete(f.openings, what)
	}
	f.mu.Unlock()
	f.running.Wait()
}

// exchange copies both ways, and calls heard whenever a says something. When one side has said all, the other hears so and
// may go on; when one breaks, so does the other.
func exchange(a, b net.Conn, heard func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pour(a, b, func() {})
	}()
	pour(b, a, heard)
	<-done
	a.Close()
	b.Close()
}

// ear is a reader that calls heard with each piece.
type ear struct {
	io.Reader
	heard func()
}

// Read reads.
func (e ear) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	e.heard()
	return n, err
}

func pour(to, from net.Conn, heard func()) {
	_, err := io.Copy(to, ear{from, heard})
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		reset(from)
		reset(to)
	}
}

// reset closes a connection so that the other end sees that it broke.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0) // without it the connection is only closed
	}
	c.Close()
}
