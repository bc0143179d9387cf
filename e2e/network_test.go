package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/process"
)

// patience bounds every wait for something that has to come. It is for what hangs; nothing is timed with it.
const patience = 3 * time.Minute

// eventually asks until ok is satisfied.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	if err := await(ok); err != nil {
		t.Fatalf("waited %v for %s: %v", patience, what, err)
	}
}

// await asks until ok is satisfied, and returns its last word if it never is.
func await(ok func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// network is a practice network in a folder of its own, with a home and a folder for temporary files that nothing
// else uses.
type network struct {
	base string // holds all of it
	dir  string // holds pressenter.yaml
	exe  string
	env  []string // what commands see beside the usual
	// start starts a command where the network is, and client asks nodes there; nil: any.
	start  func(*exec.Cmd) error
	client *http.Client

	mu   sync.Mutex
	told bytes.Buffer // all that commands printed
}

// remember keeps what a command printed.
func (n *network) remember(b ...[]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told.Write(bytes.Join(b, []byte("\n")))
}

// printed is all that commands printed so far.
func (n *network) printed() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Clone(n.told.Bytes())
}

// newNetwork makes the folder of a network called name, with a config and nothing else. What runs there at the end of
// the test is ended.
func newNetwork(t *testing.T, name string) *network {
	t.Helper()
	n := folderFor(t, t.TempDir(), name)
	t.Cleanup(func() { n.end(t) })
	n.does(t, "init")
	return n
}

// upAndSigning makes a network that nobody else uses and brings it up. Such tests run beside each other.
func upAndSigning(t *testing.T) *network {
	t.Helper()
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	n.does(t, "up", "--yes")
	return n
}

func folderFor(t *testing.T, base, name string) *network {
	t.Helper()
	n := &network{base: base, dir: filepath.Join(base, name), exe: pressenter(), start: (*exec.Cmd).Start}
	for _, d := range []string{n.dir, n.home(), n.tmp()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func (n *network) home() string          { return filepath.Join(n.base, "home") }
func (n *network) tmp() string           { return filepath.Join(n.base, "tmp") }
func (n *network) state() deployment.Dir { return deployment.Dir(filepath.Join(n.dir, ".pressenter")) }
func (n *network) yaml() string          { return filepath.Join(n.dir, "pressenter.yaml") }

// folder is a host's folder. The world's hosts are called w1, w2, ...
func (n *network) folder(host string) string {
	if strings.HasPrefix(host, "w") {
		return filepath.Join(n.state().World().Hosts(), host)
	}
	return filepath.Join(n.state().Hosts(), host)
}

// end shows the logs of a failed test and ends everything in the network's folder.
func (n *network) end(t *testing.T) {
	if t.Failed() {
		n.showLogs(t)
	}
	if left := killUnder(n.base); len(left) > 0 {
		t.Errorf("could not end %v", left)
	}
	unmountUnder(n.base)
}

// showLogs prints the ends of all logs: short ones without -v, or what failed is lost among them.
func (n *network) showLogs(t *testing.T) {
	lines := 3
	if testing.Verbose() {
		lines = 40
	}
	for _, pattern := range []string{n.folder("*"), n.folder("w*")} {
		for _, log := range []string{"agent.log", "mesh.log", "supervisor.log", "node.log"} {
			files, _ := filepath.Glob(filepath.Join(pattern, log)) //nolint:errcheck // the pattern is right
			for _, f := range files {
				t.Logf("the end of %s:\n%s", f, tail(f, lines))
			}
		}
	}
	for _, r := range under(n.base) {
		if testing.Verbose() {
			t.Logf("runs: %v", r)
		}
	}
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(colour.ReplaceAllString(string(b), ""), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// said is what a command printed and how it ended.
type said struct {
	args     []string
	out, err string
	code     int
}

// String is for messages.
func (s said) String() string {
	return fmt.Sprintf("pressenter %s: exit code %d\n%s%s", strings.Join(s.args, " "), s.code, s.out, s.err)
}

// has says whether the command printed all of words, wherever.
func (s said) has(words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s.out+s.err, w) })
}

// command prepares a command in the network's folder, without a terminal.
func (n *network) command(args ...string) *exec.Cmd {
	c := exec.Command(n.exe, args...)
	c.Dir = n.dir
	c.Env = append([]string{"HOME=" + n.home(), "TMPDIR=" + n.tmp(), "PATH=" + os.Getenv("PATH")}, n.env...)
	return c
}

// runs runs a command to its end.
func (n *network) runs(t *testing.T, args ...string) said {
	t.Helper()
	c := n.command(args...)
	s := endedAfter(t, c, func() error { return n.start(c) })
	n.remember([]byte(s.out), []byte(s.err))
	return s
}

// ended runs c to its end, or kills it when that does not come.
func ended(t *testing.T, c *exec.Cmd) said {
	t.Helper()
	return endedAfter(t, c, c.Start)
}

// endedAfter does so for a c that start starts.
func endedAfter(t *testing.T, c *exec.Cmd, start func() error) said {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = time.Second
	if err := start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience+time.Minute, func() { _ = c.Process.Kill() })
	err := c.Wait()
	s := said{args: c.Args[1:], out: out.String(), err: errs.String(), code: c.ProcessState.ExitCode()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", s, err)
	}
	if !hung.Stop() {
		t.Fatalf("it hung and was killed: %v", s)
	}
	return s
}

