package supervisor

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

func exitCode(n int) *int { return &n }

func TestRunAndStop(t *testing.T) {
	g := newRig(t)
	t.Setenv("A_SECRET", "hunter2")
	g.spec(Spec{Args: []string{"--x", "y"}, Revision: "r1", RestartToken: 3})
	if _, err := Daemon(g.dir); !errors.Is(err, process.ErrGone) {
		t.Errorf("daemon before the start: %v, want gone", err)
	}
	stop := g.supervise()
	r := g.running()
	if found, err := Daemon(g.dir); found != r.Daemon {
		t.Errorf("found %v (%v), want %v", found, err, r.Daemon)
	}
	if r.Revision != "r1" || r.RestartToken != 3 || r.Adopted || r.Restarts != 0 || r.Height != 1 {
		t.Errorf("report %+v", r)
	}
	_, seen := g.starts()
	home := filepath.Join(g.dir, HomeDir)
	if !strings.Contains(seen, "[start --home "+home+" --x y]") || strings.Contains(seen, "hunter2") {
		t.Errorf("daemon saw %s", seen)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := Daemon(g.dir); runtime.GOOS == "linux" && !errors.Is(err, process.ErrGone) {
		t.Errorf("daemon after the end: %v, want gone", err)
	}
	r = g.report("stopped", func(r Report) bool { return r.Phase == Stopped })
	if !r.Daemon.IsZero() || r.LastExit == nil || r.LastExit.Code != 0 || len(r.Findings) != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	g := newRig(t)
	g.spec(Spec{GracePeriod: 50 * time.Millisecond})
	g.behave(behaviour{IgnoreTerm: true})
	stop := g.supervise()
	id := g.running().Daemon
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("daemon is alive")
	}
	if r := g.report("stopped", func(r Report) bool { return r.Phase == Stopped }); r.LastExit.Signal != "killed" {
		t.Errorf("last exit %+v, want killed", r.LastExit)
	}
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	g := newRig(t)
	g.supervise()
	r := g.running()
	err := (&Supervisor{Dir: g.dir, timing: quick()}).Run(t.Context())
	held := (*process.Held)(nil)
	if !errors.As(err, &held) || held.Holder.Process != r.Supervisor || held.Holder.Name == "" {
		t.Errorf("second supervisor: %v, want one that names the first", err)
	}
	if n, _ := g.starts(); n != 1 {
		t.Errorf("%d daemons were started", n)
	}
}

func TestCrashes(t *testing.T) {
	g := newRig(t)
	g.behave(behaviour{Exit: exitCode(2), Print: "panic: the sky is falling\n"})
	g.supervise()
	r := g.report("three restarts", func(r Report) bool { return r.Restarts >= 3 && r.LastExit != nil })
	if r.LastExit.Code != 2 || !strings.Contains(r.LastExit.Words, "the sky is falling") {
		t.Errorf("last exit %+v", r.LastExit)
	}
	g.report("finding", func(r Report) bool { _, ok := finding(r, "panic"); return ok })
	g.behave(behaviour{})
	g.running()
	g.at(2)
	g.report("no finding once blocks come", func(r Report) bool { return len(r.Findings) == 0 && r.Height == 2 })
}

func TestNoRestartWhereItCannotHelp(t *testing.T) {
	g := newRig(t)
	g.behave(behaviour{Exit: exitCode(1), Print: `ERR error during handshake: error on replay: UPGRADE "v2" NEEDED at height: 20` + "\n"})
	g.supervise()
	r := g.report("stopped for good", func(r Report) bool { return r.Phase == Stopped })
	f, ok := finding(r, codeUpgrade)
	if !ok || f.Severity != health.Critical || !strings.Contains(f.Message, `"v2"`) {
		t.Errorf("findings %+v", r.Findings)
	}
	g.behave(behaviour{})
	if n, _ := g.starts(); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
	g.spec(Spec{RestartToken: 1}) // somebody asks for another try
	g.running()
}

