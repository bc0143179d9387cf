package provision

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pressenter/pressenter/internal/process"
)

// endLeftovers ends what a killed tool left running: its providers, which nobody asks anything any more and which may
// still be making something. They are known by the tool's process group and the folder that they work in. It says how
// many there were.
func (w *Workspace) endLeftovers(ctx context.Context, r *run) (int, error) {
	self, err := process.Self()
	if err != nil || r.Process.IsZero() || r.Process.Boot != self.Boot {
		return 0, err
	}
	dir, err := filepath.EvalSymlinks(w.Dir)
	if err != nil {
		return 0, err
	}
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range folders {
		pid, _ := strconv.Atoi(filepath.Base(f)) // digits
		if group(f) != r.Process.PID {
			continue
		}
		at, err := os.Readlink(f + "/cwd")
		if err != nil || at != dir {
			continue
		}
		id, err := process.Of(pid)
		if err != nil || id.Signal(syscall.SIGKILL) != nil {
			continue // it has ended
		}
		n++
		if err := id.Wait(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

// group is the process group of a process by its folder in /proc; 0 when it is gone.
func group(folder string) int {
	b, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name before it may hold anything
	if len(fields) < 3 {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[2]))
	return n
}
