package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// Protected are the hosts of which the plan destroys something that its cloud protects. The cloud would refuse that half
// way: Apply does not begin such a plan. [Workspace.Unprotect] plans the step before it.
func (p *Plan) Protected() []string {
	hosts := map[string]bool{}
	for _, c := range p.Changes {
		if c.Loses() && c.Protected {
			hosts[c.Host] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// Unprotect plans that the cloud's protection is taken off whatever p would destroy, and nothing else but that its firewall
// and its placement are made again where somebody deleted them. Once that is applied, plan the same spec again.
func (w *Workspace) Unprotect(ctx context.Context, p *Plan) (*Plan, error) {
	spec, err := w.applied(p.Spec)
	if err != nil {
		return nil, err
	}
	var targets []string
	for _, c := range p.Changes {
		if !c.Loses() || !c.Protected {
			continue
		}
		h, known := spec.Hosts[c.Host]
		if !known {
			return nil, fmt.Errorf("take the protection off %s: no run knows how %q was made; unprotect it in the cloud's console", c.Address, c.Host)
		}
		h.Protected = false
		spec.Hosts[c.Host] = h
		targets = append(targets, "-target="+c.Address)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("take protection off: nothing that is protected would be destroyed")
	}
	u, err := w.plan(ctx, spec, targets...)
	if err != nil {
		return nil, fmt.Errorf("plan to take protection off: %w", err)
	}
	for _, c := range u.Changes {
		again := c.Action == Create && (c.Kind == Firewall || c.Kind == Spread) // what the server needs to be changed at all
		if c.Action != Update && !again {
			return nil, fmt.Errorf("plan to take protection off: it would %s %s; apply what else has changed first", c.Action, c.Address)
		}
	}
	return u, nil
}

// recallProtection says of servers of which the state does not know it whether their cloud protects them: as they were
// applied last. Exoscale's provider does not read it back.
func (w *Workspace) recallProtection(p *Plan) error {
	for i, c := range p.Changes {
		if cloud, _ := tofu.Lookup(c.Cloud); !c.Loses() || c.Kind != Server || !c.unsaid || !cloud.Protects {
			continue
		}
		was, err := w.applied(p.Spec)
		if err != nil {
			return err
		}
		p.Changes[i].Protected = was.Hosts[c.Host].Protected
	}
	return nil
}

// applied is the configuration of the last run, with hosts of earlier ones that are not in it, and former ones that no run
// knows.
func (w *Workspace) applied(wanted tofu.Spec) (tofu.Spec, error) {
	all, err := w.runs()
	if err != nil {
		return tofu.Spec{}, err
	}
	spec := wanted
	hosts := maps.Clone(w.Former)
	if hosts == nil {
		hosts = map[string]tofu.Host{}
	}
	for _, r := range all {
		maps.Copy(hosts, r.Spec.Hosts)
		spec = r.Spec
	}
	spec.Hosts, spec.Imports, spec.Moved, spec.Removed = hosts, nil, nil, nil
	spec.Backend = wanted.Backend
	return spec, nil
}

// refuse says why a plan must not be begun.
func (p *Plan) refuse() error {
	if hosts := p.Protected(); len(hosts) > 0 {
		return fmt.Errorf("it destroys what is protected in its cloud, of %s: that has to be taken off first", strings.Join(hosts, ", "))
	}
	return nil
}
