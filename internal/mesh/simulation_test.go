package mesh

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

var (
	soak        = flag.Bool("soak", false, "simulate a thousand members and a month of partition; takes long")
	stragglers  = flag.Bool("stragglers", false, "print who is late")
	cut         = flag.Duration("cut", 0, "how long the partition is; 0: five minutes, or an hour with -soak")
	memberCount = flag.Int("members", 0, "how many members to simulate; 0: 100, or 1000 with -soak")
)

// universe keeps logs of rosters for many hosts: hosts with the same set share one, so that a thousand hosts do not
// verify the same signature a thousand times.
type universe struct {
	mu   sync.Mutex
	root roster.Hash
	logs map[string]*snapshot
}

type snapshot struct {
	log   *roster.Log
	state roster.State
	envs  []roster.Envelope
}

// share is one host's view of a universe.
type share struct {
	u   *universe
	mu  sync.Mutex
	now *snapshot
}

func newUniverse(root roster.Hash) *universe {
	return &universe{root: root, logs: map[string]*snapshot{}}
}

func (u *universe) share(envs ...roster.Envelope) *share {
	s := &share{u: u, now: &snapshot{log: roster.NewLog(u.root)}}
	if err := s.Learn(envs); err != nil {
		panic(err)
	}
	return s
}

func (s *share) State() roster.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.state
}

func (s *share) Envelopes() []roster.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.envs
}

func (s *share) Missing(have ...roster.Hash) []roster.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.log.Missing(have...)
}

func (s *share) Has(hashes ...roster.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.log.Has(hashes...)
}

func (s *share) Learn(envs []roster.Envelope) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := map[string]bool{}
	for _, e := range append(slices.Clone(s.now.envs), envs...) {
		set[e.Hash().String()] = true
	}
	if len(set) == len(s.now.envs) {
		return nil
	}
	var names []string
	for h := range set {
		names = append(names, h)
	}
	slices.Sort(names)
	name := strings.Join(names, " ")
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	next := s.u.logs[name]
	if next == nil {
		next = &snapshot{log: s.now.log.Clone()}
		if _, err := next.log.AddAll(envs); err != nil {
			return err
		}
		next.state, next.envs = next.log.State(), next.log.Envelopes()
		s.u.logs[name] = next
	}
	s.now = next
	return nil
}

// simulation is a lab with many hosts, and what it costs them.
type simulation struct {
	*lab
	n int
	u *universe
}

// phase reports what a phase cost.
func (s *simulation) phase(name string, f func() string) {
	s.Helper()
	wire, tcp, shakes := s.net.control.Load(), s.net.tcp.Load(), s.net.handshakes.Load()
	began, wall, cpu := time.Now(), wallNow(), spent()
	said := f()
	took := time.Since(began)
	per := func(b uint64) float64 { return float64(b) / float64(s.n) / max(took.Seconds(), 1) }
	s.Logf("%-22s %-60s %8s virtual, %s wall, %s CPU; per host and second: %6.0f B UDP, %6.0f B TCP, %.2f handshakes",
		name, said, took.Round(time.Second), wallNow().Sub(wall).Round(10*time.Millisecond), (spent() - cpu).Round(10*time.Millisecond),
		per(s.net.control.Load()-wire), per(s.net.tcp.Load()-tcp), per(s.net.handshakes.Load()-shakes))
}

// publish makes one host learn of a new generation.
func (s *simulation) publish(at string, change func(*roster.Roster)) {
	e := s.d.next(s, change)
	h := s.hosts[at]
	if err := h.store.Learn([]roster.Envelope{e}); err != nil {
		s.Fatal(err)
	}
	h.RosterChanged()
}

// partnersUp reports whether all paths to regular partners that run are up.
func (s *simulation) partnersUp() bool {
	for _, h := range s.hosts {
		if h.stop == nil {
			continue
		}
		h.mu.Lock()
		for _, p := range h.partners {
			if o := s.hosts[p.member.Name]; o != nil && o.stop != nil && p.path.phase != up {
				h.mu.Unlock()
				return false
			}
		}
		h.mu.Unlock()
	}
	return true
}

// converges waits for agreement, then for the partners, then for all pairs.
func (s *simulation) converges(agree, partners, all time.Duration) string {
	s.Helper()
	a := s.within(agree, "agree", s.agree)
	b := a + s.within(partners, "partners up", s.partnersUp)
	if *stragglers {
		time.Sleep(8 * time.Second)
		synctest.Wait()
		s.Log(s.describe())
	}
	c := b + s.within(all, "all pairs up", s.allUp)
	return fmt.Sprintf("agree after %s, partners after %s, all pairs after %s", a, b, c)
}

