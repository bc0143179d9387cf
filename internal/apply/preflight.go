package apply

import (
	"context"
	"slices"

	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/tofu"
)

// preflight asks the clouds whether the machines can be had that a plan would buy. A plan that buys none asks nobody.
func (s *Session) preflight(ctx context.Context, w *provision.Workspace, p *provision.Plan) ([]provision.Check, error) {
	spec, again := p.Spec, map[string]bool{}
	spec.Hosts = map[string]tofu.Host{}
	for _, c := range p.Changes {
		h, wanted := p.Spec.Hosts[c.Host]
		if c.Kind == provision.Server && wanted && (c.Action == provision.Create || c.Action == provision.Replace) {
			spec.Hosts[c.Host], again[c.Host] = h, c.Action == provision.Replace
		}
	}
	if len(spec.Hosts) == 0 || s.Cloud.Unasked {
		return nil, nil
	}
	s.progress(Event{Word: "asking the clouds whether the machines can be had"})
	checks, err := w.Preflight(ctx, spec)
	return slices.DeleteFunc(checks, func(c provision.Check) bool { return c.What == "name" && again[c.Host] }), err // its own
}

// Answers are what was found of the clouds before anything is bought.
type Answers struct {
	Tool   provision.Tool
	Clouds []string // in which machines are wanted or there
	Checks []provision.Check
}

// AskClouds asks the clouds about the machines of the config that are not bought yet. Its tool is zero where none are.
func (s *Session) AskClouds(ctx context.Context) (Answers, error) {
	if err := s.prepare(); err != nil {
		return Answers{}, err
	}
	o := Answers{Clouds: s.clouds()}
	if len(o.Clouds) == 0 {
		return o, nil
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return o, err
	}
	o.Tool = w.Tool
	missing, begun := s.want.Own, map[string]bool{}
	for _, h := range s.want.Own.Hosts {
		was, known := s.own.inventory.Host(h.Name)
		if known && was.Address != "" || !h.Bought() {
			missing.Drop(h.Name)
		}
		begun[h.Machine()] = known // by an apply that was cut off: it may have its name already
	}
	if len(missing.Hosts) == 0 {
		return o, nil
	}
	if missing.MachinesID == "" {
		missing.MachinesID = unbornID
	}
	checks, err := w.Preflight(ctx, plan.Machines(missing, []string{unbornKey}))
	o.Checks = slices.DeleteFunc(checks, func(c provision.Check) bool { return c.What == "name" && begun[c.Host] })
	return o, err
}
