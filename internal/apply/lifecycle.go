package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// Target is one host of either deployment.
type Target struct {
	side *sideState
	Host deployment.Host
	// World says that it belongs to the practice network's other validators.
	World bool
}

// Hosts are the hosts of the given names; all of them when there are none. Names of the world's hosts may be given
// as they are or with the deployment in front, "hub-world/w1"; a machine that is not its host, or not yet, by its own name.
func (s *Session) Hosts(names []string) ([]Target, error) {
	var all []Target
	for _, side := range []*sideState{s.world, s.own} {
		for _, h := range side.inventory.Hosts {
			all = append(all, Target{side, serving(side, h), side == s.world})
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	machines := s.machinesThere()
	var out []Target
	for _, name := range names {
		i := slices.IndexFunc(all, func(t Target) bool {
			return t.Host.Name == name || t.side.inventory.Deployment+"/"+t.Host.Name == name
		})
		if i >= 0 {
			out = append(out, all[i])
			continue
		}
		i = slices.IndexFunc(machines, func(t Target) bool { return t.Host.Machine() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no host %q; there are %s", name, hostNames(all))
		}
		out = append(out, machines[i])
	}
	return out, nil
}

// serving is the machine that is a host: one that is being replaced is that until the roster has another. Both are called by
// the names of their machines.
func serving(side *sideState, h deployment.Host) deployment.Host {
	for _, was := range side.inventory.Replaced {
		if was.Name != h.Name {
			continue
		}
		if head := side.rosters.State().Effective; head != nil {
			if _, member := head.MemberByIdentity(was.Identity); member {
				return was
			}
		}
		if !h.Exists() {
			return was
		}
	}
	return h
}

func hostNames(ts []Target) string {
	var out string
	for i, t := range ts {
		if i > 0 {
			out += ", "
		}
		out += t.Host.Name
	}
	return out
}

// Client asks the agent of a host.
func (s *Session) Client(t Target) *api.Client { return s.Provider.Client(t.Host) }

// Status asks a host how it is, or looks at it when its agent does not run.
func (s *Session) Status(ctx context.Context, t Target) (st api.HostStatus, agent bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := s.Provider.Client(t.Host)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		st, _ = s.Provider.Inspect(context.WithoutCancel(ctx), t.Host) // what cannot be told is empty, as of one that is down
		return st, false
	}
	return st, true
}

// Stop records on each host that a person wants its node down, and waits until it is. Sentries and the world are
// stopped after the validator, so that it never looks as if they had failed it. With agents true the agents end too.
func (s *Session) Stop(ctx context.Context, targets []Target, agents bool, report func(Target, error)) error {
	validatorsFirst := slices.Clone(targets)
	slices.SortStableFunc(validatorsFirst, func(a, b Target) int { return rank(a) - rank(b) })
	var errs []error
	for _, group := range byRank(validatorsFirst) {
		var g errgroup.Group
		for _, t := range group {
			g.Go(func() error {
				err := s.stopHost(ctx, t, agents)
				s.mu.Lock()
				defer s.mu.Unlock()
				report(t, err)
				return err
			})
		}
		errs = append(errs, g.Wait())
	}
	return errors.Join(errs...)
}

func rank(t Target) int {
	switch {
	case t.Host.Role == roster.RoleValidator:
		return 0
	case t.World:
		return 2
	}
	return 1
}

func byRank(ts []Target) [][]Target {
	out := make([][]Target, 3)
	for _, t := range ts {
		out[rank(t)] = append(out[rank(t)], t)
	}
	return out
}

// stopHost stops one node. An agent that does not run is started first: only it can record that a person said so.
func (s *Session) stopHost(ctx context.Context, t Target, agents bool) error {
	if there, err := s.Provider.Exists(ctx, t.Host); err != nil || !there {
		return err
	}
	if err := s.Provider.StartAgent(ctx, t.Host); err != nil {
		return err
	}
	if err := s.intend(ctx, t, api.Intent{Stopped: true, By: s.Who}); err != nil {
		return err
	}
	err := s.poll(ctx, t.Host, func(st api.HostStatus) error {
		if st.Node.Phase != "down" {
			return fmt.Errorf("its node is %s", st.Node.Phase)
		}
		return nil
	})
	if err != nil || !agents {
		return err
	}
	return s.Provider.StopAgent(ctx, t.Host)
}

func (s *Session) intend(ctx context.Context, t Target, i api.Intent) error {
	c := s.Provider.Client(t.Host)
	defer c.Close()
	_, err := c.SetIntent(ctx, i)
	return err
}

// Start takes back what Stop recorded: agents run, each is told the newest roster that any of them holds, and the
// nodes come up by themselves.
func (s *Session) Start(ctx context.Context, targets []Target, report func(Target, error)) error {
	all, err := s.Hosts(nil) // whoever may know a newer roster is asked, also when few are started
	if err != nil {
		return err
	}
	if err := s.each(ctx, all, func(ctx context.Context, t Target) error { return s.Provider.StartAgent(ctx, t.Host) }); err != nil {
		return err
	}
	for _, side := range []*sideState{s.world, s.own} { // the newest roster, before anything may start
		if err := s.adoptReachable(ctx, side); err != nil {
			return err
		}
	}
	return s.each(ctx, targets, func(ctx context.Context, t Target) error {
		err := s.intend(ctx, t, api.Intent{By: s.Who})
		if err == nil {
			err = s.push(ctx, t.side, t.Host)
		}
		if err == nil {
			err = s.starts(ctx, t)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		report(t, err)
		return err
	})
}

// NotStarted says why a node that a person started stays down.
type NotStarted struct{ Host, Why string }

// Error implements error.
func (n *NotStarted) Error() string { return fmt.Sprintf("%s does not start: %s", n.Host, n.Why) }

// starts asks a host that follows the newest roster whether its node is to run by that.
func (s *Session) starts(ctx context.Context, t Target) error {
	c := s.Provider.Client(t.Host)
	defer c.Close()
	st, err := c.Status(ctx)
	if err == nil && st.Reason != "" {
		return &NotStarted{t.Host.Name, st.Reason}
	}
	return err
}

// Hold suspends all repair of hosts, or lets it go on.
func (s *Session) Hold(ctx context.Context, targets []Target, held bool) error {
	return s.each(ctx, targets, func(ctx context.Context, t Target) error {
		st, up := s.Status(ctx, t)
		if !up {
			return fmt.Errorf("host %q: its agent does not run", t.Host.Name)
		}
		i := st.Intent
		i.Held, i.By = held, s.Who
		return s.intend(ctx, t, i)
	})
}

func (s *Session) each(ctx context.Context, targets []Target, f func(context.Context, Target) error) error {
	var g errgroup.Group
	g.SetLimit(askedAtOnce)
	for _, t := range targets {
		g.Go(func() error { return f(ctx, t) })
	}
	return g.Wait()
}

// Destroy stops everything, first of all the validator, and removes every host of both deployments. It does not begin while
// a host cannot be reached, or a cloud does not let its machines go. Unless keys is true, consensus keys with their sign state, their
// backups and the operator's keyring stay where they are told to be. One that failed or was killed anywhere is finished by
// another one.
func (s *Session) Destroy(ctx context.Context, keys bool, report func(Target, error)) (kept string, err error) {
	targets := s.machinesThere()
	if err := s.between(ctx, keys); err != nil {
		return "", err
	}
	if err := s.allKnown(); err != nil {
		return "", err
	}
	if err := s.mayGoUnreached(); err != nil {
		return "", err
	}
	if err := s.regain(ctx); err != nil {
		return "", err
	}
	for _, t := range targets {
		if _, err := s.reached(ctx, t); err != nil {
			return "", err
		}
	}
	if err := s.release(ctx); err != nil {
		return "", err
	}
	for _, group := range byRank(targets) { // validator first: signing ends before anything else does
		for _, t := range group {
			err := s.destroyTarget(ctx, t, keys)
			report(t, err)
			if err != nil {
				return "", err
			}
		}
	}
	if err := s.returnAll(ctx); err != nil {
		return "", err
	}
	return s.sweep(keys)
}

// machinesThere are all machines of both deployments, of a sentry that is being replaced both.
func (s *Session) machinesThere() []Target {
	var out []Target
	for _, side := range []*sideState{s.world, s.own} {
		for _, h := range side.inventory.All() {
			out = append(out, Target{side, h, side == s.world})
		}
	}
	return out
}

// allKnown says whether the inventory has lost the validator's host: what nobody knows of would go on signing.
// After a destroy has begun it is that one which no longer knows of it.
func (s *Session) allKnown() error {
	head := s.own.rosters.State().Head
	if head == nil || s.own.inventory.Destroying {
		return nil
	}
	for _, m := range head.Members {
		if _, known := s.own.inventory.Host(m.Name); m.Role == roster.RoleValidator && !known {
			return fmt.Errorf("the roster names the validator %q, and the inventory does not say where it is: bring %s back from a copy, or stop that host by hand first",
				m.Name, filepath.Join(s.own.dir.Operator(), "inventory.json"))
		}
	}
	return nil
}

func (s *Session) destroyTarget(ctx context.Context, t Target, keys bool) error {
	keep := ""
	if !keys && t.side == s.own {
		keep = filepath.Join(t.side.dir.Operator(), "removed", t.Host.Name)
	}
	there, err := s.reached(ctx, t)
	if err != nil {
		return err
	}
	if err := s.beginDestroy(); err != nil {
		return err
	}
	if there && t.Host.Exists() {
		if err := s.Provider.Destroy(ctx, t.Host, keep); err != nil {
			return err
		}
	}
	if t.side.inventory.WasReplaced(t.Host) {
		t.side.inventory.DropReplaced(t.Host.Machine())
	} else {
		t.side.inventory.Drop(t.Host.Name)
	}
	return t.side.dir.SaveInventory(t.side.inventory)
}

// reached says whether a host is there. One that does not answer may be passed over only by name.
func (s *Session) reached(ctx context.Context, t Target) (there bool, err error) {
	there, err = s.exists(ctx, t.Host)
	if err != nil && !(t.side == s.own && s.unreached(t.Host)) {
		return false, &NotReached{t.Host, err, t.side.inventory.WasReplaced(t.Host)}
	}
	return there, nil
}

// unreached says whether a person named a bought host, or a machine, as one that may be passed over.
func (s *Session) unreached(h deployment.Host) bool {
	return h.Bought() && slices.Contains(s.Unreached, h.Name) || slices.Contains(s.Unreached, h.Machine())
}

// NotReached says that a host cannot be proven to be down before it is removed.
type NotReached struct {
	Host deployment.Host
	Err  error
	// Replaced: its host is another machine by now.
	Replaced bool
}

// Error implements error.
func (e *NotReached) Error() string {
	return fmt.Sprintf("%s cannot be reached: %v", e.Host.Name, e.Err)
}

// Unwrap returns the cause.
func (e *NotReached) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *NotReached) Hint() string {
	if e.Replaced {
		return fmt.Sprintf("bring it back; or, if it is dead, deleted or not yours any more, run 'pressenter destroy --unreached %s': "+
			"it was a sentry, whose place another one has taken, and it holds no consensus key", e.Host.Machine())
	}
	if !e.Host.Bought() {
		return "bring it back: nothing else proves that it does not run on"
	}
	return fmt.Sprintf("bring it back; or, if it is dead or deleted, run 'pressenter destroy --unreached %s': "+
		"what it signs ends when %s takes its machine back, at the end, and its sign state is not kept", e.Host.Name, e.Host.Provider)
}

// mayGoUnreached refuses to pass over a host whose machine nobody takes back: it might run on. A sentry that was replaced
// may: it never held a consensus key.
func (s *Session) mayGoUnreached() error {
	for _, name := range s.Unreached {
		h, known := s.own.inventory.Host(name)
		if slices.ContainsFunc(s.own.inventory.Replaced, func(r deployment.Host) bool { return r.Machine() == name }) {
			continue
		}
		if a := s.Adoption(); a != nil && a.Host == name && !a.Kept && (a.Begun || a.Taken) { // it is left as it is: see between
			continue
		}
		if known && !h.Bought() {
			return fmt.Errorf("%q is not bought from a cloud: no machine is taken back that would end what it runs, so it has to be reached", name)
		}
		if !known && !s.own.inventory.Destroying {
			return fmt.Errorf("there is no host %q to be passed over", name)
		}
	}
	return nil
}

// beginDestroy notes that hosts are missing from now on because they were destroyed, before the first one is.
func (s *Session) beginDestroy() error {
	if s.own.inventory.Destroying {
		return nil
	}
	s.own.inventory.Destroying = true
	return s.own.dir.SaveInventory(s.own.inventory)
}

// DestroyBegun says that a destroy was begun and is not finished.
func (s *Session) DestroyBegun() bool { return s.own.inventory.Destroying }

// destroyBegun refuses to plan for a deployment of which a part was destroyed.
func (s *Session) destroyBegun() error {
	if !s.own.inventory.Destroying {
		return nil
	}
	return &plan.Refusal{
		Why:  fmt.Sprintf("a destroy of %s was begun and is not finished", s.Config.Name),
		Next: "run 'pressenter destroy' again: it goes on where it stopped",
	}
}

// sweep removes what is left of the folder, but for keys.
func (s *Session) sweep(keys bool) (kept string, err error) {
	for _, dir := range []string{s.Dir.World().Hosts(), s.Dir.Hosts()} {
		if err := removeEmpty(dir); err != nil {
			return "", err
		}
	}
	for _, path := range []string{string(s.Dir.World()), s.Dir.Store(), s.Dir.Genesis()} {
		if err := os.RemoveAll(path); err != nil {
			return "", err
		}
	}
	if keys {
		if err := s.forget(); err != nil {
			return "", err
		}
		// The folder itself goes only when it is empty: what an earlier destroy kept is not this one's to delete.
		if err := os.Remove(string(s.Dir)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return "", err
		}
		return "", nil
	}
	// The next deployment here is a new one: the old roster, its keyring, keys and backups go to a folder of their own.
	kept = filepath.Join(string(s.Dir), "kept-"+time.Now().UTC().Format("20060102T150405Z"))
	if err := os.Rename(s.Dir.Operator(), kept); err != nil {
		return "", err
	}
	return kept, nil
}

// forget removes the operator's folder: first the machines, whose state the keyring opens, and last the inventory, which
// says that this was begun.
func (s *Session) forget() error {
	s.own.inventory.MachinesID = "" // they were all given back: nobody has to look for them again
	if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
		return err
	}
	if err := os.RemoveAll(s.machines()); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Dir.Operator())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "inventory.json" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.Dir.Operator(), e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.Dir.Operator())
}
