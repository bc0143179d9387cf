package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// askTimeout bounds what one host is waited for.
const askTimeout = 5 * time.Second

// Observe looks at everything that is wanted or was there before.
func (s *Session) Observe(ctx context.Context) error {
	var err error
	s.have.Destroying = s.DestroyBegun()
	s.have.Unprotected = s.own.inventory.Unprotected && !s.have.Destroying
	if s.have.World, err = s.observe(ctx, s.world, s.want.World); err != nil {
		return err
	}
	if s.have.Own, err = s.observe(ctx, s.own, s.want.Own); err != nil {
		return err
	}
	staged := storePath(s.Dir, s.daemon.SHA256, s.daemon.Name)
	_, err = os.Stat(staged)
	s.have.Staged = err == nil
	_, err = os.Stat(filepath.Join(s.Dir.Genesis(), "prepared"))
	s.have.Prepared = err == nil
	s.have.Genesis = ""
	if sum, err := atomicfile.SHA256(filepath.Join(s.Dir.Genesis(), "genesis.json")); err == nil {
		s.have.Genesis = sum
		if s.want.Chain.GenesisSHA256, err = roster.ParseHash(sum); err != nil {
			return err
		}
	}
	s.witnessed = s.signed(ctx)
	s.have.Signing = s.witnessed > 0
	return nil
}

// Look observes without deciding.
func (s *Session) Look(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	return s.Observe(ctx)
}

// Witnessed is the newest height for which another validator held our precommit at the last look, 0 = none.
func (s *Session) Witnessed() int64 { return s.witnessed }

// observe looks at one deployment. Rosters that hosts know and we do not are adopted.
func (s *Session) observe(ctx context.Context, side *sideState, want deployment.Inventory) (plan.ObservedDeployment, error) {
	out, err := s.look(ctx, side, want, true)
	if err != nil {
		return out, err
	}
	_, err = keyring.Protected(side.dir.Operator())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return out, err
	}
	out.Keyring = err == nil
	state := side.rosters.State()
	out.Head, out.Fork = state.Head, state.Fork
	for _, h := range state.Heads {
		out.Heads = append(out.Heads, h.String())
	}
	return out, nil
}

// look sees how all hosts of a deployment are.
func (s *Session) look(ctx context.Context, side *sideState, want deployment.Inventory, adopts bool) (plan.ObservedDeployment, error) {
	out := plan.ObservedDeployment{Hosts: map[string]plan.ObservedHost{}}
	hosts := map[string]deployment.Host{}
	for _, h := range want.Hosts {
		hosts[h.Name] = h
	}
	for _, h := range side.inventory.Hosts {
		if _, wanted := hosts[h.Name]; !wanted || h.Exists() { // it is where the host is
			hosts[h.Name] = h
		}
	}
	var g errgroup.Group
	g.SetLimit(askedAtOnce)
	for _, h := range hosts {
		g.Go(func() error {
			o := s.observeHost(ctx, side, h, adopts)
			s.mu.Lock()
			defer s.mu.Unlock()
			out.Hosts[h.Name] = o
			return nil
		})
	}
	out.Replaced = make([]plan.ObservedHost, len(side.inventory.Replaced))
	for i, h := range side.inventory.Replaced {
		g.Go(func() error { out.Replaced[i] = s.observeHost(ctx, side, h, adopts); return nil })
	}
	return out, g.Wait()
}

func (s *Session) observeHost(ctx context.Context, side *sideState, h deployment.Host, adopts bool) plan.ObservedHost {
	_, known := side.inventory.Host(h.Name) // an empty folder, or a mount point, is no host yet
	o := plan.ObservedHost{Host: h}
	if !known || !h.Exists() {
		return o
	}
	var err error
	if o.Exists, err = s.exists(ctx, h); err != nil {
		o.Exists, o.Away = true, err.Error() // it was made once, and nobody saw it gone
		return o
	}
	if !o.Exists {
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := s.Provider.Client(h)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		if o.Status, err = s.Provider.Inspect(ctx, h); err != nil {
			o.Away = err.Error()
		}
		o.BackedUp = o.Status.Enrolled != nil && side.dir.HasBackup(h.Name, o.Status.Enrolled.Backup)
		return o
	}
	o.Agent, o.Status = true, st
	o.BackedUp = st.Enrolled != nil && side.dir.HasBackup(h.Name, st.Enrolled.Backup)
	if !adopts {
		return o
	}
	if err := s.adopt(ctx, side, c, st); err != nil {
		s.progress(Event{Word: fmt.Sprintf("rosters of %s were not adopted: %v", h.Name, err)})
	}
	return o
}

