package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
)

// TestTwoApplies: while one apply is at work, another is told who is, since when, and changes nothing; from the same
// folder or from another checkout. The lock ends with the process that holds it, however it ends.
func TestTwoApplies(t *testing.T) {
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	first := n.command("apply", "--yes")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(n.state().Operator(), "lock")
	eventually(t, "the first to hold the lock", func() error {
		_, err := process.ReadHolder(lock)
		return err
	})
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil { // it is in the midst of it for as long as we like
		t.Fatal(err)
	}
	names := []string{"is being changed by", "process " + strconv.Itoa(first.Process.Pid), "since", "hint: wait"}
	n.refuses(t, names, "apply", "--yes")
	n.refuses(t, names, "start") // only a person who says stop or hold is never made to wait
	n.refuses(t, names, "destroy", "--name", "net")

	other := folderFor(t, filepath.Join(n.base, "other"), "checkout")
	config, err := os.ReadFile(n.yaml())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.yaml(), config, 0o644); err != nil {
		t.Fatal(err)
	}
	other.refuses(t, names, "--state", string(n.state()), "apply", "--yes")
	n.does(t, "plan") // looking is always allowed

	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	l, err := n.state().Lock("the test")
	if err != nil {
		t.Fatalf("the lock did not end with its holder: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLockOfHosts: an operator elsewhere, who shares no folder with us, is kept away by the hosts themselves.
func TestLockOfHosts(t *testing.T) {
	n := shared(t)
	c := api.Dial("s1", n.folder("s1"))
	defer c.Close()
	release, err := c.Lock(t.Context(), "eve@elsewhere (process 1)")
	if err != nil {
		t.Fatal(err)
	}
	n.refuses(t, []string{`host "s1" is being changed by eve@elsewhere`, "since", time.Now().Local().Format("2006")}, "apply", "--yes")
	release()
	eventually(t, "the lock to end", func() error {
		release, err := c.Lock(t.Context(), "me")
		if err == nil {
			release()
		}
		return err
	})
	n.noChanges(t)
}

// TestStaleLock: a lock file that is damaged, or left by somebody who is gone, holds nobody up.
func TestStaleLock(t *testing.T) {
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	dir := n.state()
	if err := os.MkdirAll(dir.Operator(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, left := range [][]byte{nil, []byte("{"), bytes.Repeat([]byte("x"), 1<<16), []byte(`{"name":"eve","process":{"pid":1,"start":"1"}}`)} {
		if err := os.WriteFile(filepath.Join(dir.Operator(), "lock"), left, 0o600); err != nil {
			t.Fatal(err)
		}
		n.does(t, "stop")
	}
}
