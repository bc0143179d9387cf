package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// Unproven says that nobody can tell from the chain that the validator's key is silent.
type Unproven struct{ Why string }

// Error implements error.
func (u *Unproven) Error() string {
	return "it is not proven that the validator's key is silent: " + u.Why
}

// Gone names the validator that a plan makes anew although the deployment has a consensus key, "" where it does nothing of
// the kind.
func Gone(p plan.Plan) string {
	for _, st := range p.Steps() {
		switch st := st.(type) {
		case plan.Enroll:
			if st.Anew {
				return st.Name
			}
		case plan.PublishRoster:
			if st.Anew != "" {
				return st.Anew
			}
		}
	}
	return ""
}

// mayMakeAnew refuses a plan that makes a validator anew unless a person let this session do that.
func (s *Session) mayMakeAnew(p plan.Plan) error {
	if name := Gone(p); name != "" && name != s.Anew {
		return MakesAnew(name)
	}
	return nil
}

// MakesAnew refuses what would make a validator anew by the way.
func MakesAnew(name string) error {
	return &plan.Refusal{
		Why: fmt.Sprintf("this would make %s anew, and another host may have its key", name),
		Next: fmt.Sprintf("run 'pressenter apply --replace-lost', which proves that the key is silent before it does that; "+
			"if %s is not lost, see 'pressenter status' for what became of it", name),
	}
}

// ProveSilence watches the chain from now on until others have made as many blocks without a signature of the deployment's
// consensus key as a host must see before it arms one (agent's watchSilence). An *Unproven says that it could not be seen.
//
// Those who watch are the network's other validators and the sentries, each by its own node. At least one sentry must be
// linked to the network: through it, or it alone, would go what a validator signs that lives. On a network that is there already
// no validator but ours answers us, so there two sentries have to be, where there are two.
func (s *Session) ProveSilence(ctx context.Context) error {
	pub := s.AssignedKey()
	if pub.IsZero() {
		return nil // nobody ever had it
	}
	least, most := s.watchTimes()
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	w, err := s.silenceWatch(ctx, signing.Address(pub.Public()))
	defer w.close()
	if err != nil {
		return err
	}
	w.least = least
	t := time.NewTicker(s.blockTime() / 4)
	defer t.Stop()
	for begun := time.Now(); w.silent() < signing.SilentBlocks || time.Since(begun) < least; {
		select {
		case <-ctx.Done():
			return w.tooFew()
		case <-t.C:
		}
		if err := w.look(ctx); err != nil {
			return err
		}
		s.progress(Event{Word: fmt.Sprintf("block %d is not signed by the key (%d of %d)", w.height(), w.silent(), signing.SilentBlocks)})
	}
	_, err = s.linkedSentries(ctx)
	return err
}

// watchTimes are how long a watch takes at least and at most. Who shows blocks faster than they are made replays them. Where
// nobody told how fast that is, a watch also takes longer than who watches may be late.
func (s *Session) watchTimes() (least, most time.Duration) {
	least = s.blockTime() * signing.SilentBlocks * 9 / 10
	if s.want.Existing() {
		least = max(least, 2*fresh)
	}
	return least, least + 2*signing.SilentBlocks*s.blockTime() + fresh
}

// silenceWatch are those who watch whether a key is silent.
type silenceWatch struct {
	address string
	least   time.Duration
	by      []*watcher
}

// tooFew says that the watch ended too early.
func (w *silenceWatch) tooFew() error {
	return &Unproven{fmt.Sprintf("%d blocks without its signature were seen, and %d are needed, over %v", w.silent(), signing.SilentBlocks, w.least)}
}

// watcher is one of them. It has read the commits of the heights from, up to before next.
type watcher struct {
	host       deployment.Host
	client     *api.Client
	from, next int64
}

// silenceWatch finds those who can watch now.
func (s *Session) silenceWatch(ctx context.Context, address string) (*silenceWatch, error) {
	w := &silenceWatch{address: address}
	linked, err := s.linkedSentries(ctx)
	if err != nil {
		return w, err
	}
	of := map[bool]int{}
	var why []error
	for _, side := range []*sideState{s.world, s.own} {
		for _, h := range side.inventory.Hosts {
			if side == s.own && !slices.Contains(linked, h.Name) {
				continue
			}
			h = serving(side, h)
			if err := s.watchedBy(ctx, side, h, w); err != nil {
				why = append(why, fmt.Errorf("%s: %w", h.Name, err))
				continue
			}
			of[side == s.own]++
		}
	}
	switch {
	case len(s.world.inventory.Hosts) > 0 && of[false] == 0:
		return w, &Unproven{fmt.Sprintf("no other validator of the network answers (%v)", errors.Join(why...))}
	case of[true] == 0:
		return w, &Unproven{fmt.Sprintf("no sentry that is linked to the network answers (%v)", errors.Join(why...))}
	case s.want.Existing() && of[true] < min(2, sentriesOf(s.own.inventory)):
		return w, &Unproven{fmt.Sprintf("one sentry alone says so: another one that is linked to the network has to, too (%v)", errors.Join(why...))}
	}
	return w, nil
}

