// Package systemd looks at the units of this machine's systemd, and starts and stops them. It does so with systemctl:
// that works for root on every machine, also where no message bus runs, and what it prints as properties is kept stable.
package systemd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Unit is what systemd knows of one unit.
type Unit struct {
	Name   string   // by which it was asked for
	ID     string   // which may be another one
	Names  []string // by all of which it is known
	Load   string   // loaded, not-found, masked, ...
	Active string   // active, activating, deactivating, inactive, failed, ...
	// Enabled is enabled, disabled, static (nothing to enable), masked, ...
	Enabled  string
	Fragment string   // the file that it was read from
	DropIns  []string // files that change what that one says
	Stale    bool     // the files have changed since they were read
	Busy     bool     // a job waits or works for it
	MainPID  int
	Group    string // its control group; empty: none
}

// Runs says whether its main process runs or is about to.
func (u Unit) Runs() bool {
	return u.Active == "active" || u.Active == "activating" || u.Active == "reloading" || u.Active == "deactivating"
}

// Masked says whether it was made so that nothing can start it.
func (u Unit) Masked() bool { return u.Load == "masked" }

// limit bounds a question. What starts and stops units takes as long as they do.
const limit = 10 * time.Second

// properties are those that a [Unit] is made of.
const properties = "Id,Names,LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths,NeedDaemonReload,Job,MainPID,ControlGroup"

// Show looks at units, in the order of their names.
func Show(ctx context.Context, names ...string) ([]Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := run(ctx, append([]string{"show", "--property=" + properties}, names...)...)
	if err != nil {
		return nil, err
	}
	units, err := parse(out)
	if err != nil {
		return nil, err
	}
	if len(units) != len(names) {
		return nil, fmt.Errorf("look at units %s: systemctl told of %d", strings.Join(names, ", "), len(units))
	}
	for i := range units {
		units[i].Name = names[i]
	}
	return units, nil
}

// parse reads what systemctl show prints: a block for each unit, with an empty line between.
func parse(out string) ([]Unit, error) {
	var units []Unit
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		said := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			said[key] = value
		}
		pid, err := strconv.Atoi(cmp.Or(said["MainPID"], "0")) // only services have one
		if err != nil || said["LoadState"] == "" || said["ActiveState"] == "" {
			return nil, fmt.Errorf("look at units: systemctl said what cannot be understood: %.200q", block)
		}
		units = append(units, Unit{
			Name: said["Id"], ID: said["Id"], Names: strings.Fields(said["Names"]), Load: said["LoadState"], Active: said["ActiveState"], Enabled: said["UnitFileState"],
			Fragment: said["FragmentPath"], DropIns: strings.Fields(said["DropInPaths"]), Stale: said["NeedDaemonReload"] == "yes",
			Busy: said["Job"] != "" && said["Job"] != "0", MainPID: pid, Group: said["ControlGroup"],
		})
	}
	return units, nil
}

// groups is where control groups are.
const groups = "/sys/fs/cgroup"

// Unified says whether what runs in a unit can be told here: it can where there is one hierarchy of control groups
// (cgroups(7), version 2), and nil is returned. In the hybrid one of older systems it would seem that nothing runs.
func Unified() error {
	if _, err := os.Stat(filepath.Join(groups, "cgroup.controllers")); err != nil {
		return fmt.Errorf("control groups of version 2 are needed, and are not at %s: boot with systemd.unified_cgroup_hierarchy=1", groups)
	}
	return nil
}

// Processes are the processes in a unit's control group, the main one and all that came from it. None of them can leave
// it. Those of a unit that has ended may still be there.
func (u Unit) Processes() ([]int, error) {
	group := u.Group
	if group == "" {
		group = "/system.slice/" + u.Name
	}
	pids, err := processes(filepath.Join(groups, group))
	if err != nil {
		return nil, fmt.Errorf("look at processes of %s: %w", u.Name, err)
	}
	return pids, nil
}

// processes are those of a control group and of all within it, which a unit may make for itself.
func processes(group string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it ended
		}
		if err != nil || d.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
			return nil // it ended, or is a group of threads: those are told of further up
		}
		if err != nil {
			return err
		}
		for field := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return nil
	})
	if err == nil && len(pids) == 0 {
		err = Unified()
	}
	return pids, err
}

// Start starts a unit, also one that has failed before, and returns once it is up.
func Start(ctx context.Context, name string) error { return do(ctx, "start", name) }

// StartSoon has a unit started, and returns before it is up.
func StartSoon(ctx context.Context, name string) error { return do(ctx, "start", "--no-block", name) }

// Stop stops a unit and returns once it is down.
func Stop(ctx context.Context, name string) error { return do(ctx, "stop", name) }

// Restart stops and starts a unit.
func Restart(ctx context.Context, name string) error { return do(ctx, "restart", name) }

// RestartIfUp restarts a unit if it runs.
func RestartIfUp(ctx context.Context, name string) error { return do(ctx, "try-restart", name) }

// Enable makes a unit start at boot.
func Enable(ctx context.Context, name string) error { return do(ctx, "enable", "--quiet", name) }

// Disable undoes Enable.
func Disable(ctx context.Context, name string) error { return do(ctx, "disable", "--quiet", name) }

// KillMain kills the main process of a unit and nothing else of it.
func KillMain(ctx context.Context, name string) error {
	return do(ctx, "kill", "--kill-who=main", "--signal=KILL", name)
}

// Forget ends what a unit is known to have failed of.
func Forget(ctx context.Context, name string) error { return do(ctx, "reset-failed", name) }

// Reload makes systemd read all unit files again. Nothing is restarted.
func Reload(ctx context.Context) error { return do(ctx, "daemon-reload") }

// Ending says whether the machine shuts down.
func Ending(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "systemctl", "is-system-running").Output() // its exit code says how it runs
	return strings.TrimSpace(string(out)) == "stopping"
}

// Later runs a command once, after d, in a unit of its own, unless Stop stops its timer, NAME.timer, before. It is
// forgotten when the machine reboots.
func Later(ctx context.Context, name string, d time.Duration, command ...string) error {
	cmd := exec.CommandContext(ctx, "systemd-run", append([]string{
		"--quiet", "--collect", "--unit=" + name, fmt.Sprintf("--on-active=%dms", d.Milliseconds()), "--timer-property=AccuracySec=100ms", "--",
	}, command...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("systemd-run %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func do(ctx context.Context, args ...string) error {
	_, err := run(ctx, args...)
	return err
}

func run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "systemctl", append([]string{"--no-pager", "--no-ask-password"}, args...)...)
	var said, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return said.String(), nil
}
