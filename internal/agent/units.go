package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// units runs supervisor and mesh process as units of systemd. What runs is what systemd says, never what a file says that
// those who run could write.
type units struct {
	folder    Folder
	processes func(systemd.Unit) ([]int, error) // of its control group

	mu      sync.Mutex // guards what follows
	at      time.Time  // of the last look
	node    systemd.Unit
	mesh    systemd.Unit
	running [2]process.Identity // of node and mesh
	err     error
	note    unitsNote
	kept    bool  // the note is on the disk
	unkept  error // why it is not, or why nothing could be judged
}

// unitsNote is what must outlive the agent, and the machine's reboots.
type unitsNote struct {
	Node unitNote `json:"node"`
	Mesh unitNote `json:"mesh"`
}

type unitNote struct {
	// Up is the boot in which the unit last ran, "" once the agent has stopped it. A unit that is down in the same boot
	// was stopped by somebody else.
	Up string `json:"up,omitempty"`
	// Stopped: somebody else stopped it. Only a person ends that.
	Stopped bool `json:"stopped,omitempty"`
}

func newUnits(f Folder) (*units, error) {
	u := &units{folder: f, processes: systemd.Unit.Processes, kept: true}
	return u, ignoreMissing(readJSON(f.unitsNote(), &u.note))
}

func (f Folder) unitsNote() string { return f.path("agent", "units.json") }

const (
	// lookAgain is how long a look holds: a turn of the agent asks several times for the same.
	lookAgain = 300 * time.Millisecond
	// lookSteady is how long it holds while both units run on. To ask systemd is most of what an agent costs.
	lookSteady = 5 * time.Second
)

// steady says whether both units ran at the last look, and their processes still do.
func (u *units) steady() bool {
	if u.err != nil || time.Since(u.at) >= lookSteady {
		return false
	}
	for i, unit := range []systemd.Unit{u.node, u.mesh} {
		if unit.Active != "active" || !u.running[i].Alive() {
			return false
		}
	}
	return true
}

// look asks systemd, and judges who stopped what is down. The caller holds mu.
func (u *units) look(ctx context.Context) error {
	if time.Since(u.at) < lookAgain || u.steady() {
		return u.err
	}
	all, err := systemd.Show(ctx, machine.NodeUnit, machine.MeshUnit)
	if err == nil {
		u.node, u.mesh, u.running = all[0], all[1], [2]process.Identity{}
		for i, unit := range all {
			if unit.MainPID != 0 {
				u.running[i], _ = process.Of(unit.MainPID) // one that has just ended is none
			}
		}
		u.unkept = u.judge(ctx)
	}
	u.at, u.err = time.Now(), err
	return err
}

// judge brings the notes up to date with what is.
func (u *units) judge(ctx context.Context) error {
	first, err := process.Of(1) // systemd itself: it names the boot, also where several machines share a kernel
	if err != nil {
		return err
	}
	boot := first.Boot + "/" + first.Start
	now := unitsNote{Node: u.note.Node.after(u.node, boot), Mesh: u.note.Mesh.after(u.mesh, boot)}
	if now == u.note && u.kept {
		return nil
	}
	if (now.Node.Stopped && !u.note.Node.Stopped || now.Mesh.Stopped && !u.note.Mesh.Stopped) && systemd.Ending(ctx) {
		return nil // a machine that shuts down stops everything
	}
	return u.keep(now)
}

// after is the note once a unit was seen as it is now. A unit that failed was stopped by nobody: systemd starts it again,
// or the agent does. One that is starting is wanted by whoever started it, who is not to be stopped half-way.
func (n unitNote) after(u systemd.Unit, boot string) unitNote {
	switch {
	case u.Active == "active", u.Active == "activating":
		return unitNote{Up: boot}
	case u.Active == "inactive" && !u.Busy && n.Up == boot:
		return unitNote{Stopped: true}
	}
	return n
}

// keep makes the notes durable. Where they cannot be, they hold as long as the agent lives.
func (u *units) keep(n unitsNote) error {
	u.note, u.kept = n, false
	if err := writeJSON(u.folder.unitsNote(), n); err != nil {
		return fmt.Errorf("note what units should run: %w", err)
	}
	u.kept = true
	return nil
}

// Start implements Runner.
func (u *units) Start() error { return u.start(machine.NodeUnit) }

// StartMesh implements Runner.
func (u *units) StartMesh() error {
	if err := u.start(machine.MeshUnit); err != nil {
		return err
	}
	return awaitMesh(u.folder)
}

func (u *units) start(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	err := systemd.Start(ctx, name)
	u.forget()
	return err
}

// forget makes the next look a fresh one.
func (u *units) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at = time.Time{}
}

