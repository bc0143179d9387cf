package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/genesis"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// do carries out one step.
func (s *Session) do(ctx context.Context, step plan.Step) error {
	side, want := s.side(step.Where())
	h, _ := s.host(side, want, step.Host())
	switch st := step.(type) {
	case plan.CreateKeyring:
		return s.createKeyring(side, st)
	case plan.StageDaemon:
		return s.stageDaemon()
	case plan.CreateHost:
		if err := s.mayMake(ctx, side, h); err != nil {
			return err
		}
		if err := s.remember(side, want, h); err != nil {
			return err
		}
		if err := s.Provider.Create(ctx, h); err != nil {
			return err
		}
		h.Made = h.OnMachine()
		return s.remember(side, want, h)
	case plan.ChangeMachines:
		return s.changeMachines(ctx)
	case plan.UnprotectMachines:
		return s.unprotectMachines(ctx)
	case plan.ReturnMachines:
		return s.returnMachines(ctx, st.Changes)
	case plan.StartAgent:
		return s.setUp(ctx, side, want, h)
	case plan.GrowVolume:
		return s.setUp(ctx, side, want, h)
	case plan.RestartAgent:
		return s.restartAgent(ctx, h)
	case plan.Enroll, plan.KeepBackup: // asked again, a host answers the same
		return s.enroll(ctx, side, h)
	case plan.PlaceInMesh:
		wanted, ok := want.Host(h.Name)
		if !ok {
			return fmt.Errorf("host %q is not wanted", h.Name)
		}
		if err := s.remember(side, want, wanted); err != nil {
			return err
		}
		return s.enroll(ctx, side, wanted)
	case plan.PrepareGenesis:
		return s.workshop().Prepare(ctx, plan.GenesisValidators(s.want))
	case plan.MakeGenesis:
		return s.makeGenesis(ctx)
	case plan.InstallGenesis:
		return s.installGenesis(ctx, h)
	case plan.PublishRoster:
		return s.publishTarget(ctx, side, want)
	case plan.HealFork:
		return s.heal(ctx, side)
	case plan.SyncRoster:
		// Whoever is told that this roster is the newest may start a node by it: ask everybody first.
		if err := s.adoptReachable(ctx, side); err != nil {
			return err
		}
		return s.push(ctx, side, h)
	case plan.RestartNode:
		return s.restart(ctx, side, h)
	case plan.DestroyHost:
		return s.destroyHost(ctx, side, h)
	case plan.BeginReplace, plan.TakeBack:
		return side.dir.SaveInventory(side.inventory)
	case plan.TakeOut:
		return s.takeOut(ctx, side, h.Name)
	case plan.AwaitJoined:
		return s.awaitJoined(ctx, side, h)
	case plan.RemoveReplaced:
		return s.removeReplaced(ctx, side, st.Machine)
	case plan.AwaitSigning:
		return s.awaitSigning(ctx, side, h)
	}
	return fmt.Errorf("step %T is not implemented", step)
}

// restartAgent replaces an agent of another build, and takes the lock again that ended with it.
func (s *Session) restartAgent(ctx context.Context, h deployment.Host) error {
	if err := s.Provider.RestartAgent(ctx, h); err != nil {
		return err
	}
	c := s.Provider.Client(h)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if st.Agent.Build != s.Build {
		return fmt.Errorf("the agent of %q was restarted and is of build %q still, not %q: this program is not the one that is installed there", h.Name, st.Agent.Build, s.Build)
	}
	return s.lockHost(ctx, h, pollTimeout)
}

func (s *Session) side(name string) (*sideState, *deployment.Inventory) {
	if name == s.want.World.Deployment {
		return s.world, &s.want.World
	}
	return s.own, &s.want.Own
}

// wanted is what a side should be.
func (s *Session) wanted(side *sideState) *deployment.Inventory {
	if side == s.world {
		return &s.want.World
	}
	return &s.want.Own
}

func (s *Session) host(side *sideState, want *deployment.Inventory, name string) (deployment.Host, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved, known := side.inventory.Host(name)
	if known && saved.Exists() {
		return saved, true
	}
	if h, ok := want.Host(name); ok {
		return h, true
	}
	return saved, known
}

