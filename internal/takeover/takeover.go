// Package takeover takes a chain's daemon over from a unit of systemd that somebody else made for it. It runs on the
// server, as root, and ends with what a host has whose key was restored: the daemon's home in our layout, and the
// consensus key in the signing folder, disarmed, with the mark of how far it signed. Nothing of ours is started by it.
//
// At no moment do two programs have the right to sign. The old unit is stopped, masked and proven dead before the home is
// touched, and only what the rest of the product demands of any key that came from elsewhere arms it again. Nor is there a
// moment at which the key is in one place alone, unless that is where it always was: it is sealed to the operator first.
//
// While the journal says [Silencing], all that was done is done again or undone, whatever was interrupted; the home is
// renamed and judged by then. [Moving] is the point of no return: from then on the key leaves the home, and the only way is
// on. A unit of its own does the work, so that neither a lost connection nor a killed program nor a reboot leaves it undone.
package takeover

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
)

// Whose says whose takeover one is.
type Whose struct {
	Deployment string `json:"deployment"`
	Host       string `json:"host"`
	PubKey     []byte `json:"ed25519"`
}

// Order is what is to be taken over.
type Order struct {
	Deployment string `json:"deployment"`
	Host       string `json:"host"`
	// Unit runs the daemon, and Home is the daemon's, without links.
	Unit string `json:"unit"`
	Home string `json:"home"`
	// PubKey is the consensus key that is expected there, and Mark the highest height for which the chain shows its signature.
	PubKey []byte `json:"ed25519"`
	Mark   int64  `json:"mark"`
	// BackupTo is the age recipient that the key is sealed to before it leaves the home.
	BackupTo string `json:"backup_to"`
	// Program is this program's path, for the unit that does the work.
	Program string `json:"program"`
	// What follows is not used on the server. It is kept for an operator who has lost what was noted of the node.
	NodeID      string   `json:"node_id"`
	ChainID     string   `json:"chain_id"`
	Genesis     string   `json:"genesis_sha256"`
	Peers       []string `json:"peers"`
	MinGasPrice string   `json:"min_gas_price,omitempty"`
}

// Whose says whose the order is.
func (o Order) Whose() Whose { return Whose{o.Deployment, o.Host, o.PubKey} }

// Is says whether w is v.
func (w Whose) Is(v Whose) bool {
	return w.Deployment == v.Deployment && w.Host == v.Host && bytes.Equal(w.PubKey, v.PubKey)
}

// Phase is how far a takeover is.
type Phase string

// Phases, in their order.
const (
	None      Phase = ""
	Silencing Phase = "silencing" // the old unit loses every way to start, and its home; this can be undone
	Moving    Phase = "moving"    // the key leaves the home; this cannot
	Done      Phase = "done"
	Undoing   Phase = "undoing" // the old unit is getting its ways to start back
)

// State is what is known of a takeover.
type State struct {
	Phase Phase `json:"phase"`
	// Order is what was ordered; zero where nothing was.
	Order Order `json:"order"`
	// Trouble is what kept it from going on, the last time it was tried.
	Trouble string `json:"trouble,omitempty"`
	// Notes are what was found and keeps nothing from going on.
	Notes []string `json:"notes,omitempty"`
}

// NoReturn says that a takeover cannot be undone any more.
type NoReturn struct{ Unit string }

// Error implements error.
func (e *NoReturn) Error() string {
	return fmt.Sprintf("the key is on its way out of the home of %s, or has left it: there is no way back any more", e.Unit)
}

// journal is what must outlive the program and the machine's reboots. All else is seen by looking.
type journal struct {
	Phase   Phase    `json:"phase"`
	Order   Order    `json:"order"`
	Was     was      `json:"was"`
	Trouble string   `json:"trouble,omitempty"`
	Notes   []string `json:"notes,omitempty"`
}

// was is how the old unit was found.
type was struct {
	Running bool `json:"running"`
	Masked  bool `json:"masked"`
}

// Taker takes over on one machine.
type Taker struct {
	Root  string // the host's folder
	Units string // where an administrator's units are
	// Program is this program's path, where it is not told.
	Program string
	System  System
	// Room makes the folder, with its users and parts, and Own gives a path with all below it to the node's user.
	Room func(ctx context.Context) error
	Own  func(path string) error
	// Noted notes the home at a path as this host's own.
	Noted func(home string) error
	// Sync makes all that was changed on the host's and on the units' file system outlive a power cut.
	Sync func() error

	// before is called before every change, by tests that enumerate crashes; nil otherwise.
	before func(what string) error
}

