package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/provision"
)

// unprotectMachines takes the clouds' protection off what returning machines will destroy.
func (s *Session) unprotectMachines(ctx context.Context) error {
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	p, err := s.planMachines(ctx, w, s.want.Own)
	if err != nil {
		return err
	}
	_, err = s.unprotect(ctx, w, p)
	return err
}

// StillProtected says that a destroy cannot begin, because a cloud would not let its machines go.
type StillProtected struct{ Err error }

// Error implements error.
func (e *StillProtected) Error() string {
	return fmt.Sprintf("the clouds' protection could not be taken off: %v", e.Err)
}

// Unwrap returns the cause.
func (e *StillProtected) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *StillProtected) Hint() string {
	return "nothing was destroyed. Check that the credentials may change machines, then run 'pressenter destroy' again; 'pressenter apply' protects again what was let go"
}

// release takes the clouds' protection off all machines before the first host is destroyed: a cloud that refuses that would
// leave machines that run nothing and are paid for.
func (s *Session) release(ctx context.Context) error {
	if len(s.own.inventory.Clouds) == 0 {
		return nil
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	w.Former = s.former
	if _, err := s.recoverMachines(ctx, w, s.nothing()); err != nil {
		return err
	}
	p, err := w.Plan(ctx, s.nothing())
	if err != nil {
		return err
	}
	if len(p.Protected()) > 0 {
		s.own.inventory.Unprotected = true
		if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
			return err
		}
	}
	if _, err := s.unprotect(ctx, w, p); err != nil {
		return &StillProtected{err}
	}
	return nil
}

// unprotect takes the protection off whatever p would destroy, by a run of its own, and returns what that changed.
func (s *Session) unprotect(ctx context.Context, w *provision.Workspace, p *provision.Plan) ([]provision.Change, error) {
	hosts := p.Protected()
	if len(hosts) == 0 {
		return nil, nil
	}
	u, err := w.Unprotect(ctx, p)
	if err != nil {
		return nil, err
	}
	s.progress(Event{Word: "the clouds' protection is taken off " + strings.Join(hosts, ", "), Why: true})
	return u.Changes, w.Apply(ctx, u)
}

// applyMachines does a plan of machines, what is protected unprotected first.
func (s *Session) applyMachines(ctx context.Context, w *provision.Workspace, p *provision.Plan) error {
	if len(p.Protected()) == 0 {
		return w.Apply(ctx, p)
	}
	changed, err := s.unprotect(ctx, w, p)
	if err != nil {
		return err
	}
	next, err := w.Plan(ctx, p.Spec)
	if err != nil {
		return err
	}
	for _, c := range next.Changes {
		expected := func(o provision.Change) bool {
			return o.Address == c.Address && (o.Loses() || o.Action == provision.Create)
		}
		if c.Loses() && !slices.ContainsFunc(slices.Concat(p.Changes, changed), expected) {
			return fmt.Errorf("the machines changed while their protection was taken off: %s %s was not in the plan; run it again", c.Action, c.Address)
		}
	}
	return w.Apply(ctx, next)
}