func TestNewBinaryEndsTheWait(t *testing.T) {
	g := newRig(t)
	current := filepath.Join(g.dir, HomeDir, "cosmovisor", "current")
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	g.supervise()
	g.report("nothing to start", func(r Report) bool { _, ok := finding(r, "binary-missing"); return ok && r.Phase == Stopped })
	if err := os.Symlink("genesis", current); err != nil {
		t.Fatal(err)
	}
	g.running()
}

func TestRestartToken(t *testing.T) {
	g := newRig(t)
	g.supervise()
	first := g.running().Daemon
	g.spec(Spec{Revision: "r2"}) // a new configuration alone restarts nothing
	g.spec(Spec{Revision: "r3", RestartToken: 7})
	g.report("restarted", func(r Report) bool { return r.RestartToken == 7 && r.Phase == Running })
	r := g.running()
	if n, _ := g.starts(); n != 2 || r.Daemon == first || first.Alive() || r.Revision != "r3" || r.Restarts != 1 {
		t.Errorf("%d starts, report %+v", n, r)
	}
}

// Other peers cost no restart where that is all that changed: the daemon is told, until it takes it, and the report says
// by which configuration it goes on.
func TestOtherPeersAreDialledByARunningDaemon(t *testing.T) {
	g := newRig(t)
	one := []Peer{{NodeID: "a", Address: "127.0.0.1:1", Name: "s1"}}
	other := []Peer{{NodeID: "b", Address: "127.0.0.1:2", Name: "s1"}}
	g.spec(Spec{Revision: "r1", Core: "c1", NoWait: true, Peers: one})
	g.supervise()
	r := g.running()
	if r.Revision != "r1" || r.Core != "c1" || len(g.told()) != 0 {
		t.Fatalf("told %q, report %+v", g.told(), r)
	}
	g.listens(false)
	g.spec(Spec{Revision: "r2", Core: "c1", NoWait: true, Peers: other})
	g.report("refused", func(r Report) bool { _, found := finding(r, "peers-not-taken"); return found && r.Revision == "r1" })
	g.listens(true)
	now := g.report("following", func(r Report) bool { return r.Revision == "r2" })
	_, found := finding(now, "peers-not-taken")
	if told := g.told(); found || !slices.Equal(told, []string{`["b@127.0.0.1:2","b@127.0.0.1:2","b@127.0.0.1:2","b@127.0.0.1:2"] true`}) || now.Daemon != r.Daemon || now.Core != "c1" {
		t.Errorf("told %q, report %+v", told, now)
	}
	// Whoever asks elsewhere has the new one.
	looks, elsewhere := g.elsewhere()
	g.spec(Spec{Revision: "r3", Core: "c2", NoWait: true, Peers: one, RPC: elsewhere}) // more changed than can be told
	eventually(t, "a whole look since", func() bool { return looks.Load() > 1 })
	if told := g.told(); len(told) != 1 {
		t.Errorf("told %q", told)
	}
	g.spec(Spec{Revision: "r3", Core: "c2", NoWait: true, Peers: one, RestartToken: 9})
	g.report("restarted", func(r Report) bool { return r.Revision == "r3" && r.Phase == Running })
	now = g.running() // and not only the RPC, which answers for whoever runs
	if n, _ := g.starts(); n != 2 || len(g.told()) != 1 || now.Daemon == r.Daemon {
		t.Errorf("%d starts, told %q", n, g.told())
	}
}

