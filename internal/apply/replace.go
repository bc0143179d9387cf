package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// replace lets the plan that is made next replace the sentry that this session is to replace, or take that back. Nothing is
// noted yet: the plan's first step does that.
func (s *Session) replace() error {
	if s.Replace == "" || s.begun {
		return nil
	}
	if s.Cancel {
		return s.takeBack()
	}
	how, err := plan.Replace(s.Replace, s.Config, s.own.inventory, s.have.Own)
	if err != nil {
		return err
	}
	if how == plan.Beside {
		next, identity := plan.Successor(s.Replace, s.Config, s.own.inventory, s.have.Own.Head)
		s.own.inventory.Replace(next, identity)
		s.begun = true
		if err := s.decided(); err != nil {
			return err
		}
		wanted, _ := s.want.Own.Host(s.Replace)
		s.have.Own.Retire(wanted, identity)
		return nil
	}
	if err := s.decided(); err != nil {
		return err
	}
	if how == plan.InPlace {
		s.want.Replace = s.Replace
	}
	return nil
}

// takeBack lets the plan that is made next keep the machine that a sentry was before its replacement began.
func (s *Session) takeBack() error {
	back, err := plan.TakenBack(s.Replace, s.own.inventory, s.have.Own)
	if err != nil {
		return err
	}
	s.own.inventory.TakeBack(back.Machine())
	s.begun = true
	s.have.Own.TakeBack(back, s.own.inventory)
	return s.decided()
}

// decided resolves the config again, once it is decided which machine the sentry is.
func (s *Session) decided() error {
	s.moves = ""
	genesis := s.want.Chain.GenesisSHA256
	if err := s.prepare(); err != nil {
		return err
	}
	s.want.Chain.GenesisSHA256 = genesis
	return s.findMeshProgram()
}

// takeOut publishes a roster without a sentry, which stops by that.
func (s *Session) takeOut(ctx context.Context, side *sideState, name string) error {
	if err := s.adoptAll(ctx, side); err != nil {
		return err
	}
	head := side.rosters.State().Head
	if head == nil {
		return errors.New("the roster has no single head")
	}
	next := roster.Next(head)
	if !next.Remove(name) {
		return nil
	}
	if err := s.mayLeave(ctx, side, head, next); err != nil {
		return err
	}
	return s.publish(ctx, side, next)
}

// mayLeave judges once more whether the validator keeps a sentry, right before a generation is signed by which one leaves whose
// place another takes: since the plan a person was asked, and machines were bought and set up.
func (s *Session) mayLeave(ctx context.Context, side *sideState, head, next *roster.Roster) error {
	leaves := func(h deployment.Host) bool {
		m, is := head.Member(h.Name)
		return is && m.Role == roster.RoleSentry && next.Tombstoned(m.Identity)
	}
	if side != s.own || head == nil || !slices.ContainsFunc(s.want.Own.Hosts, leaves) {
		return nil
	}
	have, err := s.look(ctx, side, s.want.Own, false) // no roster that this plan was not made for
	if err != nil {
		return err
	}
	have.Head = head
	return plan.CutOff(s.want, have)
}

// awaitJoined waits until a sentry keeps up and the validator is linked to it. Without a validator that runs the first is
// enough.
func (s *Session) awaitJoined(ctx context.Context, side *sideState, h deployment.Host) error {
	head := side.rosters.State().Head
	if head == nil {
		return errors.New("the roster has no single head")
	}
	m, is := head.Member(h.Name)
	if !is {
		return fmt.Errorf("%s is not in the roster", h.Name)
	}
	if err := s.awaitCaughtUp(ctx, h); err != nil {
		return err
	}
	var err error
	for _, v := range s.want.Own.Hosts {
		if v.Role == roster.RoleValidator {
			err = s.awaitLink(ctx, v, m)
		}
	}
	return err
}

// awaitCaughtUp waits until a sentry keeps up, for as long as it comes nearer: a chain that is long takes its time.
func (s *Session) awaitCaughtUp(ctx context.Context, h deployment.Host) error {
	for before, height := int64(-1), int64(0); ; before = height {
		err := s.poll(ctx, h, func(st api.HostStatus) error {
			height = max(height, st.Node.Height)
			switch {
			case st.Intent.Stopped || st.Intent.Held:
				return nil
			case !st.Node.Answers:
				return errors.New("its node does not answer yet")
			case st.Node.CatchingUp || st.Node.Height == 0:
				return errors.New("it is catching up")
			}
			return nil
		})
		if err == nil || ctx.Err() != nil || height <= before || height == 0 {
			return err
		}
		s.progress(Event{Word: fmt.Sprintf("%s is catching up, and is at height %d", h.Name, height), Why: true})
	}
}