func (t *Taker) path(elem ...string) string {
	return filepath.Join(append([]string{t.Root}, elem...)...)
}

func (t *Taker) file() string    { return t.path("agent", "takeover.json") }
func (t *Taker) backup() string  { return t.path("agent", "consensus-key.age") } // where the agent keeps it, too
func (t *Taker) newHome() string { return t.path("node", "home") }

// change says that something is about to be changed.
func (t *Taker) change(what string) error {
	if t.before == nil {
		return nil
	}
	return t.before(what)
}

// load reads the journal; nil: there is none.
func (t *Taker) load() (*journal, error) {
	b, err := atomicfile.Read(t.file(), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j journal
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("read %q: %w", t.file(), err)
	}
	switch j.Phase {
	case Silencing, Moving, Done, Undoing:
		return &j, nil
	}
	return nil, fmt.Errorf("read %q: there is no phase %q", t.file(), j.Phase)
}

// save writes the journal. Whatever was done before it is on disk when it is.
func (t *Taker) save(j *journal) error {
	if err := t.change("journal"); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(t.file(), append(b, '\n'), 0o600)
}

// locked calls do while nobody else takes over here.
func (t *Taker) locked(ctx context.Context, do func() error) error {
	lock, err := process.WaitLock(ctx, t.path("agent", "takeover.lock"))
	if err != nil {
		return err
	}
	return errors.Join(do(), lock.Close())
}

// Look says how far a takeover is.
func (t *Taker) Look() (State, error) {
	j, err := t.load()
	if err != nil || j == nil {
		return State{}, err
	}
	return State{j.Phase, j.Order, j.Trouble, j.Notes}, nil
}

// In says how far a takeover is whose host's folder is root.
func In(root string) (State, error) { return (&Taker{Root: root}).Look() }

// IsOf refuses whoever is not the one whose takeover there is.
func (s State) IsOf(deployment, host string) error {
	if s.Phase == None || s.Order.Deployment == deployment && s.Order.Host == host {
		return nil
	}
	return another(s.Order)
}

// Begin begins a takeover, or goes on with one, and returns while it goes on. Where it cannot be, nothing was changed.
func (t *Taker) Begin(ctx context.Context, o Order) (State, error) {
	known, err := t.load()
	if err != nil {
		return State{}, err
	}
	if known == nil {
		if err := t.check(ctx, o); err != nil {
			return State{}, fmt.Errorf("nothing was changed: %w", err)
		}
		if err := t.Room(ctx); err != nil {
			return State{}, err
		}
	}
	err = t.locked(ctx, func() error { return t.begin(ctx, o) })
	if err != nil {
		return State{}, err
	}
	return t.Look()
}

// begin notes how the old unit is and what is to be done, and has the runner do it.
func (t *Taker) begin(ctx context.Context, o Order) error {
	j, err := t.load()
	switch {
	case err != nil:
		return err
	case j == nil:
		if err := t.check(ctx, o); err != nil { // again: something else may have been undone while the lock was waited for
			return fmt.Errorf("nothing was changed: %w", err)
		}
		u, err := t.System.Show(ctx, o.Unit)
		if err != nil {
			return err
		}
		j = &journal{Phase: Silencing, Order: o, Was: was{Running: u.Runs(), Masked: u.Masked()}}
	case j.Order.Unit != o.Unit || !j.Order.Whose().Is(o.Whose()):
		return another(j.Order)
	case j.Phase == Undoing:
		return errors.New("it is being undone: that goes on there by itself; try again once it is")
	case j.Phase == Done:
		return nil
	}
	j.Order.Program = o.Program // a newer one may know how to go on where the old one did not
	if j.Phase == Silencing {
		j.Order.BackupTo = o.BackupTo
	}
	if err := t.save(j); err != nil {
		return err
	}
	return t.startRunner(ctx, j.Order)
}

