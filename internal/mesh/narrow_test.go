package mesh

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
)

// A path that lets small packets pass and swallows large ones is left for a relay, and taken again when large ones pass.
func TestNarrowPathIsLeft(t *testing.T) {
	scenario(t, 1, 3, 3, func(t *testing.T, l *lab) {
		pairs := [][2]string{{"v0", "s0"}, {"v0", "s1"}, {"s0", "s1"}, {"s1", "s2"}}
		all := func(path string) func() bool {
			return func() bool {
				for _, pair := range pairs {
					// Either side may be the one that repairs; the other one sees where the packets come from.
					if a, b := l.peer(pair[0], pair[1]), l.peer(pair[1], pair[0]); a.Path != path || b.Path != path {
						return false
					}
				}
				return true
			}
		}
		l.within(time.Minute, "full size", func() bool { return l.peer("v0", "s0").Packet == 1420 })
		before := changes(l, "")
		l.net.largest.Store(1000)
		t.Log("left after", l.within(4*time.Minute, "a relay", all(api.PathRelay)))
		why := func(c api.MeshChange) bool { return strings.Contains(c.Why, "1200") }
		if p := l.peer("v0", "s0"); !slices.ContainsFunc(p.History, why) {
			t.Errorf("why: %+v", p.History)
		}
		l.within(10*time.Second, "large packets", func() bool { return l.peer("v0", "s0").Packet == 1420 && len(l.hosts["v0"].Status().Notes) == 0 })
		time.Sleep(time.Minute) // the side that was told of a relay by its packets finds out for itself, once
		there := changes(l, "")
		time.Sleep(20 * time.Minute)
		if n := changes(l, "") - there; n != 0 || !all(api.PathRelay)() {
			t.Errorf("%d changes while nothing changed\n%s", n, l.describe())
		}
		l.net.largest.Store(0)
		t.Log("back after", l.within(75*time.Second, "the direct path", all(api.PathDirect)))
		time.Sleep(10 * time.Minute)
		if !all(api.PathDirect)() {
			t.Error(l.describe())
		}
		if n := changes(l, api.PathDown); n != 0 {
			t.Errorf("%d paths were down in between\n%s", n, l.describe())
		}
		t.Log("changes in all:", changes(l, "")-before)
	})
}

// changes counts the changes of all paths, or those to one form.
func changes(l *lab, to string) int {
	n := 0
	for _, h := range l.hosts {
		h.mu.Lock()
		for _, p := range h.peers {
			for _, c := range p.path.history {
				if to == "" || c.path == to {
					n++
				}
			}
		}
		h.mu.Unlock()
	}
	return n
}

// Where large packets pass just while somebody looks whether they do, a path changes about once a minute each way at most,
// and is never down.
func TestNarrowPathDoesNotFlap(t *testing.T) {
	scenario(t, 1, 2, 2, func(t *testing.T, l *lab) {
		l.within(time.Minute, "full size", func() bool { return l.peer("v0", "s0").Packet == 1420 })
		moves, last, downs := 0, "", 0
		began := time.Now()
		for time.Since(began) < time.Hour {
			time.Sleep(100 * time.Millisecond)
			path := l.peer("v0", "s0").Path
			if path != last {
				moves++
			}
			if last = path; path == api.PathDown {
				downs++
			}
			l.net.largest.Store(1000)
			if path == api.PathRelay {
				l.net.largest.Store(0)
			}
		}
		t.Logf("%d moves in an hour", moves)
		if moves < 20 || moves > 120 || downs > 0 {
			t.Errorf("%d moves, %d times down", moves, downs)
		}
	})
}

// A relay that swallows everything is not tried again at once.
func TestNarrowPathWithoutARelayThatWorks(t *testing.T) {
	scenario(t, 1, 2, 2, func(t *testing.T, l *lab) {
		l.within(time.Minute, "full size", func() bool { return l.peer("v0", "s0").Packet == 1420 })
		l.hosts["v0"].relays.broken.Store(true)
		l.net.largest.Store(1000)
		time.Sleep(30 * time.Minute)
		if p := l.peer("v0", "s0"); p.Path != api.PathDirect || changes(l, api.PathDown) != 0 {
			t.Error(l.describe())
		}
		if notes := strings.Join(l.hosts["v0"].Status().Notes, "\n"); !strings.Contains(notes, "1200 bytes do not get through to s0") {
			t.Errorf("notes %q", notes)
		}
	})
}
