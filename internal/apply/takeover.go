package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/takeover"
)

// Taker takes daemons over on servers.
type Taker interface {
	// Suits says why a server could not be a host once its daemon is gone.
	Suits(ctx context.Context, h deployment.Host) error
	// TakeOver begins a takeover, or goes on with one. It goes on by itself there.
	TakeOver(ctx context.Context, h deployment.Host, o takeover.Order) (takeover.State, error)
	// TakenOver says how far a takeover is, whoever began it.
	TakenOver(ctx context.Context, h deployment.Host) (takeover.State, error)
	// GiveBack begins to undo the takeover of a key.
	GiveBack(ctx context.Context, h deployment.Host, pub []byte) (takeover.State, error)
}

// Takes is who takes a node over.
type Takes struct {
	// Look looks at the node, and refuses one that cannot be taken over. Sure asks a person. Both are for one of which nothing
	// was changed yet.
	Look func(context.Context) (*adopt.Found, error)
	Sure func(*adopt.Found) error
	// Report is told how far it is.
	Report func(string)
}

// GoesOn says that what was waited for is not done, and is not lost either.
type GoesOn struct {
	Err  error
	Next string
}

// Error implements error.
func (g *GoesOn) Error() string { return g.Err.Error() }

// Unwrap returns the cause.
func (g *GoesOn) Unwrap() error { return g.Err }

// Hint says what to do.
func (g *GoesOn) Hint() string { return g.Next }

// Anothers says that a server is in a takeover that is not this deployment's.
type Anothers struct {
	Host  string
	State takeover.State
}

// Error implements error.
func (a *Anothers) Error() string {
	o := a.State.Order
	return fmt.Sprintf("a takeover of %s for %q of the deployment %q, of the key %X, is at phase %q on the server of %s: nothing was done to it",
		o.Unit, o.Host, o.Deployment, o.PubKey, a.State.Phase, a.Host)
}

// Hint says what to do.
func (a *Anothers) Hint() string {
	return "finish or undo it from the deployment that began it, or check the address in the config"
}

// TakeoverAt asks a server how far the deployment's takeover there is. The error is an [Anothers] where one of somebody else is.
func (s *Session) TakeoverAt(ctx context.Context, h deployment.Host) (takeover.State, error) {
	st, err := s.Servers.TakenOver(ctx, h)
	if err != nil {
		return st, &GoesOn{fmt.Errorf("ask the server of %q how far its takeover is: %w", h.Name, err), "reach it first: only the server knows how far it is, and what was begun there goes on by itself"}
	}
	a := s.Adoption()
	o := st.Order
	if st.Phase != takeover.None && (o.Deployment != s.Config.Name || o.Host != h.Name || a != nil && !bytes.Equal(o.PubKey, a.PubKey)) {
		return st, &Anothers{h.Name, st}
	}
	return st, nil
}

// adopted is the server that brought the network.
func (s *Session) adopted() deployment.Host {
	a := s.Adoption()
	return deployment.Host{Name: a.Host, Role: roster.RoleValidator, Provider: deployment.ProviderSSH, Address: a.Address}
}

// save notes what is known of the adopted server.
func (s *Session) save() error { return s.own.dir.SaveInventory(s.own.inventory) }

// mayTakeOver says why a takeover that has not begun is not to begin.
func (s *Session) mayTakeOver(ctx context.Context, found *adopt.Found) error {
	if s.Adoption().Taken { // the roster may have the validator, so that no plan can be made without it
		if err := s.Look(ctx); err != nil {
			return err
		}
		return s.caughtUp(found)
	}
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	if !p.Empty() {
		return &plan.Refusal{Why: "there is something to do before the validator can come", Next: "run 'pressenter apply'"}
	}
	return s.caughtUp(found)
}

// caughtUp says whether the sentries have.
func (s *Session) caughtUp(found *adopt.Found) error {
	for _, h := range s.want.Own.Hosts {
		st := s.have.Own.Hosts[h.Name].Status
		if h.Role == roster.RoleSentry && (!st.Node.Answers || st.Node.CatchingUp || st.Node.Height < found.Node.Height-maxBehind) {
			return &plan.Refusal{
				Why:  fmt.Sprintf("%s is at height %d, and the network at %d: the validator would be cut off", h.Name, st.Node.Height, found.Node.Height),
				Next: "wait until it has caught up; 'pressenter status' shows how far it is",
			}
		}
	}
	return nil
}

// maxBehind is how many blocks a sentry may seem behind: both were asked one after the other.
const maxBehind = 10

