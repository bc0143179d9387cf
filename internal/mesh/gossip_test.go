package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// Whatever set of generations is given to whomever in whatever order, all end in the state of the whole set.
func TestAnyOrderOfDelivery(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDeployment(t, 1, 4, 0)
		rosters := []*roster.Roster{d.head}
		for i := range rapid.IntRange(1, 6).Draw(rt, "generations") {
			if i > 0 && rapid.IntRange(0, 3).Draw(rt, "fork") == 0 {
				d.head = rapid.SampledFrom(rosters).Draw(rt, "from")
			}
			d.next(t, func(r *roster.Roster) { r.Chain.MinGasPrice = fmt.Sprintf("0.%dstake", i+1) })
			rosters = append(rosters, d.head)
		}
		type delivery struct{ at, what int }
		var deliveries []delivery
		for i := range d.envs {
			deliveries = append(deliveries, delivery{rapid.IntRange(0, 4).Draw(rt, "to"), i})
		}
		deliveries = rapid.Permutation(deliveries).Draw(rt, "order")
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, &deployment{admin: d.admin, id: d.id, head: rosters[0], envs: d.envs[:1]})
			l.runAll()
			l.within(5*time.Second, "all up", l.allUp)
			hosts := l.sorted()
			held := map[int][]roster.Envelope{}
			for _, x := range deliveries {
				held[x.at] = append(held[x.at], d.envs[x.what])
				_ = hosts[x.at].store.Learn(held[x.at]) // parents may be missing as yet
				hosts[x.at].RosterChanged()
				time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
			}
			var all []roster.Envelope
			for _, h := range hosts { // what lacked parents is sent again, as whoever has it does
				all = append(all, h.store.Envelopes()...)
			}
			want := newMemory(d.id, all...).State()
			l.within(15*time.Second, "the same state", func() bool {
				return !slices.ContainsFunc(hosts, func(h *host) bool { return !slices.Equal(h.heads(), want.Heads) })
			})
			for _, h := range hosts {
				if s := h.Status(); s.Fork != want.Fork || s.Generation != want.Effective.Generation {
					t.Errorf("%s: %+v", h.name, s)
				}
			}
		})
	})
}

// secretive checks that where hidden members are is in nothing that is said, written or told.
type secretive struct {
	mu    sync.Mutex
	t     *testing.T
	words []string
	said  int
}

func (s *secretive) check(what string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said++
	for _, w := range s.words {
		if bytes.Contains(b, []byte(w)) {
			s.t.Errorf("%s tells %s: %s", what, w, b)
		}
	}
}

// Write makes a log of it.
func (s *secretive) Write(b []byte) (int, error) {
	s.check("log", b)
	return len(b), nil
}

func TestHiddenStayHidden(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, newDeployment(t, 2, 4, 2))
			s := &secretive{t: t}
			for _, name := range []string{"v0", "v1"} {
				s.words = append(s.words, underlayOf(name).Addr().String())
			}
			for i := range byte(10) {
				s.words = append(s.words, elsewhere(i).Addr().String())
			}
			l.net.sniff = func(from, to *fakeTunnel, b []byte) {
				s.check("message from "+from.name+" to "+to.name, b)
				m, err := decodeMessage(b)
				if err != nil || from.hidden && m.Kind != ping || to.hidden && m.Kind != pong {
					t.Errorf("%s said to %s: %s", from.name, to.name, b)
				}
			}
			for _, h := range l.hosts {
				h.c.Logger = slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
				h.log = h.c.Logger
			}
			l.runAll()
			names := []string{"v0", "v1", "s0", "s1", "s2", "s3"}
			for range 40 {
				a, b := names[rand.IntN(6)], names[rand.IntN(6)]
				switch rand.IntN(4) {
				case 0:
					who := l.hosts[names[rand.IntN(2)]]
					who.tunnel.move(elsewhere(byte(rand.IntN(10))))
					if rand.IntN(2) == 0 {
						who.UnderlayChanged()
					}
				case 1:
					l.net.block(func(from, to *fakeTunnel) bool { return from.name == a && to.name == b })
				case 2:
					l.net.block(func(from, to *fakeTunnel) bool { return from.name == a || to.name == a })
				case 3:
					l.net.block(nil)
				}
				time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Second))))
				for _, h := range l.hosts {
					b, err := json.Marshal(h.Status())
					if err != nil {
						t.Fatal(err)
					}
					s.check("status of "+h.name, b)
					for _, p := range h.Status().Peers {
						if p.Role == string(roster.RoleValidator) && p.Endpoint != hidden {
							t.Errorf("%+v", p)
						}
					}
				}
			}
			if s.said < 1000 {
				t.Errorf("only %d things were said", s.said)
			}
		})
	}
}

func TestLargePacketsVanish(t *testing.T) {
	scenario(t, 1, 2, 0, func(t *testing.T, l *lab) {
		is := func(packet, segment int) func() bool {
			return func() bool {
				for _, pair := range [][2]string{{"v0", "s0"}, {"s0", "s1"}, {"s1", "s0"}} {
					from, to := l.hosts[pair[0]].tunnel, l.hosts[pair[1]].tunnel
					from.mu.Lock()
					applied := from.segments[to.address]
					from.mu.Unlock()
					if l.peer(pair[0], pair[1]).Packet != packet || applied != segment {
						return false
					}
				}
				return true
			}
		}
		l.within(time.Second, "full size", is(1420, 0))
		for _, x := range []struct{ limit, packet, segment int }{{1300, 1280, 1280}, {1250, 1200, 1200}, {9000, 1420, 0}} {
			l.net.largest.Store(int64(x.limit))
			l.within(11*time.Minute, "another size", is(x.packet, x.segment))
		}
		l.net.largest.Store(1300)
		l.hosts["s0"].tunnel.move(elsewhere(9))
		l.hosts["s0"].UnderlayChanged()
		t.Log("after a move:", l.within(15*time.Second, "another size", func() bool { return l.peer("v0", "s0").Packet == 1280 }))
		if !l.allUp() {
			t.Error(l.describe())
		}
	})
}

