package provision

import (
	"context"
	"fmt"

	"github.com/pressenter/pressenter/tofu"
)

// Recovery is what earlier runs left that the state did not know.
type Recovery struct {
	// Lost: the state was gone, and the clouds were asked for all that there is.
	Lost bool
	// Taken are now in the state. What nobody wants any more is destroyed by the next plan.
	Taken []tofu.Import
	// Unknown may exist and cost money: their making was begun, nobody saw its end, and their cloud cannot be asked for
	// them; or there are two of what should be one. Each says what it is and what is known of it.
	Unknown []string
	// Missing are hosts of [Workspace.Former] of which no machine was found, though the state was gone and all were looked for.
	Missing []string
}

// Empty says that the state knew everything.
func (r Recovery) Empty() bool { return len(r.Taken) == 0 && len(r.Unknown) == 0 }

// Recover finds what earlier runs made and the state does not know, and takes it into the state; nothing changes in any
// cloud. A run that still goes on is waited for. Spec is what is wanted now: of
// it only the name, id and keys are used, and hosts that no run knows.
//
// With lost it asks the clouds in any case, which it also does if the state is gone: then all that carries the
// deployment's id is taken in, and what cannot be found so from the journals of all runs. If these are gone, too, what
// the machines of Former may have and no cloud lists is unknown. What is in doubt no plan makes anew, unless somebody
// Looked.
func (w *Workspace) Recover(ctx context.Context, spec tofu.Spec, lost bool) (Recovery, error) {
	all, err := w.runs()
	if err != nil {
		return Recovery{}, err
	}
	open, err := w.unsettled(ctx, all)
	if err != nil {
		return Recovery{}, err
	}
	lost = lost || w.gone(all) || w.has(lostFile)
	if len(open) == 0 && !lost && !unnoted(all) {
		w.recovered = true
		return Recovery{}, nil
	}
	if lost { // until all is found: a search that is cut off half way begins again
		if err := w.markLost(); err != nil {
			return Recovery{}, err
		}
	}
	l := newLedger(spec)
	for name, h := range w.Former {
		if _, wanted := l.spec.Hosts[name]; !wanted {
			l.spec.Hosts[name] = h
		}
	}
	replayed := open
	if lost || unnoted(all) {
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
	w.unknown = len(out.Unknown) > 0 && !w.Looked
	if len(out.Unknown) == 0 && len(out.Missing) == 0 || w.Looked {
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
	if lost || l.mute || len(c.missing) > 0 || len(c.begun) > 0 {
		found, err := w.Sweep(ctx, l.spec.ID)
		if err != nil {
			return Recovery{}, err
		}
		c.take(found, w.sweeps())
	}
	out := Recovery{Lost: lost, Unknown: c.names()}
	if out.Taken, err = w.adopt(ctx, l, c, known); err != nil {
		return out, err
	}
	c.holdUnseen()
	w.held = c.held
	if lost {
		err = w.searched(ctx, l, &out)
	}
	if w.Looked {
		w.held = nil
	}
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
