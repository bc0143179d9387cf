package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/internal/systemd"
)

// next is what the record will say: units that stay with their program stay as they are, down to the last byte.
func (r Record) next(spec Spec) Record {
	n := Record{
		SSH: spec.SSH, Programs: map[string]string{}, Units: map[string]string{}, Filter: r.Filter, Volume: cmp.Or(spec.Volume, r.Volume),
	}
	for name, program := range map[string]string{AgentUnit: spec.Program, MeshUnit: spec.Mesh, NodeUnit: spec.Node} {
		was := r.Programs[name]
		if program == "" {
			program = was
		}
		if program == "" {
			program = spec.Program
		}
		n.Programs[name], n.Units[name] = program, unitText(name, program)
		if name != AgentUnit && program == was && r.Units[name] != "" {
			n.Units[name] = r.Units[name]
		}
	}
	if len(n.SSH) == 0 {
		n.SSH = r.SSH
	} else if text, err := firewallText(spec); err == nil { // hardening says what is wrong with the others
		n.Filter = text
	}
	return n
}

// check refuses programs that are not there, and such as lie where others may change them.
func (r Record) check() error {
	for name, program := range r.Programs {
		if dir := filepath.Dir(program); filepath.Dir(dir) != Programs || strings.ContainsAny(program, " \t\n%$\"'\\") {
			return fmt.Errorf("%s is to run %q: programs lie in a folder of their own in %s", name, program, Programs)
		}
		info, err := os.Lstat(program)
		if err != nil {
			return fmt.Errorf("%s is to run %q: %w", name, program, err)
		}
		if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			return fmt.Errorf("%s is to run %q, which is no program", name, program)
		}
	}
	return nil
}

// makeUnits brings units and what runs to what spec says.
func makeUnits(ctx context.Context, spec Spec, r *Report) error {
	old, err := Load(Folder)
	if err != nil {
		return err
	}
	want := old.next(spec)
	if err := want.check(); err != nil {
		return err
	}
	units, err := systemd.Show(ctx, AgentUnit, MeshUnit, NodeUnit)
	if err != nil {
		return err
	}
	for _, u := range units {
		if u.Masked() && u.Name == AgentUnit {
			return fmt.Errorf("%s is masked: somebody does not want it to run; 'systemctl unmask %s' on the machine allows it", u.Name, u.Name)
		}
	}
	_, err = os.Lstat(formerFile)
	switch pending := err == nil; {
	case !pending && !errors.Is(err, fs.ErrNotExist):
		return err
	case pending || old.Units[AgentUnit] != want.Units[AgentUnit] || !same(unitFile(AgentUnit), want.Units[AgentUnit]):
		err = replaceAgent(ctx, old, want, spec.Patience, r)
	default:
		err = keepAgent(ctx, old, want, units[0], spec.Patience, r)
	}
	if err != nil {
		return err
	}
	return moveOthers(ctx, want, units[1:], r)
}

// keepAgent makes sure that the agent that is there runs.
func keepAgent(ctx context.Context, old, want Record, u systemd.Unit, patience patience, r *Report) error {
	if err := placeAll(ctx, old, want, r); err != nil {
		return err
	}
	if u.Enabled != "enabled" {
		if err := systemd.Enable(ctx, AgentUnit); err != nil {
			return err
		}
		r.note("%s enabled", AgentUnit)
	}
	if u.Active != "active" {
		r.note("%s started", AgentUnit)
		if err := systemd.Start(ctx, AgentUnit); err != nil {
			return err
		}
	}
	return answers(ctx, patience)
}

// placeAll writes the record and then the units, so that whoever repairs units in between makes them as they will be.
func placeAll(ctx context.Context, old, want Record, r *Report) error {
	if !equal(old, want) {
		if err := want.save(); err != nil {
			return err
		}
	}
	changed, err := want.placeUnits()
	for _, name := range changed {
		r.note("%s", unitFile(name))
	}
	if err != nil {
		return err
	}
	if err := point(want.Programs[AgentUnit]); err != nil {
		return err
	}
	return reloadIfStale(ctx)
}

func equal(a, b Record) bool {
	return fmt.Sprint(a.SSH) == fmt.Sprint(b.SSH) && maps.Equal(a.Programs, b.Programs) && maps.Equal(a.Units, b.Units) &&
		a.Filter == b.Filter && a.Volume == b.Volume
}

// placeUnits makes the files of the units as they should be, and says of which units that was necessary.
func (r Record) placeUnits() (changed []string, err error) {
	for _, name := range []string{AgentUnit, MeshUnit, NodeUnit} {
		if r.Units[name] == "" {
			continue
		}
		did, err := place(unitFile(name), r.Units[name])
		if err != nil {
			return changed, err
		}
		if did {
			changed = append(changed, name)
		}
	}
	return changed, nil
}

// reloadIfStale has systemd read unit files again if it has read others than there are.
func reloadIfStale(ctx context.Context) error {
	units, err := systemd.Show(ctx, AgentUnit, MeshUnit, NodeUnit)
	if err != nil {
		return err
	}
	for _, u := range units {
		if u.Stale || u.Load == "not-found" {
			return systemd.Reload(ctx)
		}
	}
	return nil
}

// moveOthers moves mesh and node, if they run, to the programs of their units. The daemon goes on meanwhile: its
// supervisor is killed, and the next one adopts it.
func moveOthers(ctx context.Context, want Record, units []systemd.Unit, r *Report) error {
	for _, u := range units {
		program := want.Programs[u.Name]
		if u.MainPID == 0 {
			continue
		}
		if now, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", u.MainPID)); err != nil || now == program {
			continue // it has ended, and begins again with the right one
		}
		move := systemd.RestartIfUp
		if u.Name == NodeUnit {
			move = systemd.KillMain
		}
		if err := move(ctx, u.Name); err != nil {
			return err
		}
		r.note("%s moved to %s", u.Name, program)
	}
	return nil
}
