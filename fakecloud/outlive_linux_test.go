package fakecloud

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tofu is killed while a server is being made: the provider finishes, the cloud has the server and state does not, and no
// provider is left behind.
func TestKilledTofuLeavesAnOrphanAndNoProcess(t *testing.T) {
	schemas, err := filepath.Abs(filepath.Join("testdata", "schemas"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHosts(t)
	r := newRoot(t, "tofu", schemas)
	r.env = append(r.env, "FAKECLOUD_HOSTS="+h.socket)
	r.write("main.tf", serverOnly)
	r.must("init", "-input=false", "-no-color")
	if err := os.MkdirAll(r.cloud, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFaults(t, r.cloud, Faults{Faults: []Fault{onCreate(FaultSlow)}})
	cmd := exec.CommandContext(t.Context(), r.tool, "apply", "-input=false", "-no-color", "-auto-approve")
	cmd.Dir, cmd.Env = r.dir, r.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-h.held
	provider := childOf(t, cmd.Process.Pid)
	fd, err := unix.PidfdOpen(provider, 0)
	if err != nil {
		t.Fatalf("watch the provider: %v", err)
	}
	defer unix.Close(fd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says that it was killed
	close(h.release)
	for { // ends when the provider has: a signal may interrupt it
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n == 1 {
			break
		}
		if err != unix.EINTR {
			t.Fatalf("wait for the provider: %v", err)
		}
	}
	left, err := Remaining(r.cloud)
	if err != nil || len(left) != 1 {
		t.Fatalf("the cloud has %v (%v), want the server", left, err)
	}
	if out, _ := r.run("state", "list"); strings.Contains(out, "hcloud_server") {
		t.Fatalf("state has %s", out)
	}
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		raw, _ := os.ReadFile(f)
		if fields := strings.Fields(string(raw)); len(fields) > 0 {
			child, err := strconv.Atoi(fields[0])
			if err != nil {
				t.Fatal(err)
			}
			return child
		}
	}
	t.Fatal("tofu has no provider running")
	return 0
}
