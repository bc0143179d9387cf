package mesh

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// elsewhere is an address that no host starts at.
func elsewhere(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{12, 0, 0, n}), 51820)
}

// scenario runs f on a mesh that is up and quiet.
func scenario(t *testing.T, validators, sentries, relays int, f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, validators, sentries, relays))
		l.runAll()
		l.within(5*time.Second, "all up", l.allUp)
		time.Sleep(time.Minute + time.Duration(rand.Int64N(int64(10*time.Second))))
		synctest.Wait()
		if !l.allUp() {
			t.Fatalf("not quiet\n%s", l.describe())
		}
		f(t, l)
	})
}

// works reports whether pings between two hosts came back lately.
func (l *lab) works(from, to string, since instant) bool {
	h := l.hosts[from]
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peers[l.id(to)]
	return p != nil && p.path.phase == up && p.path.misses == 0 && (p.path.pongAt > since || !p.path.pings && p.path.heardAt > since)
}

func (l *lab) id(name string) roster.Key {
	m, _ := l.d.head.Member(name)
	return m.Identity
}

// heals waits until pings of all pairs that may ping come back that were sent from now on.
func (l *lab) heals(limit time.Duration, what string) time.Duration {
	l.Helper()
	since := map[string]instant{}
	for _, h := range l.hosts {
		since[h.name] = h.now()
	}
	return l.within(limit, what, func() bool {
		for _, h := range l.hosts {
			for _, o := range l.hosts {
				if h == o || h.stop == nil || o.stop == nil || h.tunnel.hidden && o.tunnel.hidden {
					continue
				}
				if !l.works(h.name, o.name, since[h.name]) {
					return false
				}
			}
		}
		return true
	})
}

// outage measures until when packets of hosts that are allowed to talk did not get through, from now on, within a limit.
func (l *lab) outage(limit time.Duration) time.Duration {
	l.Helper()
	begin, last := time.Now(), time.Duration(0)
	for time.Since(begin) < limit {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		for _, h := range l.hosts {
			for _, o := range l.hosts {
				if h != o && !o.tunnel.hidden && (h.tunnel.reach(o.tunnel.address) == nil || o.tunnel.reach(h.tunnel.address) == nil) {
					last = time.Since(begin)
				}
			}
		}
	}
	return last
}

func TestMoverHeals(t *testing.T) {
	for _, who := range []string{"v0", "s0", "s1", "s2"} {
		t.Run(who+" knows", func(t *testing.T) {
			scenario(t, 1, 3, 1, func(t *testing.T, l *lab) {
				l.hosts[who].tunnel.move(elsewhere(1))
				l.hosts[who].UnderlayChanged()
				took := l.outage(5 * time.Second)
				if t.Log("packets pass after", took); took > time.Second {
					t.Errorf("packets were lost for %s", took)
				}
				l.heals(6*time.Second, "healed")
			})
		})
		t.Run(who+" does not know", func(t *testing.T) {
			scenario(t, 1, 3, 0, func(t *testing.T, l *lab) {
				l.hosts[who].tunnel.move(elsewhere(1))
				t.Log("all pairs after", l.heals(11*time.Second, "healed"))
			})
		})
	}
}

// A sentry moves and can only be reached at the new address by who hears of it: its own packets to one other are lost.
func TestListeningMover(t *testing.T) {
	for _, deaf := range []string{"s1", "s2", "v0"} {
		scenario(t, 1, 3, 0, func(t *testing.T, l *lab) {
			s0 := l.hosts["s0"].tunnel
			moved := time.Now()
			l.net.block(func(from, to *fakeTunnel) bool { // until spoken to, as behind a new NAT
				return from == s0 && to.name == deaf && time.Since(moved) < 2*time.Second
			})
			s0.move(elsewhere(2))
			l.hosts["s0"].UnderlayChanged()
			took := l.within(6*time.Second, "healed", func() bool {
				return l.works(deaf, "s0", l.hosts[deaf].now()-time.Second) && time.Since(moved) > 2*time.Second
			})
			t.Log(deaf, "after", took)
		})
	}
}

func TestSilentDrop(t *testing.T) {
	scenario(t, 1, 3, 3, func(t *testing.T, l *lab) {
		between := func(a, b string) func(from, to *fakeTunnel) bool {
			return func(from, to *fakeTunnel) bool {
				return from.name == a && to.name == b || from.name == b && to.name == a
			}
		}
		for _, pair := range [][2]string{{"v0", "s0"}, {"s0", "s1"}, {"s1", "s2"}, {"s0", "s2"}} {
			a, b := pair[0], pair[1]
			if a != "v0" && l.hosts[b].active(l.hosts[b].peers[l.id(a)].member) {
				a, b = b, a
			}
			limit := 8 * time.Second
			if a != "v0" {
				limit = 11 * time.Second // every 5 s, not every second
			}
			l.net.block(between(a, b))
			t.Log(a, b, "on the relay after", l.within(limit, "relayed", func() bool {
				return l.peer(a, b).Path == api.PathRelay && l.works(a, b, 0)
			}))
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			p := l.peer(a, b)
			if p.Path != api.PathRelay || len(p.History) > 8 {
				t.Errorf("%+v", p)
			}
			t.Log(p.Why, p.Loss)
			l.net.block(nil)
			t.Log("direct after", l.within(62*time.Second, "direct", func() bool { return l.peer(a, b).Path == api.PathDirect }))
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			p = l.peer(a, b)
			if p.Path != api.PathDirect || p.Via != "" || len(l.hosts[a].relays.opened) != 0 {
				t.Errorf("%+v, %v", p, l.hosts[a].relays.opened)
			}
			t.Log(p.Why, p.History)
		}
	})
}

