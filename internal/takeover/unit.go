package takeover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/systemd"
)

// System is the machine's systemd and its processes.
type System interface {
	Show(ctx context.Context, unit string) (systemd.Unit, error)
	Enable(ctx context.Context, unit string) error
	Disable(ctx context.Context, unit string) error
	Start(ctx context.Context, unit string) error
	// StartSoon returns before the unit is up.
	StartSoon(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	Reload(ctx context.Context) error
	// Processes are those of a unit's control group, and End ends one of them for good.
	Processes(u systemd.Unit) ([]int, error)
	End(ctx context.Context, pid int) error
	// Holders are processes that have something below a folder open.
	Holders(folder string) ([]Holder, error)
	// Mounts are where something is mounted, and Logins the homes of those who can log in.
	Mounts() ([]string, error)
	Logins() ([]string, error)
}

// Holder is a process that has something open.
type Holder struct {
	PID  int
	Name string
}

// String tells of it.
func (h Holder) String() string { return fmt.Sprintf("process %d (%s)", h.PID, h.Name) }

// silence takes every way to start from the old unit, and proves that it is dead: no process is left in its control group,
// and nobody has the home open. It stays enabled: a mask beats that, and undo need not bring it back.
func (t *Taker) silence(ctx context.Context, o Order) error {
	if err := t.stop(ctx, o.Unit); err != nil {
		return err
	}
	if err := t.mask(ctx, o.Unit); err != nil {
		return err
	}
	return t.prove(ctx, o)
}

// prove ends the old unit once more, which somebody could start until it was masked and nobody can since, and says who else
// may be at the home.
func (t *Taker) prove(ctx context.Context, o Order) error {
	if err := t.stop(ctx, o.Unit); err != nil {
		return err
	}
	if u, err := t.System.Show(ctx, o.Unit); err != nil {
		return err
	} else if !u.Masked() {
		return fmt.Errorf("%s is %s, somebody took its mask away", o.Unit, u.Load)
	}
	who, err := t.System.Holders(t.where(o))
	if err != nil {
		return fmt.Errorf("find out who has %s open: %w", t.where(o), err)
	}
	return held(who, o)
}

// stop stops the old unit, and ends what is left in its control group.
func (t *Taker) stop(ctx context.Context, unit string) error {
	u, err := t.System.Show(ctx, unit)
	if err != nil {
		return err
	}
	if u.Runs() || u.Busy {
		if err := t.change("stop"); err != nil {
			return err
		}
		if err := t.System.Stop(ctx, unit); err != nil {
			return err
		}
	}
	left, err := t.System.Processes(u)
	if err != nil {
		return err
	}
	for _, pid := range left {
		if err := t.System.End(ctx, pid); err != nil {
			return fmt.Errorf("end process %d, which %s left: %w", pid, unit, err)
		}
	}
	if u, err = t.System.Show(ctx, unit); err != nil {
		return err
	}
	if left, err = t.System.Processes(u); err != nil {
		return err
	}
	if u.Runs() || u.Busy || len(left) > 0 {
		return fmt.Errorf("%s is %s still, with %d processes", unit, u.Active, len(left))
	}
	return nil
}

// asideSuffix makes a unit's file one that systemd does not read.
const asideSuffix = ".before-pressenter"

// mask makes the unit one that nothing starts. A file of an administrator's is put aside first: systemd masks none whose
// file is where the mask would be.
func (t *Taker) mask(ctx context.Context, unit string) error {
	u, err := t.System.Show(ctx, unit)
	if err != nil || u.Masked() && !u.Stale {
		return err
	}
	path := filepath.Join(t.Units, unit)
	to, err := os.Readlink(path)
	switch masked := err == nil && to == os.DevNull; {
	case masked:
	case errors.Is(err, fs.ErrNotExist):
		err = t.linkMask(path)
	default: // a file, or a link to one
		if err = t.unitAside(path); err == nil {
			err = t.linkMask(path)
		}
	}
	if err != nil {
		return err
	}
	if err := t.change("reload"); err != nil {
		return err
	}
	if err := t.System.Reload(ctx); err != nil {
		return err
	}
	if u, err = t.System.Show(ctx, unit); err == nil && !u.Masked() {
		err = fmt.Errorf("%s is %s after it was masked", unit, u.Load)
	}
	return err
}

// unitAside puts a unit's file aside, beside what was put aside before: the first of them is the one that undo puts back.
func (t *Taker) unitAside(path string) error {
	if err := t.change("put aside"); err != nil {
		return err
	}
	if err := atomicfile.Rename(path, asideOf(path)); err != nil {
		return fmt.Errorf("put the unit's file aside: %w", err)
	}
	return nil
}

// asideOf is a name, that nothing has, for what is put aside.
func asideOf(path string) string {
	to := path + asideSuffix
	for n := 2; there(to); n++ {
		to = fmt.Sprintf("%s%s.%d", path, asideSuffix, n)
	}
	return to
}

func (t *Taker) linkMask(path string) error {
	if err := t.change("mask"); err != nil {
		return err
	}
	if err := os.Symlink(os.DevNull, path); err != nil {
		return fmt.Errorf("mask the unit: %w", err)
	}
	return atomicfile.SyncFolder(filepath.Dir(path))
}

// unmask undoes mask. A file that was put aside takes the mask's place at once.
func (t *Taker) unmask(ctx context.Context, unit string) error {
	path := filepath.Join(t.Units, unit)
	if err := t.change("unmask"); err != nil {
		return err
	}
	if _, err := os.Lstat(path + asideSuffix); err == nil {
		if err := atomicfile.Rename(path+asideSuffix, path); err != nil {
			return err
		}
	} else if to, err := os.Readlink(path); err == nil && to == os.DevNull {
		if err := os.Remove(path); err != nil {
			return err
		}
		if err := atomicfile.SyncFolder(t.Units); err != nil {
			return err
		}
	}
	return t.System.Reload(ctx)
}

// Runner is the unit that does the work, whoever comes and goes meanwhile.
const Runner = "pressenter-takeover.service"

const runnerText = `[Unit]
Description=pressenter takes this host's node over from %s
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=%s host takeover-run
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
`

// startRunner makes the runner's unit, lets it go on at every boot, and starts it.
func (t *Taker) startRunner(ctx context.Context, o Order) error {
	if err := t.change("runner"); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(t.Units, Runner), fmt.Appendf(nil, runnerText, o.Unit, o.Program), 0o644); err != nil {
		return err
	}
	if err := t.System.Reload(ctx); err != nil {
		return err
	}
	if err := t.System.Enable(ctx, Runner); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.change("start runner"); err != nil {
		return err
	}
	return t.System.StartSoon(ctx, Runner)
}

// stopRunner ends the runner, and keeps it from coming back.
func (t *Taker) stopRunner(ctx context.Context) error {
	if err := t.change("stop runner"); err != nil {
		return err
	}
	u, err := t.System.Show(ctx, Runner)
	if err != nil || u.Load == "not-found" {
		return err
	}
	return errors.Join(t.System.Disable(ctx, Runner), t.System.Stop(ctx, Runner))
}

// removeRunner takes the runner's unit away. It may be the runner that does.
func (t *Taker) removeRunner(ctx context.Context) error {
	if err := t.change("remove runner"); err != nil {
		return err
	}
	u, err := t.System.Show(ctx, Runner)
	if err != nil || u.Load == "not-found" {
		return err
	}
	if err := t.System.Disable(ctx, Runner); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(t.Units, Runner)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return t.System.Reload(ctx)
}
