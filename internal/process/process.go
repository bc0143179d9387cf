// Package process starts, names, signals and locks processes that outlive the one that started them.
//
// A process is named by its pid together with the instant it started, so that a pid used again by somebody else is never
// signalled. A lock is a flock(2) on a file: it belongs to the open file, which children may inherit, so it is held for
// exactly as long as any of them lives, however they end.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrGone is returned for a process that has ended (a zombie has), or whose pid now belongs to another process.
var ErrGone = errors.New("process has ended")

// Waiting looks again at once, then less and less often: most waits are short, and the long ones must cost nothing.
const (
	pollMin = 5 * time.Millisecond
	pollMax = 100 * time.Millisecond
)

// killWait is how long a killed process may take to disappear before we say that it did not.
const killWait = 10 * time.Second

// Identity names one run of one process on one boot of one machine.
type Identity struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`          // the kernel's word on when it started, in its own unit
	Boot  string `json:"boot,omitempty"` // the kernel's boot id, where it has one
}

// IsZero says whether id names no process at all.
func (id Identity) IsZero() bool { return id == Identity{} }

// String is for logs and people.
func (id Identity) String() string { return fmt.Sprintf("process %d", id.PID) }

// Self is the identity of the calling process.
func Self() (Identity, error) { return Of(os.Getpid()) }

// Of is the identity of the process that has this pid now; ErrGone when there is none, or only a zombie.
func Of(pid int) (Identity, error) {
	id, zombie, err := lookup(pid)
	if err != nil {
		return Identity{}, err
	}
	if zombie {
		return Identity{}, fmt.Errorf("look up process %d: %w", pid, ErrGone)
	}
	return id, nil
}

// Alive says whether that very process still runs. A zombie does not.
func (id Identity) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	now, err := Of(id.PID)
	return err == nil && now == id
}

// Signal sends sig to that very process, or returns ErrGone.
func (id Identity) Signal(sig syscall.Signal) error {
	if id.PID <= 1 {
		return fmt.Errorf("signal process %d: not a process of ours", id.PID)
	}
	if err := id.signal(sig); err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// Wait blocks until that process has ended.
func (id Identity) Wait(ctx context.Context) error {
	return poll(ctx, func() bool { return !id.Alive() })
}

// poll returns nil once done says so.
func poll(ctx context.Context, done func() bool) error {
	every := pollMin
	timer := time.NewTimer(every)
	defer timer.Stop()
	for !done() {
		timer.Reset(every)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		every = min(every*5/4, pollMax)
	}
	return nil
}

// Terminate asks id to end, waits for grace and then kills it, with its process group if it leads one. It returns nil once
// the process has ended, whatever ended it; when ctx ends first, the process may still be running.
func Terminate(ctx context.Context, id Identity, grace time.Duration) error {
	if err := id.Signal(syscall.SIGTERM); err != nil {
		return ignoreGone(err)
	}
	if ended, err := id.waitFor(ctx, grace); ended || err != nil {
		return err
	}
	if err := id.Kill(); err != nil {
		return ignoreGone(err)
	}
	ended, err := id.waitFor(ctx, killWait)
	if err != nil || ended {
		return err
	}
	return fmt.Errorf("kill process %d: it is still there after %v", id.PID, killWait)
}

// Kill ends that very process at once, and its process group if it leads one.
func (id Identity) Kill() error {
	if group, err := syscall.Getpgid(id.PID); err == nil && group == id.PID && id.PID > 1 && id.Alive() {
		// The leader is alive here, so the group's number cannot belong to anybody else.
		if err := syscall.Kill(-id.PID, syscall.SIGKILL); err == nil {
			return nil
		}
	}
	return id.Signal(syscall.SIGKILL)
}

// waitFor waits for at most d; ended says whether the process did.
func (id Identity) waitFor(ctx context.Context, d time.Duration) (ended bool, err error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if id.Wait(limited) == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("wait for process %d: %w", id.PID, ctx.Err())
	}
	return false, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Usage is what a process takes.
type Usage struct {
	RSS uint64        `json:"rss"` // bytes resident in memory
	CPU time.Duration `json:"cpu"` // processor time since it started
}