func TestAsymmetricLoss(t *testing.T) {
	for _, pair := range [][2]string{{"v0", "s0"}, {"s0", "v0"}, {"s0", "s1"}, {"s1", "s0"}} {
		scenario(t, 1, 3, 3, func(t *testing.T, l *lab) {
			l.net.block(func(from, to *fakeTunnel) bool { return from.name == pair[0] && to.name == pair[1] })
			time.Sleep(15 * time.Second)
			synctest.Wait()
			begin := map[string]instant{}
			for _, n := range pair {
				begin[n] = l.hosts[n].now()
			}
			l.within(6*time.Second, "works", func() bool {
				return l.works(pair[0], pair[1], begin[pair[0]]) && l.works(pair[1], pair[0], begin[pair[1]])
			})
			t.Log(pair, l.peer(pair[0], pair[1]).History, l.peer(pair[1], pair[0]).History)
		})
	}
}

func TestPartition(t *testing.T) {
	for _, long := range []time.Duration{10 * time.Minute, time.Hour, 30 * 24 * time.Hour} {
		t.Run(long.String(), func(t *testing.T) {
			if long > time.Hour && !*soak {
				t.Skip("a month takes minutes even in virtual time: run with -soak; TestMonthOfSilence has it for one path")
			}
			scenario(t, 1, 3, 2, func(t *testing.T, l *lab) {
				left := []string{"s0", "s1"}
				l.net.block(func(from, to *fakeTunnel) bool {
					return slices.Contains(left, from.name) != slices.Contains(left, to.name)
				})
				for _, h := range l.hosts { // TLS is cut as well
					h.relays.broken.Store(true)
				}
				time.Sleep(long)
				for _, h := range l.hosts {
					h.relays.broken.Store(false)
				}
				l.net.block(nil)
				t.Log("healed after", l.heals(10*time.Second, "healed"))
			})
		})
	}
}

func TestAllRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, 2, 48, 3))
		l.runAll()
		l.within(10*time.Second, "all up", l.allUp)
		time.Sleep(time.Minute)
		hosts := l.sorted()
		for range 3 {
			for _, h := range hosts {
				h.halt()
			}
			rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			for _, h := range hosts {
				h.reboot()
				time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
			}
			t.Log("all pairs up after", l.within(10*time.Second, "all up", l.allUp))
		}
	})
}

