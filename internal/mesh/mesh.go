package mesh

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// Rosters are the verified generations that a host keeps. They may be used from several goroutines.
type Rosters interface {
	State() roster.State
	// Missing returns what somebody lacks who has the generations named and their ancestors, parents first.
	Missing(have ...roster.Hash) []roster.Envelope
	Has(...roster.Hash) bool       // all of them
	Learn([]roster.Envelope) error // any order, durable, forks included
}

// Relays are the ways for tunnel packets where UDP fails.
type Relays interface {
	// Open returns the loopback UDP address that carries tunnel packets to and from member to through relay via. It
	// stays until Close(to); opened again with another relay it may be the same one.
	Open(ctx context.Context, via, to roster.Member) (netip.AddrPort, error)
	Close(to roster.Key) // by identity
}

// Config is what a mesh is made of.
type Config struct {
	Self    roster.Key // identity of this host
	Rosters Rosters
	Tunnel  tunnel.Tunnel
	Relays  Relays // nil: none
	// Resolve looks up endpoints of the roster, host:port; nil: only addresses are understood.
	Resolve func(ctx context.Context, hostport string) ([]netip.AddrPort, error)
	Changed func()       // called, not concurrently, after the rosters changed here by gossip; may be nil
	Logger  *slog.Logger // nil: silent
}

// Mesh is one host's control plane. Its methods may be called from several goroutines.
type Mesh struct {
	c   Config
	log *slog.Logger

	inbox chan func() // what happened, for the loop; each is called with mu held
	tell  chan struct{}
	// asking has a place for each exchange of rosters that we begin at a time.
	asking chan struct{}

	mu      sync.Mutex // guards all below; held by whoever handles one thing that happened
	begin   time.Time  // origin of instants
	started bool
	spawn   func(func(context.Context)) // runs something until the mesh ends; nil before Run
	conn    net.PacketConn              // nil while there is none
	rnd     *rand.Rand

	members
	schedule
	rosters rosterState
	notes   notes
	lookups lookups
	views   views
}

// New returns a mesh that does nothing yet.
func New(c Config) *Mesh {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Mesh{
		c: c, log: c.Logger, begin: time.Now(),
		inbox: make(chan func(), 256), tell: make(chan struct{}, 1), asking: make(chan struct{}, maxExchanges),
	}
	m.rnd = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	m.members.init()
	return m
}

// now is the present.
func (m *Mesh) now() instant { return time.Since(m.begin) }

// Run keeps the mesh going until ctx is done. It is called once.
func (m *Mesh) Run(ctx context.Context) error {
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer running.Wait()
	defer cancel()
	spawn := func(f func(context.Context)) { running.Go(func() { f(ctx) }) }

	m.mu.Lock()
	if m.started {
		m.mu.Unlock()
		return errors.New("run mesh: it runs already")
	}
	m.started, m.spawn = true, spawn
	m.obey()
	m.mu.Unlock()
	spawn(m.listen)
	spawn(m.serve)
	m.loop(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spawn = func(func(context.Context)) {}
	return nil
}

// loop handles what happens and what is due.
func (m *Mesh) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-m.inbox:
			m.mu.Lock()
			f()
			for more := true; more; { // what came together is handled together
				select {
				case f := <-m.inbox:
					f()
				default:
					more = false
				}
			}
		case <-m.tell:
			if m.c.Changed != nil {
				m.c.Changed()
			}
			continue
		case <-timer.C:
			m.mu.Lock()
		}
		m.tick()
		wait := m.nextDue() - m.now()
		m.mu.Unlock()
		timer.Reset(max(0, wait))
	}
}

// post hands the loop something that happened.
func (m *Mesh) post(ctx context.Context, f func()) {
	select {
	case m.inbox <- f:
	case <-ctx.Done():
	}
}

// RosterChanged is to be called when somebody else changed the rosters. Whoever has left is cut off when it returns;
// peers are told soon.
func (m *Mesh) RosterChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.obey()
	m.wake()
}

// UnderlayChanged is to be called when addresses or routes of this host have changed. Everybody is pinged at once, so
// that they learn where we are now; who must not be pinged gets a pong that it did not ask for, which it ignores, but
// which tells its tunnel the same.
func (m *Mesh) UnderlayChanged() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, p := range m.peers {
		p.path.suspect(now)
		if !p.path.pings {
			m.send(p, m.message(pong, 0).encode())
		}
		m.plan(p)
	}
	m.wake()
}

// wake makes the loop look at what is due.
func (m *Mesh) wake() {
	select {
	case m.inbox <- func() {}:
	default: // it is awake
	}
}

// Allowed tells who is at a mesh address, and whether it may start s with us.
func (m *Mesh) Allowed(from netip.Addr, s access.Service) (roster.Member, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byAddr[from]
	if p == nil {
		return roster.Member{}, false
	}
	return *p.member, access.Allowed(p.member.Role, m.self.Role, s)
}