// awaitLink waits until the validator is linked to a sentry, unless its node is meant not to run.
func (s *Session) awaitLink(ctx context.Context, validator deployment.Host, m roster.Member) error {
	held := ""
	err := s.poll(ctx, validator, func(st api.HostStatus) error {
		switch {
		case st.Intent.Held:
			held = st.Intent.By
			return nil
		case plan.Rests(st), slices.ContainsFunc(st.Node.Peers, func(p api.Peer) bool { return p.NodeID == m.NodeID }):
			return nil
		case !st.Node.Answers:
			return errors.New("its node does not answer")
		}
		return fmt.Errorf("it has no link to %s yet", m.Name)
	})
	if err == nil && held != "" {
		return fmt.Errorf("%s is held by %s and does not hear of %s: 'pressenter hold --release %s' first", validator.Name, held, m.Name, validator.Name)
	}
	return err
}

// removeReplaced removes a machine whose host is another one now. One that is lost is left as it is.
func (s *Session) removeReplaced(ctx context.Context, side *sideState, machine string) error {
	s.mu.Lock() // others are removed beside this one
	old, there := side.inventory.WasMachine(machine)
	s.mu.Unlock()
	state := side.rosters.State()
	if !there {
		return nil
	}
	if state.Head == nil {
		return fmt.Errorf("%s may be in the roster, which is forked", machine)
	}
	_, member := state.Head.MemberByIdentity(old.Identity)
	switch serves, err := s.serves(ctx, side, state.Head, old); {
	case err != nil:
		return err
	case serves:
		s.progress(Event{Word: fmt.Sprintf("%s is the same machine at another address: nothing is removed there", old.Name), Why: true})
	case member:
		return fmt.Errorf("%s is still in the roster", machine)
	default:
		if _, err := s.exists(ctx, old); err != nil && !old.Bought() && s.wasReached(machine) {
			return fmt.Errorf("%s was reached a while ago, and is not now: %w; run 'pressenter apply' again, which passes over one that is gone", machine, err)
		}
		if err := s.removeHost(ctx, side, old); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	side.inventory.DropReplaced(machine)
	return side.dir.SaveInventory(side.inventory)
}

// wasReached says whether a machine that was replaced was reached when the plan was made.
func (s *Session) wasReached(machine string) bool {
	return slices.ContainsFunc(s.have.Own.Replaced, func(o plan.ObservedHost) bool { return o.Host.Machine() == machine && o.Exists && o.Away == "" })
}

// serves says whether a machine that was replaced, or whose coming was taken back, turned out to be one that the roster has:
// the config had only spelt its server another way. One that is bought is nobody else.
func (s *Session) serves(ctx context.Context, side *sideState, head *roster.Roster, old deployment.Host) (bool, error) {
	if old.Bought() {
		return false, nil
	}
	is, err := s.identity(ctx, old)
	if _, member := head.MemberByIdentity(is); member {
		return true, nil
	}
	if old.Identity.IsZero() { // only it can say who it is
		if there, away := s.exists(ctx, old); err == nil || away != nil || !there {
			return false, nil
		}
		return false, fmt.Errorf("nobody can tell which host is at %s, and nothing is removed there before that is known: %w", old.Address, err)
	}
	now, known := side.inventory.Host(old.Name)
	if !known {
		return false, nil
	}
	is, err = s.identity(ctx, now)
	return is == old.Identity, err
}

// identity is who a host is by its own word, or by what is seen of it without its agent; zero where it is not enrolled.
func (s *Session) identity(ctx context.Context, h deployment.Host) (roster.Key, error) {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := s.Provider.Client(h)
	defer c.Close()
	st, err := c.Status(within)
	if err != nil {
		within, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		st, err = s.Provider.Inspect(within, h)
	}
	if err != nil || st.Enrolled == nil || len(st.Enrolled.Identity) != len(roster.Key{}) {
		return roster.Key{}, err
	}
	return roster.Key(st.Enrolled.Identity), nil
}

// vanished are those machines of the inventory, not wanted any more, that a plan would make again: somebody deleted them.
func vanished(p []string, wanted, all deployment.Inventory) []string {
	return slices.DeleteFunc(p, func(machine string) bool {
		_, is := wanted.OnMachineOf(machine)
		return is || !slices.ContainsFunc(all.All(), func(h deployment.Host) bool { return h.Machine() == machine })
	})
}
