package supervisor

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// bench is a runner with real timing and a folder, without any daemon.
func bench(t *testing.T, spec Spec) *runner {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, HomeDir), 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Daemon, spec.RPC = "d", "http://127.0.0.1:1"
	if err := WriteSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	r, err := (&Supervisor{Dir: dir}).runner()
	if err != nil {
		t.Fatal(err)
	}
	r.log = slog.New(slog.DiscardHandler)
	return r
}

func TestHoldGrowsAndIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bench(t, Spec{})
		var waits []time.Duration
		for range 8 {
			start := time.Now()
			r.hold(t.Context(), diagnosis{})
			waits = append(waits, time.Since(start))
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, waits); diff != "" {
			t.Error(diff)
		}
		for range 3 {
			start := time.Now()
			r.hold(t.Context(), diagnosis{retry: retrySoon})
			if got := time.Since(start); got != 2*time.Second {
				t.Errorf("soon is %v", got)
			}
		}
	})
}

func TestHoldEndsWithAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bench(t, Spec{})
		done := make(chan time.Duration)
		go func() {
			start := time.Now()
			r.hold(t.Context(), diagnosis{retry: retryOnChange})
			done <- time.Since(start)
		}()
		select {
		case d := <-done:
			t.Fatalf("went on after %v without a change", d)
		case <-time.After(10 * time.Minute):
		}
		if err := WriteSpec(r.dir, Spec{Daemon: "d", RPC: "http://127.0.0.1:1", RestartToken: 1}); err != nil {
			t.Fatal(err)
		}
		if d := <-done; d > 10*time.Minute+time.Second {
			t.Errorf("went on after %v", d)
		}
	})
}

// follow feeds the runner with what the network looks like, every two seconds, and returns when it wanted restarts.
func follow(r *runner, d time.Duration, network func(at time.Duration) (connected []string, answers []string)) []time.Duration {
	var restarts []time.Duration
	start := time.Now()
	w := r.newWatched(&daemon{started: start})
	for at := time.Duration(0); at < d; at += 2 * time.Second {
		time.Sleep(time.Until(start.Add(at)))
		connected, answers := network(at)
		s := sight{status: &comet.Status{Height: 1}, net: &comet.NetInfo{}, probed: map[string]bool{}, answers: map[string]bool{}}
		for _, id := range connected {
			s.net.Peers = append(s.net.Peers, comet.Peer{ID: id})
		}
		for _, p := range r.spec.Spec.Peers {
			s.probed[p.NodeID] = true
		}
		for _, id := range answers {
			s.answers[id] = true
		}
		if o := r.consider(w, s); o.restart != "" {
			restarts = append(restarts, at)
			w = r.newWatched(&daemon{started: time.Now()})
		}
	}
	return restarts
}