// TakeOver makes the adopted node a host of ours, at this moment: its unit is ended for ever, and its key is armed here once
// its silence is proven. It goes on where another one stopped; how far that is the server says.
func (s *Session) TakeOver(ctx context.Context, by Takes) error {
	a, h := s.Adoption(), s.adopted()
	st, err := s.TakeoverAt(ctx, h)
	if err != nil {
		return err
	}
	switch st.Phase {
	case takeover.None:
		st, err = s.begin(ctx, h, by)
	case takeover.Undoing:
		err = &GoesOn{fmt.Errorf("the takeover of %s is being undone", h.Name), fmt.Sprintf("it goes on there by itself; 'pressenter adopt %s --undo' waits for that", h.Name)}
	default:
		st, err = s.goOn(ctx, h, st)
	}
	if err != nil {
		return err
	}
	if err := s.awaitTaken(ctx, h, st, by.Report); err != nil {
		return err
	}
	a.Begun, a.Taken = true, true
	if err := s.save(); err != nil {
		return err
	}
	if err := s.bring(ctx); err != nil {
		return err
	}
	if err := s.armTaken(ctx, by.Report); err != nil {
		return &GoesOn{err, fmt.Sprintf("the key stays disarmed, and nobody signs; run 'pressenter adopt %s --take-over' again, which goes on", h.Name)}
	}
	return s.bring(ctx) // it waits until the others see a signature
}

// begin orders a takeover where the server knows of none.
func (s *Session) begin(ctx context.Context, h deployment.Host, by Takes) (takeover.State, error) {
	a := s.Adoption()
	if a.Taken {
		by.Report(h.Name + " was taken over, and its server does not know: it was put back to an earlier state or installed anew. The old unit is ended again")
	} else if a.Begun { // it was refused, or undone from elsewhere
		a.Begun = false
		if err := s.save(); err != nil {
			return takeover.State{}, err
		}
	}
	found, err := by.Look(ctx)
	if err != nil {
		return takeover.State{}, err
	}
	if err := s.mayTakeOver(ctx, found); err != nil {
		return takeover.State{}, err
	}
	if err := s.Servers.Suits(ctx, h); err != nil {
		return takeover.State{}, err
	}
	k, err := s.keys(s.own)
	if err != nil {
		return takeover.State{}, err
	}
	if err := by.Sure(found); err != nil {
		return takeover.State{}, err
	}
	a.Unit, a.Home, a.Mark, a.Begun = found.Unit.Name, found.Home.Real, max(found.Key.Signed, found.Key.Mark.Height), true
	if err := s.save(); err != nil {
		return takeover.State{}, err
	}
	st, err := s.Servers.TakeOver(ctx, h, takeover.Order{
		Unit: a.Unit, Home: a.Home, PubKey: a.PubKey, Mark: a.Mark, BackupTo: k.Recipient(),
		NodeID: a.NodeID, ChainID: s.own.inventory.ChainID, Genesis: a.Genesis, Peers: a.Peers, MinGasPrice: a.MinGasPrice,
	})
	if err != nil {
		return st, s.notBegun(ctx, h, err)
	}
	if host, known := s.own.inventory.Host(h.Name); known { // what is in its place now was not set up yet
		host.Made = false
		s.own.inventory.Put(host)
	}
	return st, s.save()
}

// goOn has a server go on with what was ordered before, by the program that is brought there now.
func (s *Session) goOn(ctx context.Context, h deployment.Host, st takeover.State) (takeover.State, error) {
	a := s.Adoption()
	a.Unit, a.Home, a.Mark, a.Begun = st.Order.Unit, st.Order.Home, st.Order.Mark, true
	if err := s.save(); err != nil || st.Phase == takeover.Done {
		return st, err
	}
	k, err := s.keys(s.own)
	if err != nil {
		return st, err
	}
	order := st.Order
	order.BackupTo = k.Recipient() // the keyring for which it was begun may be lost
	out, err := s.Servers.TakeOver(ctx, h, order)
	if err != nil {
		return st, &GoesOn{fmt.Errorf("take over %q: %w", h.Name, err), fmt.Sprintf("what was begun goes on there by itself; run 'pressenter adopt %s --take-over' again", h.Name)}
	}
	return out, nil
}

// notBegun takes back that a takeover was begun, where the server says that it was not.
func (s *Session) notBegun(ctx context.Context, h deployment.Host, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), existsTimeout)
	defer cancel()
	why = fmt.Errorf("take over %q: %w", h.Name, why)
	st, err := s.Servers.TakenOver(ctx, h)
	if err != nil || st.Phase == takeover.None && !errors.As(why, new(*ssh.ExitError)) { // it may still be checking
		return &GoesOn{why, fmt.Sprintf("whether it was begun is not known; what was begun goes on there by itself. Run 'pressenter adopt %s --take-over' again, or --undo", h.Name)}
	}
	if st.Phase != takeover.None {
		return &GoesOn{why, fmt.Sprintf("it was begun and goes on there by itself; run 'pressenter adopt %s --take-over' again", h.Name)}
	}
	if a := s.Adoption(); !a.Taken {
		a.Begun = false
	}
	return errors.Join(why, s.save())
}

