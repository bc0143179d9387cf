package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterrupt: Ctrl-C in the midst of an apply ends it with what is done and what to do next, and the next apply goes
// on where it stopped. Whoever presses it twice does not wait.
func TestInterrupt(t *testing.T) {
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	var memory memory
	for _, c := range []struct {
		at    string // the last step that is done for sure
		times int
	}{
		{"stage", 1},
		{"enrol", 1},
		{"enrol", 2},
		{"give", 2},
		{"publish roster generation 1", 1},
	} {
		s := n.interrupted(t, c.at, c.times)
		switch {
		case s.code != 130:
			t.Errorf("interrupted %d times at %q: %v", c.times, c.at, s)
		case s.has("interrupted again"): // it had not ended by itself yet
		case !s.has("interrupted after ", " steps: they stay done", "hint: run 'pressenter apply' to go on where it stopped"):
			t.Errorf("interrupted at %q it does not say what is done and what to do: %v", c.at, s)
		}
		if s.has("panic:", "context canceled") {
			t.Errorf("interrupted at %q: %v", c.at, s)
		}
		memory.compare(t, n, "interrupted at "+c.at)
	}
	n.finish(t, &memory)
}

// interrupted applies, and presses Ctrl-C a number of times once a step is done whose words begin with at, or any if
// that was done by an earlier apply.
func (n *network) interrupted(t *testing.T, at string, times int) said {
	t.Helper()
	left := n.does(t, "plan").has(at)
	c := n.command("apply", "--yes")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal signals everybody in it
	var out, errs bytes.Buffer
	c.Stderr, c.WaitDelay = &errs, time.Second
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c.Stdout = write
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer hung.Stop()
	_ = write.Close()
	lines, pressed := bufio.NewScanner(read), false
	for lines.Scan() {
		out.WriteString(lines.Text() + "\n")
		if pressed || !strings.Contains(lines.Text(), "✔") || left && !strings.Contains(lines.Text(), ": "+at) {
			continue
		}
		pressed = true
		for range times {
			if err := syscall.Kill(-c.Process.Pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
	}
	err = c.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return said{args: c.Args[1:], out: out.String(), err: errs.String(), code: c.ProcessState.ExitCode()}
}