func TestBadSpecKeepsTheLast(t *testing.T) {
	g := newRig(t)
	g.supervise()
	first := g.running().Daemon
	if err := os.WriteFile(filepath.Join(g.dir, SpecFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := g.report("finding", func(r Report) bool { _, ok := finding(r, "spec-unreadable"); return ok })
	if r.Daemon != first || !first.Alive() {
		t.Errorf("report %+v", r)
	}
}

func TestKilledSupervisorIsFollowedByAnother(t *testing.T) {
	g := newRig(t)
	g.spec(Spec{RestartToken: 5})
	overseer := g.overseer()
	first := g.running()
	if first.Supervisor != overseer.Identity {
		t.Fatalf("supervisor %v, want %v", first.Supervisor, overseer.Identity)
	}
	if err := overseer.Identity.Kill(); err != nil {
		t.Fatal(err)
	}
	overseer.Wait()
	stop := g.supervise()
	r := g.report("adopted", func(r Report) bool { return r.Adopted && r.Phase == Running })
	if r.Daemon != first.Daemon || r.RestartToken != 5 || !r.DaemonSince.Equal(first.DaemonSince) {
		t.Errorf("adopted %+v, want %+v", r, first)
	}
	// Its death is noticed although it is no child of ours.
	if err := r.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	g.report("another daemon", func(r Report) bool { return !r.Adopted && r.Phase == Running && r.Daemon != first.Daemon })
	r = g.running()
	if n, _ := g.starts(); n != 2 || r.Restarts != 1 {
		t.Errorf("%d starts, report %+v", n, r)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAdoptedDaemonStops(t *testing.T) {
	g := newRig(t)
	overseer := g.overseer()
	first := g.running()
	if err := overseer.Identity.Kill(); err != nil {
		t.Fatal(err)
	}
	overseer.Wait()
	stop := g.supervise()
	g.report("adopted", func(r Report) bool { return r.Adopted })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if first.Daemon.Alive() {
		t.Error("daemon is alive")
	}
}

func TestOrphanWithAnotherBinaryIsReplaced(t *testing.T) {
	g := newRig(t)
	overseer := g.overseer()
	first := g.running()
	if err := overseer.Identity.Kill(); err != nil {
		t.Fatal(err)
	}
	overseer.Wait()
	g.copyBinary()
	g.supervise()
	g.report("replaced", func(r Report) bool { return r.Phase == Running && r.Daemon != first.Daemon })
	r := g.running()
	if n, _ := g.starts(); n != 2 || r.Adopted || first.Daemon.Alive() {
		t.Errorf("%d starts, report %+v", n, r)
	}
}

// copyBinary puts a new file in the executable's place, with the same content.
func (g *rig) copyBinary() {
	g.t.Helper()
	path := filepath.Join(g.dir, HomeDir, "cosmovisor", "genesis", "bin", "faked")
	b, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path+".new", b, 0o700), os.Rename(path+".new", path)); err != nil {
		g.t.Fatal(err)
	}
}

// orphan starts a daemon whose supervisor died before it could note which process the daemon is.
func (g *rig) orphan() process.Identity {
	g.t.Helper()
	lock, err := process.TryLock(filepath.Join(g.dir, HomeLock), lockName)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := lock.Record(process.Holder{Name: lockName, Process: process.Identity{PID: 1 << 22, Start: "1"}}); err != nil {
		g.t.Fatal(err)
	}
	home := filepath.Join(g.dir, HomeDir)
	id, err := process.StartDetached(process.Spec{
		Path: filepath.Join(home, "cosmovisor", "current", "bin", "faked"), Args: []string{"start", "--home", home},
		Dir: home, LogPath: filepath.Join(g.dir, LogFile), ExtraFiles: []*os.File{lock.File()},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = id.Kill() })
	if err := lock.Close(); err != nil {
		g.t.Fatal(err)
	}
	return id
}

func TestUnnotedOrphanIsAdopted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system cannot tell who holds a lock")
	}
	g := newRig(t)
	g.spec(Spec{Revision: "r1", Core: "c1"})
	id := g.orphan()
	if found, err := Daemon(g.dir); found != id {
		t.Errorf("found %v (%v), want %v", found, err, id)
	}
	g.supervise()
	r := g.running()
	if n, _ := g.starts(); n != 1 || r.Daemon != id || !r.Adopted {
		t.Errorf("%d starts, report %+v", n, r)
	}
	g.spec(Spec{Revision: "r2", Core: "c1", Peers: []Peer{{NodeID: "b", Address: "127.0.0.1:2"}}})
	r = g.report("following", func(r Report) bool { return r.Revision == "r2" })
	if told := g.told(); r.Daemon != id || len(told) != 1 {
		t.Errorf("told %q, report %+v", told, r)
	}
}

