package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// unable says in words why no lab can be made here; empty where one can.
var unable = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	for _, tool := range []string{"ip", "nft", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Sprintf("%q is not installed", tool)
		}
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		return err.Error()
	} else if err := f.Close(); err != nil {
		return err.Error()
	}
	tried := make(chan error)
	go func() { // the thread stays in its new namespace, so it is not given back
		runtime.LockOSThread()
		tried <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if err := <-tried; err != nil {
		return fmt.Sprintf("make one: %v", err)
	}
	return ""
})

// Lab is a set of namespaces with one owner. It is not for use from several goroutines, but for what [Namespace] and
// [Pings] do.
type Lab struct {
	tb     TB
	prefix string
	names  int
}

// labs counts the labs of this process, so that each has names of its own.
var labs atomic.Uint64

// New returns an empty lab that goes with tb, and skips tb where there can be none. It first removes the namespaces of
// owners that no longer run.
func New(tb TB) *Lab {
	tb.Helper()
	Skip(tb)
	if err := sweep(); err != nil {
		tb.Fatalf("sweep old namespaces: %v", err)
	}
	return &Lab{tb: tb, prefix: fmt.Sprintf("%s-%d-%s-%d", namePrefix, os.Getpid(), started(os.Getpid()), labs.Add(1))}
}

// namePrefix begins the name of every namespace, before the owner's pid and start: pe-PID-START-LAB-N-LABEL.
const namePrefix = "pe"

// sweep removes what labs of dead owners left behind.
func sweep() error {
	entries, err := os.ReadDir(namespaceFolder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if orphan(e.Name()) {
			_ = remove(e.Name()) // another lab may sweep at the same time
		}
	}
	return nil
}

// orphan reports whether name is a lab's namespace whose owner has ended.
func orphan(name string) bool {
	parts := strings.SplitN(name, "-", 6)
	if len(parts) != 6 || parts[0] != namePrefix {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || pid <= 0 {
		return false
	}
	return started(pid) != parts[2]
}

// started is the kernel's word on when a process started, in ticks since boot (proc(5), field 22 of stat); empty when
// there is no such process.
func started(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	const afterName = 19
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= afterName {
		return ""
	}
	return fields[afterName]
}

// remove ends the processes in a namespace, then the namespace.
func remove(name string) error {
	for {
		out, err := output("ip", "netns", "pids", name)
		if err != nil {
			return err
		}
		killed := false
		for _, field := range strings.Fields(out) {
			pid, err := strconv.Atoi(field)
			if err != nil || pid == os.Getpid() {
				continue
			}
			killed = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		if !killed {
			break
		}
		runtime.Gosched()
	}
	_, err := output("ip", "netns", "delete", name)
	return err
}

// output runs a command and returns what it prints; its error holds what it complained of.
func output(name string, args ...string) (string, error) { return feed("", name, args...) }

// feed is output for a command that reads from stdin.
func feed(stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// must ends the test when err is set.
func (l *Lab) must(err error) {
	l.tb.Helper()
	if err != nil {
		l.tb.Fatalf("network lab: %v", err)
	}
}
