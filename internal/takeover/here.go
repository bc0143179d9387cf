package takeover

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// Here takes over on this machine.
func Here() *Taker {
	exe, _ := os.Executable()
	t := &Taker{
		Root: machine.Folder, Units: "/etc/systemd/system", Program: exe, System: system{}, Room: machine.MakeRoom,
		Own: own, Noted: agent.Folder(machine.Folder).NoteHome,
	}
	t.Sync = func() error { return errors.Join(syncFS(t.Root), syncFS(t.Units)) }
	return t
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
func (system) Holders(folder string) ([]Holder, error) { return holders(folder) }

// Mounts implements System.
func (system) Mounts() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(b)), nil
}

// parseMounts are the places of a mountinfo (proc(5)).
func parseMounts(text string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var all []string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, unescape.Replace(f[4]))
		}
	}
	return all
}

// Logins implements System.
func (system) Logins() ([]string, error) {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	return parseLogins(string(b)), nil
}

// parseLogins are the homes of a passwd(5) whose users have a shell.
func parseLogins(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && !slices.Contains([]string{"nologin", "false", "sync"}, path.Base(f[6])) {
			all = append(all, filepath.Clean(f[5]))
		}
	}
	return all
}

// own gives a path and all below it to the node's user.
func own(path string) error {
	u, err := machine.Owner("node")
	if err != nil {
		return err
	}
	return ownAs(path, int(u.UID), int(u.GID))
}

func ownAs(path string, uid, gid int) error {
	return eachBelow(path, func(dir *os.Root, p string, _ fs.FileInfo) error { return dir.Lchown(p, uid, gid) })
}