// What another supervisor told a daemon is not known to the one that adopts it, which tells it again.
func TestAdoptedDaemonIsToldAgain(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system cannot tell who holds a lock")
	}
	g := newRig(t)
	g.spec(Spec{Revision: "r1", Core: "c1", Peers: []Peer{{NodeID: "b", Address: "127.0.0.1:2"}}})
	id := g.orphan()
	g.supervise()
	eventually(t, "told", func() bool { return len(g.told()) > 0 })
	if r := g.running(); r.Daemon != id || !r.Adopted {
		t.Errorf("%+v", r)
	}
}

func TestUnnotedOrphanWithAnotherBinaryIsReplaced(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system cannot tell who holds a lock")
	}
	g := newRig(t)
	id := g.orphan()
	eventually(t, "orphan runs", func() bool { n, _ := g.starts(); return n == 1 })
	g.copyBinary()
	g.supervise()
	r := g.running()
	if n, _ := g.starts(); n != 2 || r.Daemon == id || id.Alive() {
		t.Errorf("%d starts, report %+v", n, r)
	}
}

// living lists the daemons of this home that are alive.
func (g *rig) living() (ids []process.Identity) {
	b, _ := os.ReadFile(filepath.Join(g.dir, HomeDir, startsFile))
	for line := range strings.Lines(string(b)) {
		word, _, _ := strings.Cut(line, " ")
		pid, _ := strconv.Atoi(word)
		id, err := process.Of(pid)
		if err != nil {
			continue
		}
		if args, err := id.Args(); err == nil && slices.Contains(args, filepath.Join(g.dir, HomeDir)) {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestNeverTwoDaemons(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system cannot tell who holds a lock")
	}
	g := newRig(t)
	for range 25 {
		overseer := g.overseer()
		<-time.After(rand.N(120 * time.Millisecond)) // anywhere in its life: before the fork, after it, while it looks on
		if rand.N(3) == 0 {
			for _, id := range g.living() {
				_ = id.Kill()
			}
		}
		if err := overseer.Identity.Kill(); err != nil {
			t.Fatal(err)
		}
		overseer.Wait()
		if ids := g.living(); len(ids) > 1 {
			t.Fatalf("%d daemons on one home: %v", len(ids), ids)
		}
	}
	g.supervise()
	r := g.running()
	if diff := cmp.Diff([]process.Identity{r.Daemon}, g.living()); diff != "" {
		t.Error(diff)
	}
}

func TestStrangerInTheHomeIsLeftAlone(t *testing.T) {
	g := newRig(t)
	lock, err := process.TryLock(filepath.Join(g.dir, HomeLock), "pressenter key restore")
	if err != nil {
		t.Fatal(err)
	}
	g.supervise()
	r := g.report("finding", func(r Report) bool { _, ok := finding(r, "home-held"); return ok })
	f, _ := finding(r, "home-held")
	if r.Phase != WaitingForLock || f.Severity != health.Critical || !strings.Contains(f.Message, "pressenter key restore") {
		t.Errorf("report %+v", r)
	}
	if n, _ := g.starts(); n != 0 {
		t.Errorf("%d daemons were started", n)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if r := g.running(); len(r.Findings) != 0 {
		t.Errorf("findings %+v", r.Findings)
	}
}

func TestWhatTheDaemonLeftIsEnded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system cannot tell who holds a lock")
	}
	g := newRig(t)
	g.behave(behaviour{Exit: exitCode(1), Leave: true})
	g.supervise()
	eventually(t, "first run", func() bool { n, _ := g.starts(); return n >= 1 })
	g.behave(behaviour{})
	g.running()
	ids, err := process.LockHolders(filepath.Join(g.dir, HomeLock))
	if err != nil || len(ids) != 1 {
		t.Errorf("the home is held by %v (%v), want the daemon alone", ids, err)
	}
}

func TestFrozenDaemon(t *testing.T) {
	g := newRig(t)
	g.at(20)
	g.behave(behaviour{Print: `ERR UPGRADE "v2" NEEDED at height: 20: {} module=x/upgrade` + "\n" + `ERR CONSENSUS FAILURE!!! err="UPGRADE"` + "\n"})
	g.spec(Spec{BlockTime: time.Millisecond})
	g.supervise()
	g.running()
	if err := os.WriteFile(filepath.Join(g.dir, HomeDir, "data", "upgrade-info.json"), []byte(`{"name":"v2","height":20}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := g.report("frozen", func(r Report) bool { return r.Phase == Frozen })
	if f, ok := finding(r, codeUpgrade); !ok || r.Restarts != 0 || !strings.Contains(f.Message, "height 20") {
		t.Errorf("report %+v", r)
	}
	g.behave(behaviour{})
	g.copyBinary()
	r2 := g.report("the new binary runs", func(n Report) bool { return n.Phase == Running && n.Daemon != r.Daemon })
	if _, ok := finding(r2, codeUpgrade); ok {
		t.Errorf("findings %+v", r2.Findings)
	}
}

func TestLogIsRotated(t *testing.T) {
	g := newRig(t)
	g.behave(behaviour{Print: strings.Repeat("a long story\n", 100)})
	g.spec(Spec{LogMaxBytes: 1000, LogKeep: 2})
	stop := g.supervise()
	g.running()
	path := filepath.Join(g.dir, LogFile)
	eventually(t, "rotated", func() bool { return size(path) == 0 && size(path+".1") == 1300 })
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for range 3 {
		if _, err := io.WriteString(f, strings.Repeat("and then\n", 200)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "rotated again", func() bool { return size(path) == 0 })
	}
	if size(path+".1") != 1800 || size(path+".2") != 1800 || size(path+".3") != 0 {
		t.Error("not as many old logs as wanted")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestDaemonThatLostItsLockIsEnded(t *testing.T) {
	g := newRig(t)
	overseer := g.overseer()
	first := g.running()
	if err := overseer.Identity.Kill(); err != nil {
		t.Fatal(err)
	}
	overseer.Wait()
	if err := os.Remove(filepath.Join(g.dir, HomeLock)); err != nil {
		t.Fatal(err)
	}
	g.supervise()
	g.report("another daemon", func(r Report) bool { return r.Phase == Running && r.Daemon != first.Daemon })
	if first.Daemon.Alive() {
		t.Error("two daemons on one home")
	}
}

func TestSupervisorProcessStopsOnSignal(t *testing.T) {
	g := newRig(t)
	overseer := g.overseer()
	first := g.running()
	if err := process.Terminate(t.Context(), overseer.Identity, time.Minute); err != nil {
		t.Fatal(err)
	}
	if exit := overseer.Wait(); exit != (process.Exit{}) || first.Daemon.Alive() {
		t.Errorf("supervisor: %v; daemon alive: %v", exit, first.Daemon.Alive())
	}
}

func TestReportSurvivesJSON(t *testing.T) {
	in := Report{Phase: Running, LastExit: &LastExit{Exit: process.Exit{Code: -1, Signal: syscall.SIGKILL.String()}, Words: "w"}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Report
	if err := json.Unmarshal(b, &out); err != nil || out.LastExit.Signal != "killed" || out.LastExit.Words != "w" {
		t.Errorf("%s: %+v, %v", b, out, err)
	}
}