func TestSimulation(t *testing.T) {
	n := *memberCount
	switch {
	case n > 0:
	case *soak:
		n = 1000
	case testing.Short() || raceEnabled:
		n = 40
	default:
		n = 100
	}
	if *cut == 0 {
		*cut = 5 * time.Minute
		if *soak {
			*cut = time.Hour
		}
	}
	began := wallNow()
	synctest.Test(t, func(t *testing.T) { simulate(t, n) })
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d members: %s CPU, %s wall in all, %d MB from the system", n, spent().Round(time.Millisecond), wallNow().Sub(began).Round(time.Millisecond), mem.Sys>>20)
}

func simulate(t *testing.T, n int) {
	first, validators := max(n/10, 4), 2
	d := newDeployment(t, validators, first-validators, 3)
	l := &lab{TB: t, d: d, net: newInternet(), hosts: map[string]*host{}, byID: map[roster.Key]*fakeTunnel{}, start: time.Now()}
	s := &simulation{lab: l, n: n, u: newUniverse(d.id)}
	t.Cleanup(l.stopAll)
	for _, m := range d.head.Members {
		s.addHost(m, s.u.share(d.envs...)).run()
	}
	s.phase("first hosts", func() string { return s.converges(10*time.Second, 10*time.Second, 30*time.Second) })

	s.phase("join storm", func() string {
		s.publish("s0", func(r *roster.Roster) {
			for i := first; i < n; i++ {
				r.Members = append(r.Members, newMember(roster.RoleSentry, i, r.Generation))
			}
		})
		for i := first; i < n; i++ {
			m, _ := s.d.head.Member(fmt.Sprintf("s%d", i))
			s.addHost(m, s.u.share(s.d.envs...)).run()
			time.Sleep(5 * time.Second / time.Duration(n))
		}
		return s.converges(10*time.Second, 10*time.Second, 40*time.Second)
	})
	time.Sleep(2 * time.Minute)
	s.phase("idle", func() string { time.Sleep(5 * time.Minute); return "" })
	s.idleIsCheap()

	s.phase("30 % churn", func() string {
		s.churn(n * 3 / 10)
		// A restarted sentry cannot reach a hidden host of which it is no partner: that one has to notice.
		return s.converges(15*time.Second, 15*time.Second, 90*time.Second)
	})
	s.phase(fmt.Sprint("partition for ", *cut), func() string {
		s.part(true)
		time.Sleep(*cut / 2)
		s.publish("s1", func(r *roster.Roster) { r.Chain.Denom = "uatom" })
		time.Sleep(*cut / 2)
		return ""
	})
	s.part(false)
	s.phase("and healing", func() string { return s.converges(10*time.Second, 10*time.Second, 60*time.Second) })
	s.phase("revocation", func() string {
		s.publish("s0", func(r *roster.Roster) { r.Remove("s1") })
		gone := s.hosts["s1"]
		return fmt.Sprint("all know after ", s.within(5*time.Second, "revoked", func() bool {
			for _, h := range s.hosts {
				if h != gone && h.tunnel.knows(gone.tunnel.key) {
					return false
				}
			}
			return true
		}))
	})
}

// idleIsCheap holds the goal for traffic of a host that has nothing to do.
func (s *simulation) idleIsCheap() {
	before := s.net.control.Load()
	time.Sleep(time.Minute)
	limit := 3000.0
	if s.n > 50 {
		limit = 20000
	}
	if got := float64(s.net.control.Load()-before) / 60 / float64(s.n); got > limit {
		s.Errorf("%.0f B/s of an idle host", got)
	}
}

// churn restarts hosts over a minute, while a generation is published.
func (s *simulation) churn(n int) {
	hosts := s.sorted()
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	hosts = slices.DeleteFunc(hosts, func(h *host) bool { return h.name == "s0" })[:n]
	for i, h := range hosts {
		h.halt()
		if i >= n/3 {
			hosts[i-n/3].reboot()
		}
		if i == n/2 {
			s.publish("s0", func(r *roster.Roster) { r.Chain.MinGasPrice = "0.1uatom" })
		}
		time.Sleep(time.Minute / time.Duration(n))
	}
	for _, h := range hosts {
		if h.stop == nil {
			h.reboot()
		}
	}
}

// part cuts the internet in two halves, or makes it whole.
func (s *simulation) part(cut bool) {
	for _, h := range s.hosts {
		h.relays.broken.Store(cut)
	}
	if !cut {
		s.net.block(nil)
		return
	}
	side := func(t *fakeTunnel) bool { return t.address.As16()[15]&1 == 0 }
	s.net.block(func(from, to *fakeTunnel) bool { return side(from) != side(to) })
}
