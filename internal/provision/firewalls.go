package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// MoreThanFirewalls says that firewalls cannot be changed without losing or making something else.
type MoreThanFirewalls struct{ Change Change }

// Error implements error.
func (e *MoreThanFirewalls) Error() string {
	return fmt.Sprintf("more than firewalls would change: %s %s", e.Change.Action, e.Change.Address)
}

// Hint says what to do. A plan of all machines is no way out: it ends where one of them lets nobody in.
func (e *MoreThanFirewalls) Hint() string {
	return "let yourself in at the cloud's console, by the firewalls of the machines; then 'pressenter plan' shows what has changed there"
}

// Firewalls plans that the firewalls of all machines that the state knows let in the operators of spec, and nothing else:
// whatever else has changed, in the clouds or since the last run, stays as it is. [Workspace.Recover] comes before it.
func (w *Workspace) Firewalls(ctx context.Context, spec tofu.Spec) (*Plan, error) {
	known, err := w.readState(ctx)
	if err != nil {
		return nil, err
	}
	last, err := w.applied(spec)
	if err != nil {
		return nil, err
	}
	last.AdminCIDRs = spec.AdminCIDRs
	hosts, targets := map[string]bool{}, map[string]bool{}
	for address := range known {
		hosts[hostOf(address)] = true
		if kindOf(typeOf(address)) == Firewall { // all of that type: a rule for another network is another address
			all, _, _ := strings.Cut(address, "[")
			targets["-target="+all] = true
		}
	}
	maps.DeleteFunc(last.Hosts, func(name string, _ tofu.Host) bool { return !hosts[name] })
	if len(targets) == 0 {
		return &Plan{Spec: last}, nil
	}
	if last, err = w.keep(ctx, last); err != nil {
		return nil, fmt.Errorf("plan firewalls: %w", err)
	}
	p, err := w.plan(ctx, last, slices.Sorted(maps.Keys(targets))...)
	if err == nil {
		err = w.doubt(p)
	}
	if err != nil {
		return nil, fmt.Errorf("plan firewalls: %w", err)
	}
	for _, c := range p.Changes {
		_, there := last.Hosts[hostOf(c.Address)]
		if c.Kind == Firewall && there || c.Action == Update {
			continue
		}
		return nil, fmt.Errorf("plan firewalls: %w", &MoreThanFirewalls{c})
	}
	return p, nil
}
