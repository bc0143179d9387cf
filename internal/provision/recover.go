package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// Recovery is what earlier runs left that the state did not know.
type Recovery struct {
	// Taken are now in the state. What nobody wants any more is destroyed by the next plan.
	Taken []tofu.Import
	// Unknown may exist and cost money: their making was begun, nobody saw its end, and their cloud cannot be asked for
	// them; or there are two of what should be one. Each says what it is and what is known of it.
	Unknown []string
}

// Empty says that the state knew everything.
func (r Recovery) Empty() bool { return len(r.Taken) == 0 && len(r.Unknown) == 0 }

// Recover finds what earlier runs made and the state does not know, and takes it into the state; nothing changes in any
// cloud that the earlier run was not already told to do. A run that still goes on is waited for. Spec is what is wanted now: of
// it only the name, id and keys are used, and hosts that no run knows.
//
// With lost it asks the clouds in any case, which it also does if the state is gone: then all that carries the
// deployment's id is taken in, and what cannot be found so from the journals of all runs.
func (w *Workspace) Recover(ctx context.Context, spec tofu.Spec, lost bool) (Recovery, error) {
	all, err := w.runs()
	if err != nil {
		return Recovery{}, err
	}
	open, err := w.unsettled(ctx, all)
	if err != nil {
		return Recovery{}, err
	}
	lost = lost || w.gone(all)
	if len(open) == 0 && !lost {
		w.recovered = true
		return Recovery{}, nil
	}
	l := newLedger(spec)
	replayed := open
	if lost {
		replayed = all
	}
	for _, r := range replayed {
		if err := l.add(r); err != nil {
			return Recovery{}, err
		}
	}
	out, err := w.recover(ctx, l, open, lost)
	if err != nil {
		return out, err
	}
	w.recovered = true
	if len(out.Unknown) == 0 && len(open) > 0 {
		return out, w.settle()
	}
	return out, nil
}

func (w *Workspace) recover(ctx context.Context, l *ledger, open []*run, lost bool) (Recovery, error) {
	if err := w.mend(open); err != nil {
		return Recovery{}, fmt.Errorf("mend the state: %w", err)
	}
	for _, h := range l.spec.Hosts {
		l.spec.Keep = union(l.spec.Keep, []string{h.Cloud})
	}
	w.kept = l.spec.Keep
	if err := w.prepare(ctx, l.spec); err != nil {
		return Recovery{}, err
	}
	if err := w.pushErrored(ctx); err != nil {
		return Recovery{}, err
	}
	known, err := w.readState(ctx)
	if err != nil {
		return Recovery{}, err
	}
	c := compare(l, known)
	if lost || len(c.missing) > 0 || len(c.begun) > 0 {
		found, err := w.Sweep(ctx, l.spec.ID)
		if err != nil {
			return Recovery{}, err
		}
		c.take(found, w.sweeps())
	}
	out := Recovery{Unknown: c.names()}
	out.Taken, err = w.adopt(ctx, l, c, known)
	return out, err
}

// unsettled are the runs of which the state may not know everything, all of them ended.
func (w *Workspace) unsettled(ctx context.Context, all []*run) ([]*run, error) {
	var open []*run
	for _, r := range all {
		if r.Settled {
			continue
		}
		open = append(open, r)
		if !r.Process.IsZero() && r.Process.Alive() {
			w.tell(Event{Message: fmt.Sprintf("an earlier run goes on (process %d): waiting for its end", r.Process.PID)})
			if err := w.follow(ctx, r, nil); err != nil && ctx.Err() != nil {
				return nil, err
			}
		}
		n, err := w.endLeftovers(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("end what an earlier run left running: %w", err)
		}
		if n > 0 {
			w.warn("%d providers of an earlier run, whose tool was killed, were still running and were ended", n)
		}
	}
	return open, nil
}

// comparison is what the journals and the clouds have beyond the state, by address.
type comparison struct {
	ledger  *ledger
	known   state
	missing map[string]string // ids to take in
	stale   []string          // addresses at which the state has what is there no more
	begun   map[string]bool
	odd     []string // words about what does not fit
}

// compare holds the journals against the state.
func compare(l *ledger, known state) *comparison {
	c := &comparison{ledger: l, known: known, missing: map[string]string{}, begun: map[string]bool{}}
	for address, id := range l.made {
		switch have, there := known[address]; {
		case !there:
			c.missing[address] = id
		case sameID(have, id):
		case l.gone[address+" "+have]:
			c.missing[address] = id
			c.stale = append(c.stale, address)
		default:
			c.odd = append(c.odd, fmt.Sprintf("%s: the journal has %s, the state %s", address, id, have))
		}
	}
	for address, id := range known {
		if l.gone[address+" "+id] && l.made[address] == "" {
			c.stale = append(c.stale, address)
		}
	}
	maps.Copy(c.begun, l.begun)
	return c
}

// take adds what the clouds say. Swept are the types that they were asked for: of these nothing remains in doubt.
func (c *comparison) take(found []tofu.Found, swept map[string]bool) {
	there := map[string][]string{}
	for _, f := range found {
		address := f.Address()
		if address == "" {
			c.odd = append(c.odd, fmt.Sprintf("%s %s (%s) carries the deployment's id, and no host has such a thing", f.Type, f.ID, f.Name))
			continue
		}
		there[address] = append(there[address], f.ID)
	}
	for address, ids := range there {
		have, known := c.known[address]
		is := func(id string) func(string) bool { return func(other string) bool { return sameID(id, other) } }
		mine := ids[0]
		switch {
		case known && slices.ContainsFunc(ids, is(have)):
			mine = have
			delete(c.missing, address)
			c.stale = slices.DeleteFunc(c.stale, func(a string) bool { return a == address })
		case c.missing[address] != "" && slices.ContainsFunc(ids, is(c.missing[address])):
			mine = c.missing[address]
		default:
			c.missing[address] = mine
			if known && !slices.Contains(c.stale, address) {
				c.stale = append(c.stale, address)
			}
		}
		for _, id := range ids {
			if !sameID(id, mine) {
				c.odd = append(c.odd, fmt.Sprintf("%s: %s is a second one, beside %s", address, id, mine))
			}
		}
		delete(c.begun, address)
	}
	for address := range c.begun {
		if swept[typeOf(address)] {
			delete(c.begun, address)
		}
	}
}

// names are words about what nobody can tell.
func (c *comparison) names() []string {
	out := slices.Clone(c.odd)
	for _, address := range slices.Sorted(maps.Keys(c.begun)) {
		if _, there := c.known[address]; there && !slices.Contains(c.stale, address) {
			continue // it was noted, with the error that it ended with
		}
		out = append(out, fmt.Sprintf("%s: its making was begun and not seen to end, and the cloud cannot be asked for it; it would be called %s",
			address, c.ledger.nameOf(address)))
	}
	slices.Sort(out)
	return out
}

// nameOf is what to look for in the cloud's console.
func (l *ledger) nameOf(address string) string {
	return strings.TrimSuffix(tofu.ResourceName(l.spec.Deployment, l.spec.ID, hostOf(address)), "-")
}