func TestRevocation(t *testing.T) {
	scenario(t, 1, 9, 2, func(t *testing.T, l *lab) {
		revoke := l.d.next(t, func(r *roster.Roster) { r.Remove("s4") })
		gone := l.hosts["s4"]
		if err := l.hosts["s2"].store.Learn([]roster.Envelope{revoke}); err != nil {
			t.Fatal(err)
		}
		l.hosts["s2"].RosterChanged()
		if _, ok := l.hosts["s2"].Allowed(gone.tunnel.address, "p2p"); ok {
			t.Error("not cut off at once")
		}
		t.Log("all know after", l.within(5*time.Second, "cut off", func() bool {
			for _, h := range l.hosts {
				if h != gone && (h.tunnel.knows(gone.tunnel.key) || h.Status().Generation != 2) {
					return false
				}
			}
			return true
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, h := range l.hosts {
			if h != gone && (h.tunnel.knows(gone.tunnel.key) || h.changed == 0 && h.name != "s2") {
				t.Errorf("%s: %d", h.name, h.changed)
			}
		}
		if n := l.hosts["s2"].changed; n != 0 {
			t.Errorf("told %d times of what it knew", n)
		}
	})
}

// knows reports whether the tunnel lets a key in.
func (t *fakeTunnel) knows(k tunnel.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[k] != nil
}

func TestRemovedHasNoPeers(t *testing.T) {
	scenario(t, 1, 3, 0, func(t *testing.T, l *lab) {
		revoke := l.d.next(t, func(r *roster.Roster) { r.Remove("s1") })
		h := l.hosts["s1"]
		if err := h.store.Learn([]roster.Envelope{revoke}); err != nil {
			t.Fatal(err)
		}
		h.RosterChanged()
		if s := h.Status(); len(h.tunnel.peers) != 0 || len(s.Peers) != 0 || s.Learned || len(s.Notes) == 0 {
			t.Errorf("%d peers, %+v", len(h.tunnel.peers), s)
		}
	})
}

// A host that comes back with an older roster is brought up to date, and brings nobody back.
func TestRolledBackRoster(t *testing.T) {
	scenario(t, 1, 4, 0, func(t *testing.T, l *lab) {
		l.hosts["s3"].halt()
		old := slices.Clone(l.d.envs)
		revoke := l.d.next(t, func(r *roster.Roster) { r.Remove("s1") })
		if err := l.hosts["s0"].store.Learn([]roster.Envelope{revoke}); err != nil {
			t.Fatal(err)
		}
		l.hosts["s0"].RosterChanged()
		time.Sleep(10 * time.Second)
		l.hosts["s1"].halt()
		h := l.hosts["s3"]
		h.store = newMemory(l.d.id, old...)
		h.reboot()
		t.Log("up to date after", l.within(3*time.Second, "up to date", func() bool { return h.Status().Generation == 2 }))
		for _, h := range l.hosts {
			if h.name != "s1" && h.tunnel.knows(l.hosts["s1"].tunnel.key) {
				t.Errorf("%s lets s1 in again", h.name)
			}
		}
	})
}

func TestForkSpreadsAndHeals(t *testing.T) {
	scenario(t, 1, 6, 0, func(t *testing.T, l *lab) {
		base := l.d.head
		a := l.d.next(t, func(r *roster.Roster) { r.Remove("s1") })
		headA := l.d.head
		l.d.head = base
		b := l.d.next(t, func(r *roster.Roster) { r.Peers = []string{}; r.Chain.Denom = "uatom" })
		headB := l.d.head
		for name, e := range map[string]roster.Envelope{"s0": a, "s5": b} {
			if err := l.hosts[name].store.Learn([]roster.Envelope{e}); err != nil {
				t.Fatal(err)
			}
			l.hosts[name].RosterChanged()
		}
		member := func(h *host) bool { return h.name != "s1" }
		t.Log("fork is known after", l.within(5*time.Second, "fork", func() bool {
			for _, h := range l.hosts {
				if s := h.Status(); member(h) && (!s.Fork || len(s.Heads) != 2 || h.tunnel.knows(l.hosts["s1"].tunnel.key)) {
					return false
				}
			}
			return true
		}))
		healed := l.d.add(t, roster.Heal(headA, headB))
		if err := l.hosts["s3"].store.Learn([]roster.Envelope{healed}); err != nil {
			t.Fatal(err)
		}
		l.hosts["s3"].RosterChanged()
		t.Log("healed after", l.within(5*time.Second, "healed", func() bool {
			for _, h := range l.hosts {
				if s := h.Status(); member(h) && (s.Fork || s.Generation != 3) {
					return false
				}
			}
			return true
		}))
	})
}

func TestWrongClocks(t *testing.T) {
	for _, who := range []string{"v0", "s0", "s2"} {
		for _, jump := range []time.Duration{-5 * 365 * 24 * time.Hour, 5 * 365 * 24 * time.Hour} {
			scenario(t, 1, 3, 0, func(t *testing.T, l *lab) {
				h := l.hosts[who]
				h.halt()
				h.tunnel.wrong = jump
				h.reboot()
				t.Log(who, jump, "healed after", l.heals(20*time.Second, "healed"))
			})
			scenario(t, 1, 3, 0, func(t *testing.T, l *lab) { // without a restart: nothing may happen at all
				h := l.hosts[who]
				h.tunnel.wrong = jump
				for range 60 {
					time.Sleep(10 * time.Second)
					l.heals(20*time.Second, "healed")
				}
			})
		}
	}
}

func TestKeyRotation(t *testing.T) {
	for _, who := range []string{"v0", "s0", "s1", "s2"} {
		scenario(t, 1, 3, 0, func(t *testing.T, l *lab) {
			next := roster.Key(keyOf("next tunnel key", who))
			set := func(change func(*roster.Mesh)) {
				e := l.d.next(t, func(r *roster.Roster) {
					for i := range r.Members {
						if r.Members[i].Name == who {
							change(&r.Members[i].Mesh)
						}
					}
				})
				if err := l.hosts["s0"].store.Learn([]roster.Envelope{e}); err != nil {
					t.Fatal(err)
				}
				l.hosts["s0"].RosterChanged()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if !l.agree() {
					t.Fatal(l.describe())
				}
			}
			set(func(m *roster.Mesh) { m.Next = next })
			l.heals(6*time.Second, "with the old key")
			set(func(m *roster.Mesh) { m.Key, m.Next = next, m.Key })
			l.heals(6*time.Second, "with the old key, which is no longer the first")
			h := l.hosts[who]
			h.tunnel.rekey(tunnel.Key(next))
			h.UnderlayChanged()
			took := l.outage(4 * time.Second)
			if t.Log(who, "packets pass with the next key after", took); took > 2*time.Second {
				t.Errorf("packets were lost for %s\n%s", took, l.describe())
			}
			l.heals(7*time.Second, "with the next key")
			set(func(m *roster.Mesh) { m.Key, m.Next = next, roster.Key{} })
			l.heals(6*time.Second, "afterwards")
			for _, o := range l.hosts {
				if o != h && (!o.tunnel.knows(tunnel.Key(next)) || o.tunnel.knows(keyOf("tunnel", who))) {
					t.Errorf("%s has other keys", o.name)
				}
			}
		})
	}
}