// Stop implements Runner. A daemon whose supervisor is gone is asked to end by itself.
func (u *units) Stop(ctx context.Context) error {
	return u.stop(ctx, machine.NodeUnit, func(n *unitsNote) { n.Node.Up = "" })
}

// StopMesh implements Runner.
func (u *units) StopMesh(ctx context.Context) error {
	return u.stop(ctx, machine.MeshUnit, func(n *unitsNote) { n.Mesh.Up = "" })
}

// stop stops a unit and ends what is left of it. First it is noted that it was not a person who did.
func (u *units) stop(ctx context.Context, name string, ours func(*unitsNote)) error {
	u.mu.Lock()
	n := u.note
	ours(&n)
	noted := error(nil)
	if n != u.note || !u.kept {
		noted = u.keep(n) // a full disk is no reason to let it run
	}
	u.at = time.Time{}
	u.mu.Unlock()
	defer u.forget()
	err := systemd.Stop(ctx, name)
	all, showErr := systemd.Show(ctx, name)
	if showErr == nil && all[0].Load == "not-found" && !all[0].Runs() {
		err = nil // there is nothing to stop, but for what it may have left
	}
	if err = errors.Join(err, showErr); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	left, err := u.identities(all[0])
	if err != nil {
		return err
	}
	for _, id := range left {
		if err := process.Terminate(ctx, id, stopGrace); err != nil {
			return fmt.Errorf("stop what %s left: %w", name, err)
		}
	}
	if left, err = u.identities(all[0]); err != nil || len(left) > 0 {
		return errors.Join(fmt.Errorf("stop %s: %v still runs", name, left), err)
	}
	return noted
}

// Up implements Runner. A unit that systemd is about to start again is up: it comes back if nobody stops it.
func (u *units) Up() (node, mesh bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.look(context.Background()); err != nil {
		return false, false, err
	}
	up := [2]bool{}
	for i, unit := range []systemd.Unit{u.node, u.mesh} {
		left, err := u.processes(unit)
		if err != nil {
			return false, false, err
		}
		up[i] = unit.Runs() || unit.Busy || len(left) > 0
	}
	return up[0], up[1], nil
}

// identities are the processes of a unit's control group but for its main process, the oldest first.
func (u *units) identities(of systemd.Unit) ([]process.Identity, error) {
	pids, err := u.processes(of)
	if err != nil {
		return nil, err
	}
	slices.Sort(pids)
	var ids []process.Identity
	for _, pid := range pids {
		id, err := process.Of(pid)
		if errors.Is(err, process.ErrGone) || pid == of.MainPID {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Supervisor implements Runner.
func (u *units) Supervisor() (process.Identity, bool) {
	return u.main(func() systemd.Unit { return u.node })
}

// Mesh implements Runner.
func (u *units) Mesh() (process.Identity, bool) { return u.main(func() systemd.Unit { return u.mesh }) }

func (u *units) main(of func() systemd.Unit) (process.Identity, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.look(context.Background()); err != nil || of().MainPID == 0 {
		return process.Identity{}, false
	}
	id, err := process.Of(of().MainPID)
	return id, err == nil
}

// Daemon implements Runner: whatever else the unit holds than the supervisor came from it.
func (u *units) Daemon() (process.Identity, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.look(context.Background()); err != nil {
		return process.Identity{}, false
	}
	ids, err := u.identities(u.node)
	if err == nil && len(ids) > 0 && !u.node.Runs() {
		// The look is older than they are: somebody may be starting the unit, who is not to be taken for what a stop left.
		u.at = time.Time{}
		if err = u.look(context.Background()); err == nil {
			ids, err = u.identities(u.node)
		}
	}
	if err != nil || len(ids) == 0 {
		return process.Identity{}, false
	}
	return ids[0], true
}

// Overruled implements Runner.
func (u *units) Overruled() (node, mesh string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	_ = u.look(context.Background()) // what was seen last counts
	return overruled(u.node, u.note.Node, "pressenter start"), overruled(u.mesh, u.note.Mesh, "pressenter start"), u.unkept
}

func overruled(u systemd.Unit, n unitNote, undo string) string {
	switch {
	case u.Masked() && !u.Runs():
		return fmt.Sprintf("%s is masked on the machine: 'systemctl unmask %s' there allows it again", u.Name, u.Name)
	case n.Stopped:
		return fmt.Sprintf("%s was stopped on the machine, with systemctl: '%s', or 'systemctl start %s' there, ends that", u.Name, undo, u.Name)
	}
	return ""
}

// Allow implements Runner.
func (u *units) Allow() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.note
	n.Node.Stopped, n.Mesh.Stopped = false, false
	if n == u.note && u.kept {
		return nil
	}
	u.at = time.Time{}
	return u.keep(n)
}
