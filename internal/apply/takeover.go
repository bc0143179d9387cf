package apply

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/takeover"
)

// Taker takes daemons over on servers.
type Taker interface {
	Suits(ctx context.Context, h deployment.Host) error
	TakeOver(ctx context.Context, h deployment.Host, o takeover.Order) (takeover.State, error)
	TakenOver(ctx context.Context, h deployment.Host) (takeover.State, error)
	GiveBack(ctx context.Context, h deployment.Host, pub []byte) (takeover.State, error)
}

// Adoption is the server that brought the network; nil: none did.
func (s *Session) Adoption() *deployment.Adoption { return s.own.inventory.Adoption }

// Join puts the deployment on the network of a node that runs already. Nothing is changed on its server.
func (s *Session) Join(a deployment.Adoption, chainID string, genesis []byte) error {
	inv := &s.own.inventory
	switch {
	case inv.Adoption != nil && inv.Adoption.Genesis == a.Genesis && inv.Adoption.Address == a.Address && bytes.Equal(inv.Adoption.PubKey, a.PubKey):
		return nil
	case inv.Deployment != "":
		return &plan.Refusal{Why: "this deployment is on a network already", Next: "make another deployment in a folder of its own"}
	}
	if err := os.MkdirAll(s.Dir.Genesis(), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.Dir.Genesis(), "genesis.json"), genesis, 0o600); err != nil {
		return fmt.Errorf("keep genesis: %w", err)
	}
	inv.Deployment, inv.ChainID, inv.Adoption = s.Config.Name, chainID, &a
	return s.own.dir.SaveInventory(*inv)
}

// mayTakeOver says why a takeover that has not begun is not to begin.
func (s *Session) mayTakeOver(ctx context.Context, found *adopt.Found) error {
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	if !p.Empty() {
		return &plan.Refusal{Why: "there is something to do before the validator can come", Next: "run 'pressenter apply'"}
	}
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
// its silence is proven. It goes on where another one stopped. found is what was just seen of the node; nil where a takeover
// has begun, as the node may be gone by now.
func (s *Session) TakeOver(ctx context.Context, servers Taker, found *adopt.Found, report func(string)) error {
	a := s.Adoption()
	h := deployment.Host{Name: a.Host, Role: roster.RoleValidator, Provider: deployment.ProviderSSH, Address: a.Address}
	if !a.Begun {
		if err := s.mayTakeOver(ctx, found); err != nil {
			return err
		}
		if err := servers.Suits(ctx, h); err != nil {
			return err
		}
		a.Unit, a.Home, a.Mark = found.Unit.Name, found.Home.Real, max(found.Key.Signed, found.Key.Mark.Height)
		a.Begun = true
		if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
			return err
		}
	}
	if !a.Taken {
		k, err := s.keys(s.own)
		if err != nil {
			return err
		}
		o := takeover.Order{
			Unit: a.Unit, Home: a.Home, PubKey: a.PubKey, Mark: a.Mark, BackupTo: k.Recipient(),
			NodeID: a.NodeID, ChainID: s.own.inventory.ChainID, Genesis: a.Genesis, Peers: a.Peers, MinGasPrice: a.MinGasPrice,
		}
		if err := awaitTaken(ctx, servers, h, o, report); err != nil {
			return err
		}
		a.Taken = true
		if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
			return err
		}
	}
	if err := s.replan(ctx); err != nil {
		return err
	}
	if err := s.armTaken(ctx, report); err != nil {
		return err
	}
	return s.replan(ctx) // it waits until the others see a signature
}

// replan plans and does.
func (s *Session) replan(ctx context.Context) error {
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	return s.Do(ctx, p)
}

// takenLimit bounds how long a takeover may be in trouble before somebody is asked to look. It goes on there meanwhile.
const takenLimit = 2 * time.Minute

// awaitTaken has a server take its daemon over, and waits for that.
func awaitTaken(ctx context.Context, servers Taker, h deployment.Host, o takeover.Order, report func(string)) error {
	st, err := servers.TakeOver(ctx, h, o)
	if err != nil {
		return fmt.Errorf("take over %q: %w", h.Name, err)
	}
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for begun := time.Now(); st.Phase != takeover.Done; {
		report(words(o.Unit, st))
		switch {
		case st.Phase == takeover.None || st.Phase == takeover.Undoing:
			return fmt.Errorf("take over %q: it is being undone by somebody", h.Name)
		case st.Trouble != "" && time.Since(begun) > takenLimit:
			return fmt.Errorf("take over %q: %s", h.Name, st.Trouble)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if st, err = servers.TakenOver(ctx, h); err != nil {
			return fmt.Errorf("take over %q: %w", h.Name, err)
		}
	}
	report(words(o.Unit, st))
	return nil
}

func words(unit string, st takeover.State) string {
	s := map[takeover.Phase]string{
		takeover.Silencing: "taking " + unit + " every way to start, and proving that it is dead; --undo can still take that back",
		takeover.Moving:    "the point of no return is behind: moving key and home",
		takeover.Done:      "key and home are ours, and the key is disarmed",
	}[st.Phase]
	if st.Trouble != "" {
		s += ": " + st.Trouble
	}
	return s
}

// armTaken arms the key of a host that was taken over, once its node has caught up.
func (s *Session) armTaken(ctx context.Context, report func(string)) error {
	t, err := s.Validator()
	if err != nil {
		return err
	}
	armed := false
	err = s.poll(ctx, t.Host, func(st api.HostStatus) error {
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

// UndoTakeover gives the adopted node back to its unit, as long as that can be, and says whether there was anything to give
// back.
func (s *Session) UndoTakeover(ctx context.Context, servers Taker) (undone bool, err error) {
	a := s.Adoption()
	switch {
	case a == nil || !a.Begun:
		return false, nil
	case a.Taken:
		return false, &takeover.NoReturn{Unit: a.Unit}
	}
	h := deployment.Host{Name: a.Host, Role: roster.RoleValidator, Provider: deployment.ProviderSSH, Address: a.Address}
	if err := awaitGiven(ctx, servers, h, a); err != nil {
		return false, fmt.Errorf("give %s back: %w", a.Unit, err)
	}
	a.Begun = false
	return true, s.own.dir.SaveInventory(s.own.inventory)
}

// awaitGiven has a server give its daemon back, and waits for that.
func awaitGiven(ctx context.Context, servers Taker, h deployment.Host, a *deployment.Adoption) error {
	st, err := servers.GiveBack(ctx, h, a.PubKey)
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for begun := time.Now(); err == nil && st.Phase != takeover.None; {
		if st.Trouble != "" && time.Since(begun) > takenLimit {
			return fmt.Errorf("%s; it goes on there by itself", st.Trouble)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		st, err = servers.TakenOver(ctx, h)
	}
	return err
}

// between refuses what may not be done while a server is between its unit and ours.
func (s *Session) between() error {
	if a := s.Adoption(); a != nil && a.Begun && !a.Taken {
		return &plan.Refusal{
			Why:  fmt.Sprintf("%s is being taken over from %s", a.Host, a.Unit),
			Next: fmt.Sprintf("run 'pressenter adopt %s --take-over' to finish that, or 'pressenter adopt %s --undo'", a.Host, a.Host),
		}
	}
	return nil
}
