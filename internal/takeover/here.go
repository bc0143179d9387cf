package takeover

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// Here takes over on this machine.
func Here() *Taker {
	return &Taker{
		Root: machine.Folder, Units: "/etc/systemd/system", System: system{}, Room: machine.MakeRoom,
		Own: own, Noted: agent.Folder(machine.Folder).NoteHome,
	}
}

// system is this machine's.
type system struct{}

// Show implements System.
func (system) Show(ctx context.Context, unit string) (systemd.Unit, error) {
	all, err := systemd.Show(ctx, unit)
	if err != nil {
		return systemd.Unit{}, err
	}
	return all[0], nil
}

// Enable implements System.
func (system) Enable(ctx context.Context, unit string) error { return systemd.Enable(ctx, unit) }

// Disable implements System.
func (system) Disable(ctx context.Context, unit string) error { return systemd.Disable(ctx, unit) }

// Start implements System.
func (system) Start(ctx context.Context, unit string) error { return systemd.Start(ctx, unit) }

// StartSoon implements System.
func (system) StartSoon(ctx context.Context, unit string) error { return systemd.StartSoon(ctx, unit) }

// Stop implements System.
func (system) Stop(ctx context.Context, unit string) error { return systemd.Stop(ctx, unit) }

// Reload implements System.
func (system) Reload(ctx context.Context) error { return systemd.Reload(ctx) }

// Processes implements System.
func (system) Processes(u systemd.Unit) ([]int, error) {
	if err := systemd.Unified(); err != nil {
		return nil, err
	}
	return u.Processes()
}

// grace is what a process that outlived its unit gets to end by itself.
const grace = 30 * time.Second

// End implements System.
func (system) End(ctx context.Context, pid int) error {
	id, err := process.Of(pid)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	return process.Terminate(ctx, id, grace)
}

// Holders implements System.
func (system) Holders(folders ...string) ([]string, error) { return holders(folders...) }

// own gives a path and all below it to the node's user. No link is followed.
func own(path string) error {
	u, err := machine.Owner("node")
	if err != nil {
		return err
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(u.UID), int(u.GID))
	})
}
