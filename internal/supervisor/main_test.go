package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// TestMain makes the test binary into the processes that the tests start, according to the name it is started by.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "faked":
		fakeDaemon()
	case "overseer":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		s := Supervisor{Dir: os.Args[1], timing: quick(), Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))}
		err := s.Run(ctx)
		stop()
		fmt.Println("supervisor ended:", err)
		syscall.Exit(0)
	}
	os.Exit(m.Run())
}

// quick is timing for tests: nothing here is compared with a clock.
func quick() timing {
	return timing{
		specEvery: 10 * time.Millisecond, observeEvery: 20 * time.Millisecond, probeEvery: 50 * time.Millisecond,
		gateEvery: 5 * time.Millisecond, gateFirst: time.Hour, gateAgain: time.Hour,
		backoff: backoff{min: 5 * time.Millisecond, max: 20 * time.Millisecond, soon: 5 * time.Millisecond}, healthy: time.Hour,
	}
}

// behaviour is what a fake daemon does; it finds it in its home.
type behaviour struct {
	Print      string // at the start
	Exit       *int   // end at once with this code
	IgnoreTerm bool
	Leave      bool // start another process that stays
}

const (
	behaviourFile = "fake.json"
	startsFile    = "starts" // a line for each start: pid and environment
	readyFile     = "ready"  // its pid, once it does what it shall
)

// fakeDaemon ends through syscall.Exit: under the race detector, os.Exit takes a second.
func fakeDaemon() {
	if len(os.Args) == 1 { // what a daemon leaves behind
		select {}
	}
	home := os.Args[3]
	var b behaviour
	raw, err := os.ReadFile(filepath.Join(home, behaviourFile))
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	if err != nil {
		fmt.Println("fake daemon:", err)
		syscall.Exit(2)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	f, err := os.OpenFile(filepath.Join(home, startsFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid(), os.Args[1:], os.Environ())
	}
	if err != nil {
		fmt.Println("fake daemon:", err)
		syscall.Exit(2)
	}
	fmt.Print(b.Print)
	if b.Leave {
		left := exec.Command(os.Args[0])
		left.ExtraFiles = []*os.File{os.NewFile(3, "lock")}
		if err := left.Start(); err != nil {
			fmt.Println("fake daemon:", err)
		}
	}
	if b.Exit != nil {
		syscall.Exit(*b.Exit)
	}
	_ = os.WriteFile(filepath.Join(home, readyFile), []byte(fmt.Sprint(os.Getpid())), 0o600)
	for range term {
		if !b.IgnoreTerm {
			syscall.Exit(0)
		}
	}
}

// rig is a host's folder with a fake daemon in it, and the node that answers for the daemon.
type rig struct {
	t   *testing.T
	dir string

	mu     sync.Mutex
	height int
	peers  []string
	dials  []string // what it was told to dial, each time
	deaf   bool     // it takes no such orders
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, dir: dir, height: 1}
	bin := filepath.Join(dir, HomeDir, "cosmovisor", "genesis", "bin")
	for _, d := range []string{bin, filepath.Join(dir, HomeDir, "data")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "faked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("genesis", filepath.Join(dir, HomeDir, "cosmovisor", "current")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.spec(Spec{RPC: server.URL})
	g.behave(behaviour{})
	t.Cleanup(func() { // whatever a failed test left
		if r, err := ReadReport(dir); err == nil {
			_ = r.Daemon.Kill()
		}
		if t.Failed() {
			g.dump()
		}
	})
	return g
}

// ServeHTTP answers as the daemon's RPC.
func (g *rig) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch req.URL.Path {
	case "/status":
		_, _ = fmt.Fprintf(w, `{"result":{"node_info":{"id":"me"},"sync_info":{"latest_block_height":"%d"}}}`, g.height)
	case "/net_info":
		var peers []string
		for _, id := range g.peers {
			peers = append(peers, fmt.Sprintf(`{"node_info":{"id":%q}}`, id))
		}
		_, _ = fmt.Fprintf(w, `{"result":{"peers":[%s]}}`, strings.Join(peers, ","))
	case "/dial_peers":
		if g.deaf {
			_, _ = fmt.Fprint(w, `{"error":{"code":-32601,"message":"Method not found"}}`)
			return
		}
		g.dials = append(g.dials, req.URL.Query().Get("peers")+" "+req.URL.Query().Get("persistent"))
		_, _ = fmt.Fprint(w, `{"result":{"log":"Dialing peers in progress."}}`)
	default:
		http.NotFound(w, req)
	}
}

