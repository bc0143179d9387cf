// Package daemon runs a Cosmos daemon's own commands (init, genesis …, keys …), as any chain's daemon has them.
// It is not used to run the node; that is the supervisor's work.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Command runs one daemon binary against one home.
type Command struct {
	Binary string // path of the executable
	Home   string
	User   *syscall.Credential // as whom it runs; nil: as we do
}

// timeout bounds one command: a daemon that asks a question that nobody answers must not hang an apply.
const timeout = 2 * time.Minute

// waitDelay is how long a process that the daemon left behind may keep its output open after the daemon has ended.
const waitDelay = time.Second

// maxOutput bounds what is kept of a command's output, in bytes.
const maxOutput = 64 << 20

// Run executes the command and returns what it printed on stdout. The error carries the last lines of stderr.
func (c Command) Run(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Binary, append(args, "--home", c.Home)...)
	cmd.Env = Environment(c.Home)
	cmd.WaitDelay = waitDelay
	// In a session of its own: Ctrl-C in our terminal reaches it through ctx alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.User}
	if c.User != nil {
		cmd.Dir = "/" // ours may be closed to it
	}
	var stdout, stderr capped
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil { // its own end, of being killed, explains nothing
			err = context.Cause(ctx)
		}
		name := filepath.Base(c.Binary) + " " + strings.Join(words(args), " ")
		return nil, fmt.Errorf("run %q: %w%s", name, err, tail(stderr.buf.String()))
	}
	return stdout.buf.Bytes(), nil
}

// Environment is all that a daemon is given: no secret of the operator's can leak into it.
func Environment(home string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	return []string{"HOME=" + home, "PATH=" + path, "TMPDIR=" + os.TempDir(), "LC_ALL=C"}
}

// words are the leading arguments that name the command, without flags and their values.
func words(args []string) []string {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[:i]
		}
	}
	return args
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 3 && strings.HasPrefix(lines[0], "Error:") {
		lines = lines[:1] // cobra prints its usage after the error
	}
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	return ": " + strings.Join(lines, "; ")
}

// capped keeps the first maxOutput bytes.
type capped struct{ buf bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > maxOutput {
		return 0, errors.New("output too large")
	}
	return c.buf.Write(p)
}
