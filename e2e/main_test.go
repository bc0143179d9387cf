package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

var (
	enabled = flag.Bool("e2e", false, "run these tests: they start real networks and take minutes")
	soak    = flag.Bool("soak", false, "crash apply at every step from an empty folder each, and longer at random")
	seed    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of what happens at random")
	given   = flag.String("daemon", "", "a practice daemon to use instead of building one")
)

// This program is also run as two helpers, each named by a variable of its environment.
const (
	reaperEnv = "PRESSENTER_E2E_REAPER"
	crashEnv  = "PRESSENTER_E2E_CRASH"
)

// workshop is where everything that the tests make lies. One process, the reaper, ends and removes all of it when this
// process has ended, however that was.
var workshop string

func TestMain(m *testing.M) {
	if root := os.Getenv(reaperEnv); root != "" {
		reap(root)
		os.Exit(0)
	}
	if order := os.Getenv(crashEnv); order != "" {
		os.Exit(applyAndCrash(order))
	}
	flag.Parse()
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// why the tests are skipped, or "".
func why() string {
	switch {
	case runtime.GOOS != "linux":
		return "these tests find processes in /proc, which only Linux has"
	case !*enabled:
		return "real networks take minutes; run them with: go test ./e2e -e2e"
	}
	return ""
}

// need skips t where it cannot run.
func need(t *testing.T) {
	t.Helper()
	if reason := why(); reason != "" {
		t.Skip(reason)
	}
}

func runAll(m *testing.M) (code int, err error) {
	if reason := why(); reason != "" {
		fmt.Println("e2e: skipped:", reason)
		return m.Run(), nil
	}
	if workshop, err = os.MkdirTemp("", "pressenter-e2e-"); err != nil {
		return 1, err
	}
	if workshop, err = filepath.EvalSymlinks(workshop); err != nil {
		return 1, err
	}
	done, err := startReaper(workshop)
	if err != nil {
		return 1, err
	}
	defer done()
	// Whoever the tests run programs as may enter, and every t.TempDir lies in here.
	if err := os.Chmod(workshop, 0o755); err != nil {
		return 1, err
	}
	if err := os.Setenv("TMPDIR", workshop); err != nil {
		return 1, err
	}
	if err := installPrograms(filepath.Join(workshop, "bin")); err != nil {
		return 1, err
	}
	fmt.Printf("e2e: -seed=%d\n", *seed)
	return m.Run(), nil
}

// startReaper starts the process that cleans up once done is called or this process has ended.
func startReaper(root string) (done func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), reaperEnv+"="+root)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the keyboard is not for it
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() { _, _ = in.Close(), c.Wait() }, nil
}

// reap waits for the end of the process that started it and removes what that has left.
func reap(root string) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	if left := killUnder(root); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: could not end %v\n", left)
	}
	unmountUnder(root)
	if err := os.RemoveAll(root); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
	}
}

// decodeOrder reads what a helper is told.
func decodeOrder(text string, order any) int {
	if err := json.Unmarshal([]byte(text), order); err != nil {
		fmt.Fprintln(os.Stderr, "e2e helper:", err)
		return 1
	}
	return 0
}