// bring plans and does what makes a server that was taken over a host of ours, and nothing else: nobody was shown a plan.
func (s *Session) bring(ctx context.Context) error {
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	if more := p.Beside(s.Adoption().Host); len(more) > 0 {
		return &plan.Refusal{
			Why:  fmt.Sprintf("there is more to do than the takeover, as was not the case when it began: %s", more[0]),
			Next: fmt.Sprintf("run 'pressenter apply', which shows all of it, and then 'pressenter adopt %s --take-over' again", s.Adoption().Host),
		}
	}
	return s.Do(ctx, p)
}

// takenLimit bounds how long a takeover may be in trouble before somebody is asked to look. It goes on there meanwhile.
const takenLimit = 2 * time.Minute

// awaitTaken waits until a server has taken its daemon over.
func (s *Session) awaitTaken(ctx context.Context, h deployment.Host, st takeover.State, report func(string)) error {
	goesOn := func(err error) error {
		return &GoesOn{fmt.Errorf("take over %q: %w", h.Name, err), fmt.Sprintf("it goes on there by itself; run 'pressenter adopt %s --take-over' again, or --undo as long as that can be", h.Name)}
	}
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for begun := time.Now(); st.Phase != takeover.Done; {
		report(words(st))
		switch {
		case st.Phase == takeover.None || st.Phase == takeover.Undoing:
			return goesOn(errors.New("it is being undone by somebody"))
		case st.Trouble != "" && time.Since(begun) > takenLimit:
			return goesOn(errors.New(st.Trouble))
		}
		select {
		case <-ctx.Done():
			return goesOn(ctx.Err())
		case <-t.C:
		}
		var err error
		if st, err = s.Servers.TakenOver(ctx, h); err != nil {
			return goesOn(err)
		}
	}
	report(words(st))
	return nil
}

func words(st takeover.State) string {
	s := map[takeover.Phase]string{
		takeover.Silencing: "taking " + st.Order.Unit + " every way to start, and proving that it is dead; --undo can still take that back",
		takeover.Moving:    "the point of no return is behind: moving key and home",
		takeover.Done:      "key and home are ours, and the key is disarmed",
	}[st.Phase]
	for _, note := range append([]string{st.Trouble}, st.Notes...) {
		if note != "" {
			s += "; " + note
		}
	}
	return s
}

// catchUpLimit is how long the node of a host that was taken over is waited for: it loads its state, and reads what it missed.
const catchUpLimit = 20 * time.Minute

// armTaken arms the key of a host that was taken over, once its node has caught up.
func (s *Session) armTaken(ctx context.Context, report func(string)) error {
	t, err := s.Validator()
	if err != nil {
		return err
	}
	armed := false
	err = s.pollFor(ctx, catchUpLimit, t.Host, func(st api.HostStatus) error {
		armed = st.Signing.State == signing.Armed
		if !armed && (!st.Node.Answers || st.Node.CatchingUp || st.Node.Height == 0) {
			return fmt.Errorf("its node is %s, at height %d", st.Node.Phase, st.Node.Height)
		}
		return nil
	})
	if err != nil || armed {
		return err
	}
	return s.Arm(ctx, func(st api.SigningStatus) { report(st.State + ": " + st.Reason) })
}

// UndoTakeover gives a server's node back to its unit, as long as that can be, and returns the unit; "" where no takeover of
// ours was begun, as the server says: an inventory may be lost or older.
func (s *Session) UndoTakeover(ctx context.Context, h deployment.Host) (unit string, err error) {
	st, err := s.TakeoverAt(ctx, h)
	if err != nil {
		return "", err
	}
	switch st.Phase {
	case takeover.Moving, takeover.Done:
		return "", &takeover.NoReturn{Unit: st.Order.Unit}
	case takeover.None:
	default:
		if err := s.awaitGiven(ctx, h, st.Order.PubKey); err != nil {
			return "", fmt.Errorf("give %s back: %w", st.Order.Unit, err)
		}
	}
	if a := s.Adoption(); a != nil && a.Begun && !a.Taken {
		a.Begun = false
		err = s.save()
	}
	return st.Order.Unit, err
}

// awaitGiven has a server give its daemon back, and waits for that.
func (s *Session) awaitGiven(ctx context.Context, h deployment.Host, pub []byte) error {
	next := fmt.Sprintf("it goes on there by itself; run 'pressenter adopt %s --undo' again", h.Name)
	st, err := s.Servers.GiveBack(ctx, h, pub)
	if err != nil {
		if errors.As(err, new(*takeover.NoReturn)) {
			return err
		}
		return &GoesOn{err, fmt.Sprintf("run 'pressenter adopt %s --undo' again; what was begun goes on there by itself", h.Name)}
	}
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for begun := time.Now(); st.Phase != takeover.None; {
		if st.Trouble != "" && time.Since(begun) > takenLimit {
			return &GoesOn{errors.New(st.Trouble), next}
		}
		select {
		case <-ctx.Done():
			return &GoesOn{ctx.Err(), next}
		case <-t.C:
		}
		if st, err = s.Servers.TakenOver(ctx, h); err != nil {
			return &GoesOn{err, next}
		}
	}
	return nil
}