// watchedBy lets a host watch too, if it can. An agent of another build, which may not know how, is replaced by one of this
// build first, as the plan does next.
func (s *Session) watchedBy(ctx context.Context, side *sideState, h deployment.Host, w *silenceWatch) error {
	have := s.have.Own
	if side == s.world {
		have = s.have.World
	}
	if plan.OtherBuild(s.want, have.Hosts[h.Name]) {
		if err := s.restartAgent(ctx, h); err != nil {
			return err
		}
	}
	c := s.Provider.Client(h)
	seen, err := c.Seen(ctx, w.address, 0)
	if err != nil {
		c.Close()
		return err
	}
	w.by = append(w.by, &watcher{h, c, seen.Height + 1, seen.Height + 1})
	return nil
}

// linkedSentries are the sentries whose nodes have links to the network. It is an *Unproven where one has a link to the node
// of the validator that is to be lost.
func (s *Session) linkedSentries(ctx context.Context) ([]string, error) {
	head := s.own.rosters.State().Effective
	ours := map[string]roster.Member{}
	for _, m := range head.Members {
		ours[m.NodeID] = m
	}
	var out []string
	for _, h := range s.own.inventory.Hosts {
		if h.Role != roster.RoleSentry {
			continue
		}
		c := s.Provider.Client(serving(s.own, h))
		st, err := c.Status(ctx)
		c.Close()
		if err != nil {
			continue
		}
		for _, p := range st.Node.Peers {
			m, is := ours[p.NodeID]
			if is && m.Role == roster.RoleValidator {
				return nil, &Unproven{fmt.Sprintf("%s has a link to the node of %s, which runs, or ran until two minutes ago: a link that broke off is noticed that late", h.Name, m.Name)}
			}
			if !is && !slices.Contains(out, h.Name) {
				out = append(out, h.Name)
			}
		}
	}
	return out, nil
}

// look lets everybody read what is new, each a part at a time.
func (w *silenceWatch) look(ctx context.Context) error {
	for _, b := range w.by {
		for range signing.SilentBlocks {
			read, err := w.read(ctx, b)
			if err != nil {
				return err
			}
			if !read {
				break
			}
		}
	}
	return nil
}

// read lets one watcher read the next commit, where there is one. It is an *Unproven where what it sees proves nothing.
func (w *silenceWatch) read(ctx context.Context, b *watcher) (bool, error) {
	seen, err := b.client.Seen(ctx, w.address, b.next)
	switch {
	case err != nil && ctx.Err() != nil:
		return false, w.tooFew()
	case err != nil:
		return false, &Unproven{fmt.Sprintf("%s does not tell any more what it sees: %v", b.host.Name, err)}
	case time.Since(seen.Time).Abs() > fresh:
		return false, &Unproven{fmt.Sprintf("the newest block that %s has is of %s: the chain stands still, or a clock is wrong", b.host.Name, seen.Time.Format(time.RFC3339))}
	case !seen.InSet:
		return false, &Unproven{"the validator is not in the active set, where nobody signs: a key that is silent there may sign once it is back"}
	case seen.Signed:
		return false, &Unproven{fmt.Sprintf("it signed block %d, as %s sees it", b.next, b.host.Name)}
	}
	if seen.Height <= b.next {
		return false, nil
	}
	b.next++
	return true, nil
}

// silent is how many blocks in a row everybody saw without the signature.
func (w *silenceWatch) silent() int64 {
	if len(w.by) == 0 {
		return 0
	}
	n := int64(signing.SilentBlocks)
	for _, b := range w.by {
		n = min(n, b.next-b.from)
	}
	return n
}

// height is the newest of those blocks.
func (w *silenceWatch) height() int64 {
	var out int64
	for _, b := range w.by {
		out = max(out, b.next-1)
	}
	return out
}

func (w *silenceWatch) close() {
	for _, b := range w.by {
		b.client.Close()
	}
}

// sentriesOf is how many sentries there are.
func sentriesOf(i deployment.Inventory) (n int) {
	for _, h := range i.Hosts {
		if h.Role == roster.RoleSentry {
			n++
		}
	}
	return n
}
