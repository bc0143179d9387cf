package provision

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/pressenter/pressenter/tofu"
)

// lockTimeout is how long somebody else's lock on the state is waited for, unless a Workspace says otherwise.
const lockTimeout = "20s"

func (w *Workspace) lockWait() string { return cmp.Or(w.lockTimeout, lockTimeout) }

// Plan is what would change. It holds for the state that it was made for, and until the next plan is made.
type Plan struct {
	Spec    tofu.Spec // as planned: with the clouds to keep
	Changes []Change

	file   string
	digest [sha256.Size]byte
	learns bool // the state would know better, and nothing else
}

// Empty says that nothing would change in any cloud. The state may still learn something, an address that the cloud
// changed for one: Apply of an empty plan sees to that, and otherwise costs nothing.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// GivesBack says whether the server of a host is destroyed.
func (p *Plan) GivesBack(host string) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Kind == Server && c.Action == Destroy && c.Host == host })
}

// Vanished are the hosts whose servers the state has and p, a plan of no machines, does not destroy: their clouds say that
// there are none.
func (w *Workspace) Vanished(ctx context.Context, p *Plan) ([]string, error) {
	known, err := w.readState(ctx)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for address := range known {
		if host := hostOf(address); kindOf(typeOf(address)) == Server && !p.GivesBack(host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// ErrUnrecovered says that an earlier run may have made what the state does not know, or that the state is gone: a plan
// would make everything twice.
var ErrUnrecovered = errors.New("an earlier run was cut off, or the state is gone: recover first")

// Plan says what has to change so that there are exactly the machines of spec. [Workspace.Recover] comes before it.
func (w *Workspace) Plan(ctx context.Context, spec tofu.Spec) (*Plan, error) {
	all, err := w.runs()
	if err != nil {
		return nil, err
	}
	open := w.gone(all) || unnoted(all)
	for _, r := range all {
		open = open || !r.Settled
	}
	if open && !w.recovered {
		return nil, fmt.Errorf("plan machines: %w", ErrUnrecovered)
	}
	if spec, err = w.keep(ctx, spec); err != nil {
		return nil, fmt.Errorf("plan machines: %w", err)
	}
	p, err := w.plan(ctx, spec)
	if err == nil {
		err = w.doubt(p)
	}
	if err != nil {
		return nil, fmt.Errorf("plan machines: %w", err)
	}
	return p, nil
}

// plan makes a plan with further arguments.
func (w *Workspace) plan(ctx context.Context, spec tofu.Spec, args ...string) (*Plan, error) {
	files, err := tofu.Root(spec)
	if err != nil {
		return nil, err
	}
	if err := w.prepareFiles(ctx, files); err != nil {
		return nil, err
	}
	p := &Plan{Spec: spec, file: w.path(planFile)}
	args = append([]string{"plan", "-input=false", "-no-color", "-detailed-exitcode", "-lock-timeout=" + w.lockWait(), "-out=" + p.file}, args...)
	err = w.ready(ctx, files, func() (err error) {
		p.learns, err = w.run(ctx, command{args: args})
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.learns {
		_, err = w.run(ctx, command{args: []string{"show", "-json", p.file}, read: func(r io.Reader) (err error) {
			p.Changes, err = read(r)
			return err
		}})
		if err != nil {
			return nil, fmt.Errorf("read the plan: %w", err)
		}
		if err := w.recallProtection(p); err != nil {
			return nil, err
		}
	}
	p.digest, err = digest(p.file)
	return p, err
}

func digest(file string) ([sha256.Size]byte, error) {
	b, err := os.ReadFile(file)
	return sha256.Sum256(b), err
}

// Apply does what the plan says, and nothing else. What a failed or interrupted apply made is known to the next Recover.
func (w *Workspace) Apply(ctx context.Context, p *Plan) error {
	if err := p.refuse(); err != nil {
		return fmt.Errorf("make machines: %w", err)
	}
	if p.Empty() && !p.learns {
		return w.settle()
	}
	if now, err := digest(p.file); err != nil || now != p.digest {
		return errors.Join(errors.New("make machines: another plan was made since this one"), err)
	}
	if err := w.apply(ctx, p); err != nil {
		return fmt.Errorf("make machines: %w", err)
	}
	return w.settle()
}
