package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// patience is how long an agent may take until it answers.
type patience = time.Duration

const (
	defaultPatience = 20 * time.Second
	// guardAfter is how much later than a patient set-up the guard looks: only one that was killed leaves it work.
	guardAfter = 30 * time.Second
	guard      = "pressenter-rollback"
)

// replaceAgent puts an agent in the place of another. Until the new one has answered, the former's record is kept, and a
// timer of systemd puts it back: nobody needs to reach the machine for that. Whatever is interrupted here is done again
// by the next set-up.
func replaceAgent(ctx context.Context, old, want Record, p patience, r *Report) error {
	if p <= 0 {
		p = defaultPatience
	}
	former, err := keepFormer(old, want)
	if err != nil {
		return err
	}
	if former != "" {
		if err := arm(ctx, former, p+guardAfter); err != nil {
			return err
		}
	}
	err = switchTo(ctx, old, want, r)
	if err == nil {
		err = answers(ctx, p)
	}
	if err == nil {
		return errors.Join(disarm(ctx), remove(formerFile))
	}
	if former == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if back := putBack(ctx); back != nil {
		return fmt.Errorf("%w; putting the former agent back: %w", err, back)
	}
	return fmt.Errorf("%w; the former agent, %s, runs again", err, former)
}

// keepFormer keeps the record of the agent that works, and says which program that is; "" when there is none, or no other
// one. The record of a change that never came to an end is older, and proven.
func keepFormer(old, want Record) (program string, err error) {
	b, err := os.ReadFile(formerFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(old.Programs[AgentUnit]); err != nil || old.Programs[AgentUnit] == want.Programs[AgentUnit] {
			return "", nil
		}
		if b, err = os.ReadFile(recordFile); err != nil {
			return "", err
		}
		if err := atomicfile.Write(formerFile, b, 0o600); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	r, err := readRecord(b)
	return r.Programs[AgentUnit], err
}

// switchTo makes units and agent as want says.
func switchTo(ctx context.Context, old, want Record, r *Report) error {
	if err := placeAll(ctx, old, want, r); err != nil {
		return err
	}
	if err := systemd.Enable(ctx, AgentUnit); err != nil {
		return err
	}
	if old.Programs[AgentUnit] != want.Programs[AgentUnit] {
		r.note("%s runs %s", AgentUnit, want.Programs[AgentUnit])
	}
	return systemd.Restart(ctx, AgentUnit)
}

// answers waits until the agent answers.
func answers(ctx context.Context, p patience) error {
	if p <= 0 {
		p = defaultPatience
	}
	ctx, cancel := context.WithTimeout(ctx, p)
	defer cancel()
	c := api.Dial("this machine", Folder)
	defer c.Close()
	if err := c.Await(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("the agent does not answer within %v (%w); see 'journalctl -u %s' there", p, err, AgentUnit)
	}
	return nil
}

// arm makes systemd undo the change, with the former agent's own program, unless disarm comes first.
func arm(ctx context.Context, program string, d time.Duration) error {
	if err := disarm(ctx); err != nil {
		return err
	}
	if err := systemd.Later(ctx, guard, d, program, "host", "rollback"); err != nil {
		return fmt.Errorf("guard the change: %w", err)
	}
	return nil
}

func disarm(ctx context.Context) error {
	units, err := systemd.Show(ctx, guard+".timer")
	if err != nil || units[0].Load == "not-found" {
		return err
	}
	return systemd.Stop(ctx, guard+".timer")
}

// Rollback puts the former agent back if the one that took its place has not proven that it works. It says whether there
// was anything to do.
func Rollback(ctx context.Context) (bool, error) {
	lock, err := process.WaitLock(ctx, lockFile)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if _, err := os.Lstat(formerFile); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, putBack(ctx)
}

// putBack makes the former record the one that holds, of the agent alone: the other units stay as they are.
func putBack(ctx context.Context) error {
	b, err := os.ReadFile(formerFile)
	if err != nil {
		return err
	}
	former, err := readRecord(b)
	if err != nil {
		return err
	}
	now, err := Load(Folder)
	if err != nil {
		return err
	}
	for _, name := range []string{MeshUnit, NodeUnit} {
		if now.Units[name] != "" {
			former.Programs[name], former.Units[name] = now.Programs[name], now.Units[name]
		}
	}
	if err := switchTo(ctx, now, former, &Report{}); err != nil {
		return err
	}
	return errors.Join(disarm(ctx), remove(formerFile))
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
