package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/plan"
)

// crashOrder tells a helper to apply and to kill itself at the first point that is not in Pass.
type crashOrder struct {
	Dir  string   `json:"dir"`
	Exe  string   `json:"exe"`
	Pass []string `json:"pass"`
}

// point names an instant of an apply: just before or after a step.
func point(s plan.Step, after bool) string {
	when := "before"
	if after {
		when = "after"
	}
	return fmt.Sprintf("%s %T %s/%s", when, s, s.Where(), s.Host())
}

// applyAndCrash is the helper: it applies, one step at a time so that every point is met, and dies of SIGKILL.
func applyAndCrash(text string) int {
	var order crashOrder
	if code := decodeOrder(text, &order); code != 0 {
		return code
	}
	workshop = filepath.Dir(filepath.Dir(order.Exe))
	n := &network{dir: order.Dir, exe: order.Exe}
	err := n.applyStepByStep(func(at string) {
		if slices.Contains(order.Pass, at) {
			return
		}
		fmt.Println(at)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until that arrives
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (n *network) applyStepByStep(at func(string)) error {
	s, err := n.open()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := errors.Join(s.Open(), s.LockHosts(context.Background())); err != nil {
		return err
	}
	p, err := s.Plan(context.Background())
	if err != nil {
		return err
	}
	single := p
	single.Stages = nil
	for _, step := range p.Steps() {
		single.Stages = append(single.Stages, []plan.Step{step})
	}
	var mu sync.Mutex
	s.Crash = func(step plan.Step, after bool) {
		mu.Lock()
		defer mu.Unlock()
		at(point(step, after))
	}
	return s.Do(context.Background(), single)
}

// crash applies until the first point that is not in pass and dies there. It returns that point, "" when apply ended.
func (n *network) crash(t *testing.T, pass []string) string {
	t.Helper()
	order, err := json.Marshal(crashOrder{Dir: n.dir, Exe: n.exe, Pass: pass})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(n.command().Env, crashEnv+"="+string(order))
	s := ended(t, c)
	at := strings.TrimSpace(s.out)
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case at == "" && s.code == 0:
		return ""
	case at == "" || !ok || status.Signal() != syscall.SIGKILL:
		t.Fatalf("the helper did not crash as it was told: %v", s)
	}
	return at
}

// TestCrashApply kills apply at every step, before and after, each time going on where the one before died.
func TestCrashApply(t *testing.T) {
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	points := n.points(t)
	var memory memory
	var died []string
	for {
		at := n.crash(t, died)
		if at == "" {
			break
		}
		if slices.Contains(died, at) {
			t.Fatalf("it died again %s", at)
		}
		died = append(died, at)
		memory.compare(t, n, at)
	}
	for _, p := range points {
		if !slices.Contains(died, p) {
			t.Errorf("apply was never killed %s", p)
		}
	}
	t.Logf("killed at %d points", len(died))
	n.finish(t, &memory)
}

// points are all instants of an apply in an empty folder.
func (n *network) points(t *testing.T) []string {
	t.Helper()
	s := n.session(t)
	defer s.Close()
	p, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, step := range p.Steps() {
		out = append(out, point(step, false), point(step, true))
	}
	return out
}

// finish lets an ordinary apply end what others began.
func (n *network) finish(t *testing.T, m *memory) {
	t.Helper()
	n.does(t, "apply", "--yes")
	n.signs(t)
	n.noChanges(t)
	n.allKnown(t)
	m.compare(t, n, "at the end")
	n.honest(t)
}

// TestCrashAnywhere kills apply at random instants.
func TestCrashAnywhere(t *testing.T) {
	need(t)
	t.Parallel()
	networks := 1
	if *soak {
		networks = 20
	}
	random := rand.New(rand.NewPCG(*seed, 1))
	for i := range networks {
		t.Run(fmt.Sprint(i), func(t *testing.T) { crashAnywhere(t, random) })
	}
}

func crashAnywhere(t *testing.T, random *rand.Rand) {
	n := newNetwork(t, "net")
	var memory memory
	for range 6 {
		after := time.Duration(random.Int64N(int64(2 * time.Second)))
		if n.applyKilled(t, after) {
			break
		}
		memory.compare(t, n, fmt.Sprintf("killed after %v", after))
	}
	n.finish(t, &memory)
}

// applyKilled kills an apply after a while. It says whether apply was done by then.
func (n *network) applyKilled(t *testing.T, after time.Duration) (done bool) {
	t.Helper()
	var out bytes.Buffer
	c := n.command("apply", "--yes")
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(after, func() { _ = c.Process.Kill() })
	err := c.Wait()
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && (!ok || status.Signal() != syscall.SIGKILL) {
		t.Fatalf("apply failed by itself: %v\n%s", err, &out)
	}
	return err == nil
}

// TestCrashEverywhere kills apply once at each step, from an empty folder each.
func TestCrashEverywhere(t *testing.T) {
	need(t)
	if !*soak {
		t.Skip("it takes most of an hour; run it with -soak")
	}
	points := newNetwork(t, "net").points(t)
	for i, p := range points {
		t.Run(p, func(t *testing.T) {
			n := newNetwork(t, "net")
			if at := n.crash(t, points[:i]); at != p {
				t.Fatalf("it died %s", at)
			}
			var memory memory
			memory.compare(t, n, p)
			n.finish(t, &memory)
		})
	}
}

// memory is what never changes again once it is there: keys, their backups, and the genesis once a host has it.
type memory struct{ seen map[string]string }

// compare looks at all of it, and that nothing runs which should not.
func (m *memory) compare(t *testing.T, n *network, when string) {
	t.Helper()
	now, err := lasting(string(n.state()))
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for path, sum := range m.seen {
		switch now[path] {
		case sum:
		case "":
			t.Errorf("%s: %s is gone", when, path)
		default:
			t.Errorf("%s: %s is another one", when, path)
		}
	}
	m.seen = now
	if keys, _ := filepath.Glob(filepath.Join(n.folder("*"), "signing", "*key.json")); len(keys) > 1 { //nolint:errcheck // the pattern is right
		t.Errorf("%s: there are several consensus keys: %v", when, keys)
	}
	if err := n.oneDaemonEach(); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	n.allKnown(t)
}

// lasting hashes the files in a deployment that never change.
func lasting(dir string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // files come and go under a running node
			return nil
		}
		if err != nil || d.IsDir() || !lasts(path) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		out[path] = hex.EncodeToString(sum[:])
		return nil
	})
	return out, err
}

func lasts(path string) bool {
	switch filepath.Base(path) {
	case "keyring.json", "consensus_key.json", "identity.key", "host.json", "genesis.json", "node_key.json":
		return !strings.Contains(path, "home.new") && !strings.Contains(path, filepath.Join("operator", "genesis"))
	}
	return strings.HasSuffix(path, ".key.age") && !strings.Contains(filepath.Base(path), ".tmp")
}