// does runs a command that must succeed.
func (n *network) does(t *testing.T, args ...string) said {
	t.Helper()
	s := n.runs(t, args...)
	if s.code != 0 {
		t.Fatal(s)
	}
	return s
}

// refuses runs a command that must fail with the given words and no others' panic.
func (n *network) refuses(t *testing.T, words []string, args ...string) said {
	t.Helper()
	s := n.runs(t, args...)
	if s.code == 0 || !s.has(words...) || s.has("panic:") {
		t.Fatalf("want a refusal with %q, have\n%v", words, s)
	}
	return s
}

// noChanges checks that there is nothing left to do.
func (n *network) noChanges(t *testing.T) {
	t.Helper()
	if s := n.does(t, "apply", "--yes"); !s.has("no changes") {
		t.Errorf("want no changes, have\n%v", s)
	}
	if s := n.runs(t, "plan", "--detailed-exitcode"); s.code != 0 {
		t.Errorf("want exit code 0, have\n%v", s)
	}
}

// session is the operator's view of the network.
func (n *network) session(t *testing.T) *apply.Session {
	t.Helper()
	s, err := n.open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *network) open() (*apply.Session, error) {
	src, err := os.ReadFile(n.yaml())
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(n.yaml(), src)
	if err != nil {
		return nil, err
	}
	s := &apply.Session{
		Config: *c, Dir: n.state(), Daemon: practiced(), Provider: local.Provider{Exe: n.exe},
		Who: fmt.Sprintf("a test (process %d)", os.Getpid()),
	}
	return s, s.Read()
}

// status is what every host tells of itself, or what is seen of it when its agent does not run.
func (n *network) status(ctx context.Context) (map[string]api.HostStatus, error) {
	s, err := n.open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	targets, err := s.Hosts(nil)
	if err != nil {
		return nil, err
	}
	all := map[string]api.HostStatus{}
	for _, target := range targets {
		all[target.Host.Name], _ = s.Status(ctx, target)
	}
	return all, nil
}

// host is what one host tells of itself.
func (n *network) host(t *testing.T, name string) api.HostStatus {
	t.Helper()
	all, err := n.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st, ok := all[name]
	if !ok {
		t.Fatalf("status knows no host %q", name)
	}
	return st
}

// edit changes the config.
func (n *network) edit(t *testing.T, change func(*config.Deployment)) {
	t.Helper()
	s := n.session(t)
	defer s.Close()
	change(&s.Config)
	b, err := config.Render(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.yaml(), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// the finds the one process of a kind on a host.
func (n *network) the(t *testing.T, kind, host string) process.Identity {
	t.Helper()
	var found []running
	eventually(t, "one "+kind+" of "+host, func() error {
		if found = n.all(kind, host); len(found) != 1 {
			return fmt.Errorf("there are %d: %v", len(found), found)
		}
		return nil
	})
	return found[0].Identity
}

// all finds the processes of a kind on a host.
func (n *network) all(kind, host string) []running {
	return slices.DeleteFunc(under(n.folder(host)), func(r running) bool {
		return r.kind() != kind || r.host() != n.folder(host)
	})
}

// kill kills the processes of the given kinds on a host, in that order.
func (n *network) kill(t *testing.T, host string, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		if err := killed(n.the(t, kind, host)); err != nil {
			t.Fatalf("kill %s of %s: %v", kind, host, err)
		}
	}
}

// allKnown waits until every process in the network's folder is one that status tells of.
func (n *network) allKnown(t *testing.T) {
	t.Helper()
	eventually(t, "all processes to be known to status", func() error {
		all, err := n.status(t.Context())
		if err != nil {
			return err
		}
		known := map[int]string{}
		for name, st := range all {
			known[st.Agent.PID], known[st.Node.SupervisorPID], known[st.Node.DaemonPID], known[st.MeshPID] = name, name, name, name
		}
		var errs []error
		for _, r := range under(n.base) {
			if name := known[r.PID]; name == "" || n.folder(name) != r.host() {
				errs = append(errs, fmt.Errorf("status does not know %v", r))
			}
		}
		return errors.Join(errs...)
	})
}