// told is what the daemon was told to dial.
func (g *rig) told() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.dials)
}

// elsewhere is another address of the daemon's RPC, and counts how often the daemon was asked there how it does.
func (g *rig) elsewhere() (*atomic.Int64, string) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/status" {
			asked.Add(1)
		}
		g.ServeHTTP(w, req)
	}))
	g.t.Cleanup(server.Close)
	return &asked, server.URL
}

// at sets the chain's height.
func (g *rig) at(height int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.height = height
}

// listens says whether the daemon takes orders to dial.
func (g *rig) listens(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deaf = !yes
}

func (g *rig) dump() {
	for _, name := range []string{ReportFile, LogFile, SupervisorLock, HomeLock, OwnLogFile, "home/starts"} {
		if b, err := os.ReadFile(filepath.Join(g.dir, name)); err == nil {
			g.t.Logf("%s:\n%s", name, b)
		}
	}
}

// spec writes node.json; what is not set stays as before.
func (g *rig) spec(s Spec) {
	g.t.Helper()
	old, err := ReadSpec(g.dir)
	if err != nil {
		old = Spec{Daemon: "faked", GracePeriod: 20 * time.Second}
	}
	if s.RPC == "" {
		s.RPC = old.RPC
	}
	if s.Daemon == "" {
		s.Daemon = old.Daemon
	}
	if s.GracePeriod == 0 {
		s.GracePeriod = old.GracePeriod
	}
	if err := WriteSpec(g.dir, s); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) behave(b behaviour) {
	g.t.Helper()
	raw, err := json.Marshal(b)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := writeFile(filepath.Join(g.dir, HomeDir, behaviourFile), raw); err != nil {
		g.t.Fatal(err)
	}
}

// starts is how often a daemon was started, and what the last one saw.
func (g *rig) starts() (n int, last string) {
	b, _ := os.ReadFile(filepath.Join(g.dir, HomeDir, startsFile))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if lines[0] == "" {
		return 0, ""
	}
	return len(lines), lines[len(lines)-1]
}

// supervise runs a supervisor in this process, and returns what ends it.
func (g *rig) supervise() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		log := slog.New(slog.NewTextHandler(testLog{g.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		done <- (&Supervisor{Dir: g.dir, Logger: log, timing: quick()}).Run(ctx)
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	g.t.Cleanup(func() { _ = stop() })
	return stop
}

// overseer runs a supervisor in a process of its own.
func (g *rig) overseer() *process.Child {
	g.t.Helper()
	self, err := os.Executable()
	if err != nil {
		g.t.Fatal(err)
	}
	path := filepath.Join(g.t.TempDir(), "overseer")
	if err := os.Symlink(self, path); err != nil {
		g.t.Fatal(err)
	}
	log := filepath.Join(g.dir, OwnLogFile)
	child, err := process.Start(process.Spec{Path: path, Args: []string{g.dir}, Dir: g.dir, LogPath: log})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = child.Identity.Kill() })
	return child
}

// report waits until the report says what is wanted.
func (g *rig) report(what string, wanted func(Report) bool) Report {
	g.t.Helper()
	var r Report
	eventually(g.t, what, func() bool {
		var err error
		r, err = ReadReport(g.dir)
		return err == nil && wanted(r)
	})
	return r
}

// running waits until a daemon runs and is ready to be asked to end.
func (g *rig) running() Report {
	g.t.Helper()
	return g.report("a daemon runs", func(r Report) bool {
		ready, _ := os.ReadFile(filepath.Join(g.dir, HomeDir, readyFile))
		return r.Phase == Running && r.Daemon.Alive() && string(ready) == fmt.Sprint(r.Daemon.PID)
	})
}

func finding(r Report, code string) (health.Finding, bool) {
	for _, f := range r.Findings {
		if f.Code == code {
			return f, true
		}
	}
	return health.Finding{}, false
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not in time", what)
		}
	}
}

// testLog writes to the test's log as long as the test lasts.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}