func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t, 1, 2, 0)
		first := d.head
		d.head = first
		d.next(t, func(r *roster.Roster) {
			for i := range r.Members {
				if r.Members[i].Name == "s0" {
					r.Members[i].Mesh.Endpoint = "s0.example.org:51820"
				}
			}
		})
		l := newLab(t, d)
		var mu sync.Mutex
		at, broken := underlayOf("s0"), true
		for _, h := range l.hosts {
			h.c.Resolve = func(ctx context.Context, hostport string) ([]netip.AddrPort, error) {
				mu.Lock()
				defer mu.Unlock()
				if hostport != "s0.example.org:51820" || broken {
					return nil, errors.New("no such host")
				}
				return []netip.AddrPort{at}, nil
			}
		}
		l.runAll()
		time.Sleep(20 * time.Second)
		if p := l.peer("v0", "s0"); p.Path != api.PathDown || p.Endpoint != "" {
			t.Errorf("%+v", p)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		t.Log("up after", l.within(5*time.Second, "up", l.allUp))
		s0 := l.hosts["s0"].tunnel
		l.net.block(func(from, to *fakeTunnel) bool { return from == s0 })
		s0.move(elsewhere(3))
		time.Sleep(30 * time.Second)
		mu.Lock()
		at = elsewhere(3)
		mu.Unlock()
		l.net.block(func(from, to *fakeTunnel) bool { // only who is spoken to may speak
			return from == s0 && !s0.spokenTo(to)
		})
		t.Log("found after", l.within(10*time.Second, "found", func() bool { return l.works("v0", "s0", l.hosts["v0"].now()-time.Second) }))
	})
}

// spokenTo reports whether the tunnel heard from another one at its present address.
func (t *fakeTunnel) spokenTo(by *fakeTunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[by.key]
	return p != nil && !p.heardAt.IsZero() && time.Since(p.heardAt) < 10*time.Second
}

func TestOtherVersions(t *testing.T) {
	scenario(t, 1, 2, 0, func(t *testing.T, l *lab) {
		l.hosts["s0"].tunnel.sendUDP([]byte(`{"v":2,"kind":"ping","new":1}`), l.hosts["s1"].tunnel.address)
		l.hosts["s0"].tunnel.sendUDP([]byte(`garbage`), l.hosts["s1"].tunnel.address)
		time.Sleep(time.Second)
		synctest.Wait()
		notes := l.hosts["s1"].Status().Notes
		if len(notes) != 1 || !strings.Contains(notes[0], "s0 speaks another version") {
			t.Errorf("%q", notes)
		}
	})
}

func TestAnswersAreLimited(t *testing.T) {
	scenario(t, 1, 2, 0, func(t *testing.T, l *lab) {
		var mu sync.Mutex
		answers := 0
		l.net.sniff = func(from, to *fakeTunnel, b []byte) {
			if m, err := decodeMessage(b); err == nil && m.Kind == pong && from.name == "s1" && to.name == "s0" {
				mu.Lock()
				answers++
				mu.Unlock()
			}
		}
		for i := range 1000 {
			l.hosts["s0"].tunnel.sendUDP(message{Version: 1, Kind: ping, Nonce: uint64(i)}.encode(), l.hosts["s1"].tunnel.address)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if answers < answersAtOnce-10 || answers > answersAtOnce+5 { // regular pings take some
			t.Errorf("%d answers to 1000 pings", answers)
		}
	})
}

// stubborn is a tunnel that does not take its peers for a while.
type stubborn struct {
	*fakeTunnel
	refuse bool
}

func (s *stubborn) SetPeers(p []tunnel.Peer) error {
	if s.refuse {
		return errTest
	}
	return s.fakeTunnel.SetPeers(p)
}

func TestTunnelRefusesPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, 1, 2, 0))
		h := l.hosts["s0"]
		s := &stubborn{fakeTunnel: h.tunnel, refuse: true}
		h.c.Tunnel = s
		l.runAll()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := h.Status().Notes; len(n) != 1 || !strings.Contains(n[0], "did not take its peers") {
			t.Errorf("%q", n)
		}
		h.mu.Lock()
		s.refuse = false
		h.mu.Unlock()
		t.Log("up after", l.within(10*time.Second, "up", l.allUp))
		if n := h.Status().Notes; len(n) != 0 {
			t.Errorf("%q", n)
		}
	})
}

// The store on disk does as well as one in memory.
func TestRosterdir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t, 1, 2, 0)
		l := newLab(t, d)
		store, err := rosterdir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Learn(d.envs); err != nil {
			t.Fatal(err)
		}
		h := l.hosts["s1"]
		h.store = store
		h.make(h.c.Self)
		l.runAll()
		l.within(5*time.Second, "up", l.allUp)
		e := d.next(t, func(*roster.Roster) {})
		if err := l.hosts["v0"].store.Learn([]roster.Envelope{e}); err != nil {
			t.Fatal(err)
		}
		l.hosts["v0"].RosterChanged()
		l.within(3*time.Second, "told", func() bool { return len(store.Envelopes()) == 2 && h.Status().Generation == 2 })
	})
}