func TestRedial(t *testing.T) {
	two := Spec{Peers: []Peer{{NodeID: "a", Address: "x:1", Name: "a"}, {NodeID: "b", Address: "x:2", Name: "b"}}}
	both := []string{"a", "b"}
	for name, tt := range map[string]struct {
		lasts   time.Duration
		network func(at time.Duration) (connected, answers []string)
		want    []time.Duration
	}{
		"all is well": {time.Hour, func(time.Duration) ([]string, []string) { return both, both }, nil},
		"sentries away for a day, then back": {25 * time.Hour, func(at time.Duration) ([]string, []string) {
			if at < 24*time.Hour {
				return nil, nil
			}
			if at < 24*time.Hour+20*time.Second {
				return nil, both
			}
			return both, both
		}, []time.Duration{24*time.Hour + 12*time.Second}},
		"never connects": {time.Hour, func(at time.Duration) ([]string, []string) {
			if at > 20*time.Minute {
				return both, both
			}
			return nil, both
		}, []time.Duration{32 * time.Second, 154 * time.Second, 396 * time.Second, 878 * time.Second}},
		"one of two is given up": {2 * time.Hour, func(at time.Duration) ([]string, []string) {
			if at > 45*time.Minute {
				return both, both
			}
			return []string{"a"}, both
		}, []time.Duration{30*time.Minute + 2*time.Second}},
		"one of two is down": {2 * time.Hour, func(time.Duration) ([]string, []string) { return []string{"a"}, []string{"a"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if diff := cmp.Diff(tt.want, follow(bench(t, two), tt.lasts, tt.network)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A daemon that takes orders is told again whom to dial, and not restarted for one of several that it gave up.
func TestGivenUpIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bench(t, Spec{Revision: "r1", Core: "c1", Peers: []Peer{{NodeID: "a", Address: "x:1", Name: "a"}, {NodeID: "b", Address: "x:2", Name: "b"}}})
		w := r.newWatched(&daemon{started: time.Now(), record: record{Revision: "r1", Core: "c1"}})
		var told []time.Duration
		start := time.Now()
		for at := time.Duration(0); at < 2*time.Hour; at += 2 * time.Second {
			time.Sleep(time.Until(start.Add(at)))
			s := sight{
				status: &comet.Status{Height: 1}, net: &comet.NetInfo{Peers: []comet.Peer{{ID: "a"}}},
				probed: map[string]bool{"b": true}, answers: map[string]bool{"b": true}, relink: r.question(w).relink,
			}
			if s.relink != "" {
				told = append(told, at)
			}
			if o := r.consider(w, s); o.restart != "" {
				t.Fatalf("after %v it is restarted: %s", at, o.restart)
			}
		}
		const first, every = 30*time.Minute + 4*time.Second, 30*time.Minute + 2*time.Second
		if diff := cmp.Diff([]time.Duration{first, first + every, first + 2*every}, told); diff != "" {
			t.Error(diff)
		}
	})
}

// A peer is missed since the daemon was started; one that was not wanted then, since it is.
func TestPeersAreMissedSinceTheyAreWanted(t *testing.T) {
	start := time.Now()
	k := tracker{start: start}
	at := func(d time.Duration, ids ...string) []time.Duration {
		var peers []Peer
		for _, id := range ids {
			peers = append(peers, Peer{NodeID: id})
		}
		var missing []time.Duration
		for _, l := range k.update(start.Add(d), peers, map[string]bool{"linked": true}, nil, nil) {
			missing = append(missing, l.missing)
		}
		return missing
	}
	for _, tt := range []struct {
		at   time.Duration
		ids  []string
		want []time.Duration
	}{
		{time.Minute, []string{"linked", "old"}, []time.Duration{0, time.Minute}},
		{time.Hour, []string{"old", "new"}, []time.Duration{time.Hour, 1}},
		{2 * time.Hour, []string{"old", "new"}, []time.Duration{2 * time.Hour, time.Hour}},
	} {
		if diff := cmp.Diff(tt.want, at(tt.at, tt.ids...)); diff != "" {
			t.Errorf("after %v: %s", tt.at, diff)
		}
	}
}

func TestHeightIsNotWrittenAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bench(t, Spec{})
		r.report.phase(Running)
		r.report.now.Height = 1
		r.report.flush()
		for height := int64(2); height < 6; height++ {
			time.Sleep(2 * time.Second)
			r.report.now.Height = height
			r.report.flush()
		}
		if got, err := ReadReport(r.dir); err != nil || got.Height != 1 {
			t.Errorf("height %d, %v: written although nothing else is new", got.Height, err)
		}
		time.Sleep(3 * time.Second)
		r.report.flush()
		if got, err := ReadReport(r.dir); err != nil || got.Height != 5 {
			t.Errorf("height %d, %v: not written at last", got.Height, err)
		}
	})
}

func TestMarkerCountsOnlyWithoutGrowth(t *testing.T) {
	w := &watched{d: &daemon{}}
	now := time.Now()
	sights := []struct {
		height int64
		output string
		halted bool
	}{
		{5, "all is well", false},
		{6, "ERR CONSENSUS FAILURE!!! err=halt per configuration", true}, // the output is older than the height
		{6, "", true},
		{7, "", false}, // so it was no such thing
	}
	for i, s := range sights {
		w.take(sight{status: &comet.Status{Height: s.height}, output: []byte(s.output)}, now)
		if w.halted != s.halted {
			t.Errorf("step %d: halted %v", i, w.halted)
		}
	}
}

func TestEndlessWaitForOwnSignaturesIsNoLongerNormal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bench(t, Spec{})
		diag := diagnose(process.Exit{Code: 1}, []byte("found signature from the same key"))
		for start := time.Now(); time.Since(start) < recentMax; {
			r.hold(t.Context(), diag)
			if got := r.report.findings[aboutExit][0]; got.Severity != health.Info {
				t.Fatalf("after %v: %+v", time.Since(start), got)
			}
		}
		r.hold(t.Context(), diag)
		if got := r.report.findings[aboutExit][0]; got.Severity != health.Critical {
			t.Errorf("after %v: %+v", recentMax, got)
		}
	})
}
