package relay

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/pressenter/pressenter/internal/roster"
)

// DefaultBandwidth is what one member may send, and receive from one other, through a relay, in bits a second. From all
// others together it may receive a third more.
const DefaultBandwidth = 100_000_000

// Server is the switch on a sentry's opt-in port. It serves members only and delivers a member's datagrams to one other
// member: into our own tunnel, to a link, or over UDP to where that member listens. Its functions ask the roster that
// is obeyed now; they are called for each datagram, from many goroutines, and must be quick and not wait for a call of
// the Server's. Its methods may be used from several goroutines, and before Serve.
type Server struct {
	Key    ed25519.PrivateKey                              // its public half is our Member.Mesh.TLS
	Self   roster.Key                                      // our identity
	Member func(tls roster.Key) (roster.Member, bool)      // by Mesh.TLS
	ByID   func(identity roster.Key) (roster.Member, bool) // by identity
	Linked func(a, b roster.Member) bool                   // whether two members may have a tunnel
	Local  func() netip.AddrPort                           // where our own tunnel takes UDP on this host
	// Bandwidth is for each member and direction, in bits a second; 0: [DefaultBandwidth].
	Bandwidth int
	Logger    *slog.Logger // nil: silent

	admission admission
	counts    counts

	mu       sync.Mutex
	links    map[roster.Key]*client                 // by identity
	sessions map[roster.Key]map[roster.Key]*session // by source, by destination
	running  sync.WaitGroup

	// open makes a connected UDP socket, and resolve looks up members' public endpoints; tests replace them.
	open    func(to netip.AddrPort) (net.Conn, error)
	resolve func(ctx context.Context, hostport string) ([]netip.AddrPort, error)
}

// client is a member with an open link. Its limits are in bytes.
type client struct {
	*link
	member   roster.Member
	tls      roster.Key
	sent     *rate.Limiter
	received *rate.Limiter

	mu     sync.Mutex
	shares map[roster.Key]*share // by the identity of who sends to the member
}

// share is what one sender may take of what a member receives: three quarters of the frames that wait, and of a bandwidth
// that is a third more than one member may send. One that floods a member does not keep out the others.
type share struct {
	limit   *rate.Limiter
	waiting atomic.Int32
}

func (c *client) share(from roster.Key) *share {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.shares[from]
	if x == nil {
		if c.shares == nil {
			c.shares = map[roster.Key]*share{}
		}
		x = &share{limit: rate.NewLimiter(c.received.Limit()*3/4, c.received.Burst()*3/4)}
		c.shares[from] = x
	}
	return x
}

// counts are of datagrams, since the start.
type counts struct{ delivered, refused, unreachable, overrun atomic.Uint64 }

// Stats is what a relay does, and has done since it started.
type Stats struct {
	Members  int // with an open link
	Sessions int // over UDP
	// Datagrams that were passed on.
	Delivered uint64
	// Datagrams that were not: no WireGuard message, or between members that may have no tunnel; to a member that has
	// neither link nor endpoint; more than there was room or bandwidth for.
	Refused, Unreachable, Overrun uint64
}

// Stats tells what the relay does.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Members: len(s.links), Delivered: s.counts.delivered.Load(), Refused: s.counts.refused.Load(),
		Unreachable: s.counts.unreachable.Load(), Overrun: s.counts.overrun.Load(),
	}
	for _, to := range s.sessions {
		st.Sessions += len(to)
	}
	return st
}

// Members returns how many members have an open link now.
func (s *Server) Members() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links)
}

// Serve accepts members' links on l, which it closes, until ctx is done. It returns when nothing of it runs any more.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	conf, err := config(s.Key, func(k roster.Key) error {
		if _, ok := s.Member(k); !ok {
			return errors.New("no member shows that key")
		}
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.running.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // as when there are no more file descriptors
			logger(s.Logger).Warn("accept a relay link", "error", reason(err))
			pause(ctx, holdOff)
		case !s.admission.enter(conn):
			conn.Close()
		default:
			s.running.Go(func() { s.attend(ctx, conn, conf) })
		}
	}
}

// attend serves one connection from its first byte to its last.
func (s *Server) attend(ctx context.Context, raw net.Conn, conf *tls.Config) {
	defer raw.Close()
	conn := tls.Server(raw, conf)
	key, err := s.shake(ctx, conn, raw)
	if err != nil {
		logger(s.Logger).Debug("refuse a relay link", "error", reason(err))
		return
	}
	c := s.admit(ctx, key)
	if c == nil {
		return
	}
	log := logger(s.Logger).With("member", c.member.Name)
	log.Info("relay link open")
	err = c.run(conn, raw, func(to roster.Key, datagram []byte) {
		if len(datagram) > 0 {
			s.deliver(ctx, c, to, datagram)
		}
	})
	s.forget(c)
	log.Info("relay link closed", "reason", reason(err))
}

// shake returns the key that a member proved to hold.
func (s *Server) shake(ctx context.Context, conn *tls.Conn, raw net.Conn) (roster.Key, error) {
	defer s.admission.leave(raw)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return roster.Key{}, err
	}
	return shown(conn.ConnectionState())
}

// admit opens the link of the member with that TLS key, in place of one that it had. The roster is asked once more,
// after the link is where Cut finds it: there is no moment at which a member that left could slip in.
func (s *Server) admit(ctx context.Context, key roster.Key) *client {
	m, ok := s.Member(key)
	if !ok {
		return nil
	}
	bandwidth := s.Bandwidth
	if bandwidth == 0 {
		bandwidth = DefaultBandwidth
	}
	perSecond := rate.Limit(bandwidth) / 8
	burst := max(bandwidth/8/8, queued*MaxDatagram)
	c := &client{
		link: newLink(ctx), member: m, tls: key,
		sent: rate.NewLimiter(perSecond, burst), received: rate.NewLimiter(perSecond*4/3, burst*4/3),
	}
	s.mu.Lock()
	if s.links == nil {
		s.links = map[roster.Key]*client{}
	}
	if old := s.links[m.Identity]; old != nil {
		old.close()
	}
	s.links[m.Identity] = c
	s.mu.Unlock()
	if !s.current(c) {
		s.forget(c)
		return nil
	}
	return c
}

// current reports whether the roster still lists the member of a link with the key that it showed.
func (s *Server) current(c *client) bool {
	m, ok := s.Member(c.tls)
	return ok && m.Identity == c.member.Identity
}

// forget closes a link. Sessions of its member stay: they serve its next link.
func (s *Server) forget(c *client) {
	c.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[c.member.Identity] == c {
		delete(s.links, c.member.Identity)
	}
}

// link returns the open link of a member, or nil.
func (s *Server) link(identity roster.Key) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[identity]
}

// Cut is to be called when the roster that is obeyed has changed: links and sessions of members that left end before it
// returns.
func (s *Server) Cut() {
	s.mu.Lock()
	var links []*client
	for _, c := range s.links {
		links = append(links, c)
	}
	var sessions []*session
	for _, to := range s.sessions {
		for _, x := range to {
			sessions = append(sessions, x)
		}
	}
	s.mu.Unlock()
	for _, c := range links {
		if !s.current(c) {
			s.forget(c)
		}
	}
	for _, x := range sessions {
		if way, ok := s.way(x.from, x.to); !ok || way != x.way {
			s.end(x)
		}
	}
}

// pause waits, at most until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