// existsTimeout bounds how long it may take to find out whether a host is there, a login included.
const existsTimeout = 15 * time.Second

func (s *Session) exists(ctx context.Context, h deployment.Host) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, existsTimeout)
	defer cancel()
	return s.Provider.Exists(ctx, h)
}

// adopt learns what a host knows of the roster and we do not: another operator was here.
func (s *Session) adopt(ctx context.Context, side *sideState, c *api.Client, st api.HostStatus) error {
	known := map[string]bool{}
	for _, e := range side.rosters.Envelopes() {
		known[e.Hash().String()] = true
	}
	if !slices.ContainsFunc(st.Roster.Heads, func(h string) bool { return !known[h] }) {
		return nil
	}
	reply, err := c.Rosters(ctx)
	if err != nil {
		return err
	}
	envs := make([]roster.Envelope, 0, len(reply.Envelopes))
	for _, b := range reply.Envelopes {
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			return err
		}
		envs = append(envs, e)
	}
	return side.rosters.Learn(envs)
}

// signed asks the world's validators for the newest commit that holds a signature of ours.
func (s *Session) signed(ctx context.Context) int64 {
	o, ok := s.have.Own.Hosts["validator"]
	if !ok || o.Status.Enrolled == nil || len(o.Status.Enrolled.Consensus) == 0 {
		return 0
	}
	pub := o.Status.Enrolled.Consensus
	if len(o.Status.Signing.PublicKey) > 0 {
		pub = o.Status.Signing.PublicKey
	}
	commit, found := s.witness(ctx, signing.Address(pub))
	if !found {
		return 0
	}
	return commit.Height
}

// moreCommits is how many further commits are looked at before a validator that should sign is said not to.
const moreCommits = 2

// lookAgain looks at the next commits where the newest had no signature of a validator that is armed and runs: one block
// that it missed is nothing that a plan has to change.
func (s *Session) lookAgain(ctx context.Context) {
	o := s.have.Own.Hosts["validator"]
	if s.have.Signing || o.Status.Signing.State != signing.Armed || !o.Status.Node.Answers || o.Status.Node.CatchingUp {
		return
	}
	each := s.blockTime()
	if s.want.Existing() { // a network that can do without a vote does not wait for one, and what it takes for a block is an estimate
		each = max(each, usualBlockTime)
	}
	ctx, cancel := context.WithTimeout(ctx, (moreCommits+1)*(each+time.Second))
	defer cancel()
	t := time.NewTicker(s.blockTime() / 4)
	defer t.Stop()
	for ctx.Err() == nil && !s.have.Signing {
		select {
		case <-ctx.Done():
		case <-t.C:
			s.witnessed = s.signed(ctx)
			s.have.Signing = s.witnessed > 0
		}
	}
}

// fresh is how old the newest block of others may be to say anything about now. It is generous: a clock that is wrong by
// less costs nothing.
const fresh = time.Minute

// witness asks the others for the newest LastCommit that any of them has, and says whether it holds a
// precommit of address. A node that is behind, and a chain that stands still, bear no witness.
func (s *Session) witness(ctx context.Context, address string) (api.Commit, bool) {
	newest := s.newestCommit(ctx)
	if time.Since(newest.Time) > fresh {
		return api.Commit{}, false
	}
	return newest, slices.Contains(newest.Signers, address)
}

// newestCommit is the newest that any of the others has; of height 0 where nobody has one.
func (s *Session) newestCommit(ctx context.Context) api.Commit {
	var newest api.Commit
	for _, h := range s.others() {
		c := s.Provider.Client(h)
		commit, err := c.Commit(ctx)
		c.Close()
		if err == nil && commit.Height > newest.Height {
			newest = commit
		}
	}
	return newest
}

// takenPorts are the ports that hosts of ours have already, running or not.
func takenPorts(inventories ...deployment.Inventory) []int {
	var out []int
	for _, i := range inventories {
		for _, h := range i.Hosts {
			out = append(out, node.Port(h.Listen.P2P), node.Port(h.Listen.RPC), node.Port(h.Listen.Mesh), node.Port(h.Listen.Relay))
		}
	}
	return out
}
