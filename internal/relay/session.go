package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/underlay"
)

// maxSessions is how many members one member may send to over UDP at a time.
const maxSessions = 256

// waiting is how many datagrams a session holds while it looks up its way.
const waiting = queued

// way is where a session sends: into our own tunnel, or to a member's public endpoint.
type way struct {
	local    netip.AddrPort
	endpoint string
}

// session is a UDP socket of its own for the datagrams of one member to another. A tunnel tells peers apart by where
// their datagrams come from, so no two pairs share one; what comes back on it is for the source.
type session struct {
	from, to roster.Key
	way      way
	queue    chan []byte
	ctx      context.Context
	cancel   context.CancelFunc
	idle     *time.Timer
}

// way returns where datagrams from one member to another go that are not for a link, and false where they may not.
func (s *Server) way(from, to roster.Key) (way, bool) {
	source, ok := s.ByID(from)
	if !ok {
		return way{}, false
	}
	target, ok := s.ByID(to)
	if !ok || from == to || !s.Linked(source, target) {
		return way{}, false
	}
	if to == s.Self {
		return way{local: reachable(s.Local())}, true
	}
	return way{endpoint: target.Mesh.Endpoint}, true
}

// deliver passes on what a member sent.
func (s *Server) deliver(ctx context.Context, from *client, to roster.Key, datagram []byte) {
	if !from.sent.AllowN(time.Now(), len(datagram)) {
		s.counts.overrun.Add(1)
		return
	}
	way, ok := s.way(from.member.Identity, to)
	if !ok || !isWireGuard(datagram) {
		s.counts.refused.Add(1)
		return
	}
	if to != s.Self {
		if l := s.link(to); l != nil {
			s.pass(l, from.member.Identity, datagram)
			return
		}
		if way.endpoint == "" {
			s.counts.unreachable.Add(1)
			return
		}
	}
	x := s.session(ctx, from.member.Identity, to, way)
	if x == nil {
		s.counts.overrun.Add(1)
		return
	}
	x.idle.Reset(idle)
	select {
	case x.queue <- append([]byte(nil), datagram...):
		s.counts.delivered.Add(1)
	default:
		s.counts.overrun.Add(1)
	}
}

// pass sends a datagram down a link.
func (s *Server) pass(l *client, from roster.Key, datagram []byte) {
	x, now := l.share(from), time.Now()
	if x.limit.AllowN(now, len(datagram)) && l.received.AllowN(now, len(datagram)) && l.sendOf(&x.waiting, from, datagram) {
		s.counts.delivered.Add(1)
		return
	}
	s.counts.overrun.Add(1)
}

// session returns the session from one member to another, and starts it where there is none; nil where there are too
// many. One that goes another way, because the roster or our own tunnel changed, is replaced.
func (s *Server) session(ctx context.Context, from, to roster.Key, w way) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.sessions[from][to]
	if x != nil && x.way == w {
		return x
	}
	if x != nil {
		s.endLocked(x)
	}
	if len(s.sessions[from]) == maxSessions {
		return nil
	}
	x = &session{from: from, to: to, way: w, queue: make(chan []byte, waiting)}
	x.ctx, x.cancel = context.WithCancel(ctx)
	x.idle = time.AfterFunc(idle, func() { s.end(x) })
	if s.sessions == nil {
		s.sessions = map[roster.Key]map[roster.Key]*session{}
	}
	if s.sessions[from] == nil {
		s.sessions[from] = map[roster.Key]*session{}
	}
	s.sessions[from][to] = x
	s.running.Go(func() { s.carry(x) })
	return x
}

// end ends a session at once.
func (s *Server) end(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(x)
}

func (s *Server) endLocked(x *session) {
	x.cancel()
	x.idle.Stop()
	if s.sessions[x.from][x.to] != x {
		return
	}
	delete(s.sessions[x.from], x.to)
	if len(s.sessions[x.from]) == 0 {
		delete(s.sessions, x.from)
	}
}

// carry moves datagrams until the session ends. A way on which nothing comes back is looked up anew, and where a name
// has several addresses the next one is tried.
func (s *Server) carry(x *session) {
	defer s.end(x)
	var first []byte // to be sent on the next socket
	for attempt := 0; x.ctx.Err() == nil; attempt++ {
		conn, err := s.connect(x, attempt)
		if err != nil {
			s.counts.unreachable.Add(uint64(x.drain()))
			pause(x.ctx, holdOff)
			continue
		}
		stop := context.AfterFunc(x.ctx, func() { conn.Close() })
		first = s.move(x, conn, first)
		stop()
	}
}

// drain drops what is queued, and returns how much that was.
func (x *session) drain() int {
	for n := 0; ; n++ {
		select {
		case <-x.queue:
		default:
			return n
		}
	}
}

// connect opens the socket of a session.
func (s *Server) connect(x *session, attempt int) (net.Conn, error) {
	addrs := []netip.AddrPort{x.way.local}
	if x.way.endpoint != "" {
		ctx, cancel := context.WithTimeout(x.ctx, handshakeTimeout)
		defer cancel()
		resolve := s.resolve
		if resolve == nil {
			resolve = underlay.Resolve
		}
		var err error
		if addrs, err = resolve(ctx, x.way.endpoint); err != nil {
			return nil, err
		}
	}
	open := s.open
	if open == nil {
		open = openUDP
	}
	return open(addrs[attempt%len(addrs)])
}

// openUDP returns a connected socket: the kernel takes datagrams only from to.
func openUDP(to netip.AddrPort) (net.Conn, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	widen(conn)
	return conn, nil
}

// widen makes room for a burst of a tunnel's in a socket; the kernel's own measure is for a tenth of it.
func widen(conn *net.UDPConn) {
	const room = 1 << 20
	_, _ = conn.SetReadBuffer(room), conn.SetWriteBuffer(room)
}

// move carries datagrams over one socket, which it closes, until the session ends or the way must be looked up anew;
// then it returns what to send first. Only handshakes have to be answered, so only they show that a way is wrong.
func (s *Server) move(x *session, conn net.Conn, first []byte) []byte {
	heard, over := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(over)
		s.reply(x, conn, heard)
	}()
	defer func() {
		conn.Close()
		<-over
	}()
	var since time.Time // the first handshake that nothing came back after; zero: none
	for datagram := first; ; {
		if len(datagram) > 0 {
			if datagram[0] == initiation && since.IsZero() {
				since = time.Now()
			}
			_, _ = conn.Write(datagram) // what gets lost is the tunnel's to send again
		}
		select {
		case <-x.ctx.Done():
			return nil
		case <-heard:
			since, datagram = time.Time{}, nil
		case datagram = <-x.queue:
			if datagram[0] == initiation && !since.IsZero() && time.Since(since) > unanswered {
				return datagram
			}
		}
	}
}

// reply passes on what comes back until the socket is closed.
func (s *Server) reply(x *session, conn net.Conn, heard chan<- struct{}) {
	buf := make([]byte, MaxDatagram+1)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // nobody listened there when we sent; that can change
		}
		if err != nil {
			return
		}
		if !isWireGuard(buf[:n]) {
			s.counts.refused.Add(1)
			continue
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		if l := s.link(x.from); l != nil {
			x.idle.Reset(idle)
			s.pass(l, x.to, buf[:n])
		} else {
			s.counts.unreachable.Add(1)
		}
	}
}