// remember notes a host in the inventory before it is made, so that nothing exists that the inventory does not know.
func (s *Session) remember(side *sideState, want *deployment.Inventory, h deployment.Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	side.inventory.Deployment, side.inventory.ChainID, side.inventory.Daemon = want.Deployment, want.ChainID, want.Daemon
	side.inventory.MeshProgram = want.MeshProgram
	side.inventory.Put(h)
	return side.dir.SaveInventory(side.inventory)
}

func (s *Session) createKeyring(side *sideState, st plan.CreateKeyring) error {
	k, err := keyring.New(st.Deployment)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(side.dir.Operator(), 0o700); err != nil {
		return err
	}
	if err := k.Save(side.dir.Operator(), nil); err != nil { // practice: unprotected, and labelled so
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	side.keyring = k
	return nil
}

// keys opens the keyring of a side, once.
func (s *Session) keys(side *sideState) (*keyring.Keyring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if side.keyring != nil {
		return side.keyring, nil
	}
	k, err := keyring.Open(side.dir.Operator(), s.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("open operator keyring: %w", err)
	}
	side.keyring = k
	return k, nil
}

func (s *Session) stageDaemon() error {
	_, err := stage(s.Dir, s.daemon)
	return err
}

func (s *Session) binary() string { return storePath(s.Dir, s.daemon.SHA256, s.daemon.Name) }

// enroll makes the host bear its keys, and keeps the sealed backup before anything is signed with them.
func (s *Session) enroll(ctx context.Context, side *sideState, h deployment.Host) error {
	k, err := s.keys(side)
	if err != nil {
		return err
	}
	binary, err := s.Provider.Stage(ctx, h, s.daemon, s.binary())
	if err != nil {
		return err
	}
	meshProgram, err := s.bringMeshProgram(ctx, side, h)
	if err != nil {
		return err
	}
	c := s.Provider.Client(h)
	defer c.Close()
	e, err := c.Enroll(ctx, api.EnrollRequest{
		Name: h.Name, Deployment: s.wanted(side).Deployment, Role: string(h.Role), ChainID: s.want.Own.ChainID,
		Moniker: plan.Moniker(h), Daemon: s.daemon.Name, Binary: binary, BinaryHash: s.daemon.SHA256,
		Listen: h.Listen, BackupTo: k.Recipient(), MeshDriver: s.wanted(side).MeshDriver,
		MeshProgram: meshProgram, MeshProgramHash: s.wanted(side).MeshProgram.SHA256,
	})
	if err != nil {
		return err
	}
	if err := s.isIt(side, h, e); err != nil {
		return err
	}
	if len(e.Backup) == 0 {
		return nil
	}
	if err := side.dir.KeepBackup(h.Name, e.Backup, time.Now()); err != nil {
		return fmt.Errorf("keep backup of the consensus key: %w", err)
	}
	return s.noteKept(side, h)
}

func (s *Session) workshop() genesis.Workshop {
	return genesis.Workshop{Dir: s.Dir.Genesis(), Binary: s.binary(), ChainID: s.want.Own.ChainID, Denom: s.want.Chain.Denom}
}

// Stakes of genesis validators, in whole coins. Ours has less, so that losing it stops nobody, and so that the first
// proposers are those that start first.
const (
	worldStake = 100
	ownStake   = 90
)

func (s *Session) makeGenesis(ctx context.Context) error {
	enrolled, err := s.enrolled(ctx)
	if err != nil {
		return err
	}
	var validators []genesis.Validator
	for _, name := range plan.GenesisValidators(s.want) {
		e, stake := enrolled[name], int64(worldStake)
		if len(e.Consensus) == 0 || e.NodeID == "" {
			return fmt.Errorf("host %q has no consensus key to put into the genesis", name)
		}
		if h, _ := s.want.Own.Host(name); h.Role == roster.RoleValidator {
			stake = ownStake
		}
		validators = append(validators, genesis.Validator{Name: name, Consensus: e.Consensus, NodeID: e.NodeID, Stake: stake})
	}
	_, err = s.workshop().Make(ctx, validators)
	return err
}

// enrolled asks every host for its public halves.
func (s *Session) enrolled(ctx context.Context) (map[string]api.Enrolled, error) {
	out := map[string]api.Enrolled{}
	for _, side := range []*sideState{s.world, s.own} {
		m, err := s.enrolledOf(ctx, side)
		if err != nil {
			return nil, err
		}
		for name, e := range m {
			out[name] = e
		}
	}
	return out, nil
}

func (s *Session) enrolledOf(ctx context.Context, side *sideState) (map[string]api.Enrolled, error) {
	want := s.wanted(side)
	out := map[string]api.Enrolled{}
	for _, h := range side.inventory.Hosts {
		if _, wanted := want.Host(h.Name); !wanted {
			continue // it may be gone already
		}
		c := s.Provider.Client(h)
		st, err := c.Status(ctx)
		c.Close()
		if err != nil {
			return nil, err
		}
		if st.Enrolled != nil {
			out[h.Name] = *st.Enrolled
		}
	}
	return out, nil
}

func (s *Session) installGenesis(ctx context.Context, h deployment.Host) error {
	b, err := os.ReadFile(filepath.Join(s.Dir.Genesis(), "genesis.json"))
	if err != nil {
		return fmt.Errorf("read genesis: %w", err)
	}
	c := s.Provider.Client(h)
	defer c.Close()
	return c.InstallGenesis(ctx, b)
}

// restart publishes the generation that restarts a node and waits until it is back and caught up.
func (s *Session) restart(ctx context.Context, side *sideState, h deployment.Host) error {
	head := side.rosters.State().Head
	if head == nil {
		return errors.New("the roster has no single head")
	}
	next := plan.Restart(head, h.Name)
	if err := s.publish(ctx, side, next); err != nil {
		return err
	}
	return s.poll(ctx, h, func(st api.HostStatus) error {
		switch {
		case st.Node.RestartToken < next.Generation:
			return errors.New("it has not restarted yet")
		case !st.Node.Answers:
			return errors.New("it does not answer yet")
		case st.Node.CatchingUp || st.Node.Height == 0:
			return errors.New("it is catching up")
		}
		return nil
	})
}

// pollTimeout bounds a wait for one host.
const pollTimeout = 3 * time.Minute

// wordAfter is how often in a row a host may give the same reason before it is passed on: most waits are shorter.
const wordAfter = 20

// poll asks a host until ok is satisfied. What keeps it from that is passed on if it lasts.
func (s *Session) poll(ctx context.Context, h deployment.Host, ok func(api.HostStatus) error) error {
	return s.pollFor(ctx, pollTimeout, h, ok)
}

// pollFor is poll with a limit of its own.
func (s *Session) pollFor(ctx context.Context, limit time.Duration, h deployment.Host, ok func(api.HostStatus) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("waited for %.0f minutes", limit.Minutes()))
	defer cancel()
	c := s.Provider.Client(h)
	defer c.Close()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	var why error
	times := 0
	for {
		st, err := c.Status(ctx)
		if err == nil {
			if err = ok(st); err == nil {
				return nil
			}
		}
		switch {
		case why != nil && ctx.Err() != nil: // no answer any more: what it said before counts
		case why == nil || err.Error() != why.Error():
			why, times = err, 1
		default:
			if times++; times == wordAfter {
				s.progress(Event{Word: fmt.Sprintf("waiting for %s: %v", h.Name, why), Why: true})
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", h.Name, context.Cause(ctx), why)
		case <-t.C:
		}
	}
}

// destroyHost removes a host that no roster has any more. A consensus key is never destroyed here.
func (s *Session) destroyHost(ctx context.Context, side *sideState, h deployment.Host) error {
	state := side.rosters.State()
	if state.Fork {
		return fmt.Errorf("host %q may be in the roster, which is forked", h.Name)
	}
	if state.Head != nil {
		if _, member := state.Head.Member(h.Name); member {
			return fmt.Errorf("host %q is still in the roster", h.Name)
		}
	}
	if err := s.removeHost(ctx, side, h); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	side.inventory.Drop(h.Name)
	return side.dir.SaveInventory(side.inventory)
}

// removeHost ends and removes what there is of a host that has left the roster.
func (s *Session) removeHost(ctx context.Context, side *sideState, h deployment.Host) error {
	if !h.Exists() {
		return nil // it was refused before anything was done there: it may be somebody else's
	}
	there, err := s.exists(ctx, h)
	if err != nil && h.OnMachine() && h.Role == roster.RoleSentry {
		// Whoever lost a sentry takes it out. The others have cut it off; a bought one is given back next.
		s.progress(Event{Word: fmt.Sprintf("%s was not reached, so nothing was stopped or removed there: %v", h.Name, err), Why: true})
		return nil
	}
	if err != nil || !there {
		return err
	}
	keep := filepath.Join(side.dir.Operator(), "removed", h.Name)
	if !h.OnMachine() || h.Role != roster.RoleSentry {
		return s.Provider.Destroy(ctx, h, keep)
	}
	within, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	switch err := s.Provider.Destroy(within, h, keep); {
	case err == nil || ctx.Err() != nil:
		return err
	case h.Bought(): // one that was broken into does not keep its machine by that
		s.progress(Event{Word: fmt.Sprintf("%s was not stopped, and goes on until its machine is given back: %v", h.Name, err), Why: true})
	case s.unreached(h):
		s.progress(Event{Word: fmt.Sprintf("%s (%s) was not cleared, and is forgotten: %v", h.Name, h.Address, err), Why: true})
	default:
		return fmt.Errorf("%w; it is out of the roster. If the server is not yours any more, run 'pressenter apply --unreached %s'", err, h.Machine())
	}
	return nil
}

// awaitSigning waits until a commit read from another validator holds our non-nil precommit, and is newer than all there
// were when the wait began: older ones say nothing of what was just changed.
func (s *Session) awaitSigning(ctx context.Context, side *sideState, h deployment.Host) error {
	var st api.HostStatus
	if err := s.poll(ctx, h, func(now api.HostStatus) error { st = now; return nil }); err != nil {
		return err
	}
	if st.Enrolled == nil {
		return errors.New("it is not enrolled")
	}
	address := signing.Address(st.Enrolled.Consensus)
	if len(st.Signing.PublicKey) > 0 {
		address = signing.Address(st.Signing.PublicKey)
	}
	lookedBack := time.Duration(node.DoubleSignCheckHeight+2) * s.blockTime() // after a restart
	ctx, cancel := context.WithTimeout(ctx, pollTimeout+lookedBack)
	defer cancel()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	before, told := int64(0), s.have.Genesis == "" // a chain that begins with this plan has no older block
	for {
		if !told {
			before = s.newestCommit(ctx).Height
			told = before > 0
		}
		if commit, found := s.witness(ctx, address); found && told && commit.Height > before {
			s.progress(Event{Word: fmt.Sprintf("block %d is signed by %s, as its peers see it", commit.Height, h.Name)})
			return nil
		}
		select {
		case <-ctx.Done():
			return s.whySilent(context.WithoutCancel(ctx), side)
		case <-t.C:
			s.tell(ctx, side)
		}
	}
}

// tell passes on how far the nodes are, when that has changed.
func (s *Session) tell(ctx context.Context, side *sideState) {
	var words string
	for _, h := range side.inventory.Hosts {
		c := s.Provider.Client(h)
		st, err := c.Status(ctx)
		c.Close()
		if err != nil {
			continue
		}
		words += fmt.Sprintf("%s %s, height %d, %d peers; ", h.Name, st.Node.Phase, st.Node.Height, len(st.Node.Peers))
	}
	s.progress(Event{Word: words})
}

// whySilent gathers what hosts say when the validator does not sign in time.
func (s *Session) whySilent(ctx context.Context, side *sideState) error {
	err := errors.New("no commit of others holds a signature of the validator yet; see 'pressenter status'")
	for _, h := range side.inventory.Hosts {
		c := s.Provider.Client(h)
		st, askErr := c.Status(ctx)
		c.Close()
		if askErr != nil {
			err = errors.Join(err, askErr)
			continue
		}
		for _, f := range st.Findings {
			err = errors.Join(err, fmt.Errorf("%s: %s %s", h.Name, f.Message, f.Next))
		}
	}
	return err
}
