package vmlab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leaveNothing checks at the end of t that machines left no files.
func leaveNothing(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("machines left %v, %v", left, err)
		}
	})
}

func TestJob(t *testing.T) {
	vm := prepared(t)
	leaveNothing(t)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock := time.Now().AddDate(-5, 0, 0)
	var out bytes.Buffer
	got, err := vm.Run(t.Context(), Job{
		Files: map[string]string{"/deep/down/data": file},
		Args: []string{"sh", "-c", `
			echo "$0" "$WORD"; cat /deep/down/data; pwd; id -u
			date -u +%s
			ip -d link add w0 type wireguard && ip link add v0 type veth peer name v1 && ip link add d0 type dummy || exit 1
			ip link set v0 up; ip link set v1 up; tc qdisc add dev v0 root netem delay 10ms || exit 1
			[ -c /dev/net/tun ] || exit 1
			nft -f - <<-END || exit 1
				table inet t {
					set s { type ipv6_addr; elements = { fd00::1 } }
					chain c {
						type filter hook input priority 0; policy accept;
						ct state established,related accept
						ip6 saddr @s tcp dport 26656 counter accept
						limit rate 5/second counter log prefix "x" reject
					}
				}
			END
			nft list ruleset | grep -c 'ct state'
			echo complaint >&2
			exit 7`, "it's"},
		Programs: []string{tool(t, "nft"), tool(t, "ip"), tool(t, "tc")},
		Env:      map[string]string{"WORD": "a 'b' $c"},
		Clock:    clock,
		Out:      &out,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Logf("boot %v, total %v", got.Boot, got.Total)
	if got.Code != 7 || got.Boot <= 0 || got.Total <= got.Boot {
		t.Errorf("result %+v, want code 7 and times", got)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) < 5 {
		t.Fatalf("output %q is short", lines)
	}
	booted, err := time.ParseDuration(lines[4] + "s")
	if late := booted - time.Duration(clock.Unix())*time.Second; err != nil || late < -time.Second || late > time.Hour {
		t.Errorf("clock of machine: %s, %v after what was asked for, %v", lines[4], late, err)
	}
	lines[4] = "clock"
	if got, want := strings.Join(lines, "\n"), "it's a 'b' $c\ncontent\n/tmp\n0\nclock\n1\ncomplaint\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

// tool skips t where a program is not there.
func tool(t *testing.T, name string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	return name
}

func TestPanicOfTheGuestIsTold(t *testing.T) {
	vm := prepared(t)
	leaveNothing(t)
	got, err := vm.Run(t.Context(), Job{Args: []string{"sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60"}})
	if !errors.Is(err, ErrGuest) || !strings.Contains(err.Error(), "Kernel panic") || got.Code != -1 {
		t.Errorf("got %+v, %v; want a panic", got, err)
	}
}

func TestCancel(t *testing.T) {
	vm := prepared(t)
	leaveNothing(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := vm.Run(ctx, Job{Args: []string{"true"}})
	if !errors.Is(err, context.Canceled) || got.Code != -1 {
		t.Errorf("got %+v, %v; want that it was cancelled", got, err)
	}
}

// TestMachineEndsWithItsProcess kills a process that runs a machine and waits for the machine's end.
func TestMachineEndsWithItsProcess(t *testing.T) {
	vm := prepared(t)
	const childEnv = "PRESSENTER_VMLAB_CHILD"
	if os.Getenv(childEnv) != "" {
		_, err := vm.Run(t.Context(), Job{Args: []string{"sh", "-c", "echo here; sleep 3600"}, Out: os.Stdout})
		t.Fatalf("the machine ended: %v", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // the child's orphans become ours
		t.Fatal(err)
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestMachineEndsWithItsProcess$")
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = child.Process.Kill(), child.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "here\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	machine := processOf(t, dir)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	// The test's own time limit ends this where the machine goes on.
	if _, err := unix.Wait4(machine, nil, 0, nil); err != nil {
		t.Fatalf("wait for the machine, process %d: %v", machine, err)
	}
}

// processOf finds the process that has a file in dir among its arguments.
func processOf(t *testing.T, dir string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		args, _ := os.ReadFile(file) // it may have ended
		if !bytes.Contains(args, []byte(dir+"/")) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("no process has to do with %s", dir)
	return 0
}

func TestTimeout(t *testing.T) {
	vm := prepared(t)
	leaveNothing(t)
	got, err := vm.Run(t.Context(), Job{Args: []string{"true"}, Timeout: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || got.Code != -1 {
		t.Errorf("got %+v, %v; want that it took too long", got, err)
	}
}

func TestImageOfWhatIsNotThere(t *testing.T) {
	vm := prepared(t)
	leaveNothing(t)
	for name, job := range map[string]Job{
		"missing file":    {Files: map[string]string{"/x": filepath.Join(t.TempDir(), "none")}},
		"folder":          {Files: map[string]string{"/x": t.TempDir()}},
		"relative path":   {Files: map[string]string{"x": os.Args[0]}},
		"unclean path":    {Files: map[string]string{"/x/../init": os.Args[0]}},
		"missing program": {Programs: []string{"no-such-program"}},
		"missing module":  {Modules: []string{"no_such_module"}},
	} {
		if got, err := vm.Run(t.Context(), job); err == nil || errors.Is(err, ErrGuest) {
			t.Errorf("%s: got %+v, %v; want an error before it starts", name, got, err)
		}
	}
}