// Run does what the journal says, from where it stopped; without one there is nothing left to do. It may be interrupted anywhere and run again.
func (t *Taker) Run(ctx context.Context) error {
	return t.locked(ctx, func() error {
		j, err := t.load()
		if err != nil {
			return err
		}
		if j == nil { // undone, but for this
			return t.removeRunner(ctx)
		}
		if err := t.goOn(ctx, j); err != nil {
			j.Trouble = err.Error()
			return errors.Join(err, t.save(j))
		}
		return nil
	})
}

func (t *Taker) goOn(ctx context.Context, j *journal) error {
	switch j.Phase {
	case Undoing:
		return t.back(ctx, j)
	case Done:
		return t.removeRunner(ctx)
	}
	// Also with the point of no return behind: a reboot, or a person, may have been in between.
	if err := t.silence(ctx, j.Order); err != nil {
		return err
	}
	if err := t.moveHome(j); err != nil {
		return fmt.Errorf("move the home: %w", err)
	}
	// From here on nobody comes in: the folder around it is ours. Who came in before keeps the key where it is.
	if err := t.prove(ctx, j.Order); err != nil {
		return err
	}
	if j.Phase == Silencing {
		if err := t.ready(j.Order); err != nil {
			return err
		}
		if err := t.reach(j, Moving); err != nil {
			return err
		}
	}
	if err := t.moveKey(j.Order); err != nil {
		return fmt.Errorf("move the consensus key: %w", err)
	}
	if err := t.settle(); err != nil {
		return fmt.Errorf("make the home ours: %w", err)
	}
	if err := t.prove(ctx, j.Order); err != nil {
		return err
	}
	if err := t.reach(j, Done); err != nil {
		return err
	}
	return t.removeRunner(ctx)
}

// reach notes that a phase begins, which it does once that is on disk and not before.
func (t *Taker) reach(j *journal, p Phase) error {
	next := *j
	next.Phase, next.Trouble = p, ""
	if err := t.save(&next); err != nil {
		return err
	}
	*j = next
	return nil
}

// another refuses what is not for the takeover that there is.
func another(o Order) error {
	return fmt.Errorf("a takeover of %s for %q of the deployment %q, of the key %X, was begun here: nothing was done to it", o.Unit, o.Host, o.Deployment, o.PubKey)
}

// Undo has the old unit get back what it had, and start if it ran, and returns while that goes on by itself: it is undone
// once there is none. The error is a [NoReturn] where it is too late.
func (t *Taker) Undo(ctx context.Context, w Whose) (State, error) {
	j, err := t.load()
	if err != nil || j == nil {
		return State{}, err
	}
	if err := mayUndo(j, w); err != nil {
		return State{}, err
	}
	if err := t.stopRunner(ctx); err != nil {
		return State{}, err
	}
	err = t.locked(ctx, func() error {
		j, err := t.load()
		if err != nil || j == nil {
			return err
		}
		if err := mayUndo(j, w); err != nil { // it got there meanwhile, and goes on
			return errors.Join(err, t.startRunner(ctx, j.Order))
		}
		j.Order.Program = cmp.Or(t.Program, j.Order.Program) // the one that began may be gone
		if err := t.reach(j, Undoing); err != nil {
			return err
		}
		return t.startRunner(ctx, j.Order)
	})
	if err != nil {
		return State{}, err
	}
	return t.Look()
}

func mayUndo(j *journal, w Whose) error {
	switch {
	case !j.Order.Whose().Is(w):
		return another(j.Order)
	case j.Phase == Moving || j.Phase == Done:
		return &NoReturn{j.Order.Unit}
	}
	return nil
}

// back undoes what was done while silencing. The key has never left the home.
func (t *Taker) back(ctx context.Context, j *journal) error {
	if err := t.homeBack(j.Order); err != nil {
		return fmt.Errorf("give the home back: %w", err)
	}
	if err := t.change("remove backup"); err != nil {
		return err
	}
	if err := os.Remove(t.backup()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !j.Was.Masked {
		if err := t.unmask(ctx, j.Order.Unit); err != nil {
			return err
		}
	}
	if j.Was.Running {
		if err := t.change("start"); err != nil {
			return err
		}
		if err := t.System.Start(ctx, j.Order.Unit); err != nil {
			return err
		}
	}
	if err := t.change("forget"); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := os.Remove(t.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.SyncFolder(filepath.Dir(t.file())); err != nil {
		return err
	}
	return t.removeRunner(ctx) // last: until then it comes back by itself
}
