// Package apply makes the world follow a plan. It is the only doer: it observes, asks package plan for the steps, and
// does them one stage after the other.
//
// It keeps no journal. A step is either visible in what is observed or it was not done, so an apply that was killed
// anywhere is finished by another one.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/tofu"
)

// Provider supplies hosts: [local.Provider] on this computer, [remote.Provider] servers, [ByPlace] each as it is.
type Provider interface {
	// Create makes a host, as far as it can be seen that it is there.
	Create(ctx context.Context, h deployment.Host) error
	// Stage brings the chain's program, which lies at from on this computer, to where the host can read it.
	Stage(ctx context.Context, h deployment.Host, d deployment.Daemon, from string) (path string, err error)
	Destroy(ctx context.Context, h deployment.Host, keep string) error
	StartAgent(ctx context.Context, h deployment.Host) error
	StopAgent(ctx context.Context, h deployment.Host) error
	// RestartAgent ends the agent alone and starts the one that StartAgent would start now. Mesh, supervisor and daemon
	// go on.
	RestartAgent(ctx context.Context, h deployment.Host) error
	Client(h deployment.Host) *api.Client
	// Inspect says what runs on a host whose agent does not answer, Exists whether there is one. An error says that it
	// cannot be told.
	Inspect(ctx context.Context, h deployment.Host) (api.HostStatus, error)
	Exists(ctx context.Context, h deployment.Host) (bool, error)
}

var _ Provider = local.Provider{}

// Event is progress, for whoever shows it.
type Event struct {
	Step plan.Step // nil for a word between steps
	Done bool
	Err  error
	Took time.Duration
	Word string
	// Why: Word is why something takes long. It is for everybody, a passing word only for who watches.
	Why bool
}

// Session is one operator's hold on a deployment, from lock to unlock.
type Session struct {
	Config   config.Deployment
	Dir      deployment.Dir
	Daemon   string // path of the chain's program
	Provider Provider
	// PublicOf is where an SSH destination of the config leads.
	PublicOf func(address string) (string, error)
	// SeenFrom is the address that a machine sees us come from, if not nil.
	SeenFrom func(ctx context.Context, h deployment.Host) (netip.Addr, error)
	Cloud    Cloud
	// Servers takes daemons over; nil where nothing is to be.
	Servers Taker
	Who     string // for locks and intents: user@host (pid)
	// Build is what the agents that Provider starts say of themselves; empty: agents of any build are left alone.
	Build string
	// ReplaceLost makes a new validator host where the old one's folder is gone.
	ReplaceLost bool
	// Unreached are bought hosts that a destroy may pass over where they cannot be reached: their machines are given back. They are
	// also brought machines that were sentries, which an apply may leave as they are where they refuse to be cleared.
	Unreached []string
	// Anew is the validator that a person lets a plan make anew, after the proof that its key is silent.
	Anew string
	// Confirmed is the machine of a validator that a person named: no plan gives back another one.
	Confirmed string
	// Replace names a sentry that the next plan replaces; with Cancel it takes a replacement back that has begun.
	Replace string
	Cancel  bool
	// Passphrase opens a protected keyring; it is asked only when needed.
	Passphrase func() ([]byte, error)
	Progress   func(Event)
	// Crash is called before and after every step by tests that enumerate crashes; nil otherwise.
	Crash func(s plan.Step, after bool)

	locks []func()
	// machinesLocked: one of them is on the machines.
	machinesLocked bool
	// former are the machines that there were when a destroy began.
	former map[string]tofu.Host
	begun  bool   // the replacement, or that it was taken back, is in the inventory, which is not saved yet
	moves  string // a sentry that may be another machine than the config says, until it is decided how it is replaced
	world  *sideState
	own    *sideState
	ports  *local.Ports
	daemon deployment.Daemon
	// meshSource is where the program of the mesh's driver was found; empty: it is staged, or there is none.
	meshSource string
	staging    sync.Mutex // one copy into the store at a time
	want       plan.Want
	have       plan.Observed
	// witnessed is the newest height for which others held our precommit when we last looked.
	witnessed int64
	mu        sync.Mutex
}

// sideState is one of the two deployments of a practice network: the validator's own, or the world's.
type sideState struct {
	dir       deployment.Dir
	inventory deployment.Inventory
	rosters   *rosterdir.Store
	keyring   *keyring.Keyring
}

// Locked says that somebody else is changing the deployment.
type Locked struct {
	Where string
	Who   string
	Since time.Time
}

// Error says who holds the lock since when.
func (l *Locked) Error() string {
	return fmt.Sprintf("%s is being changed by %s since %s (%s ago)", l.Where, l.Who, l.Since.Local().Format("15:04:05 on 2 Jan 2006"), time.Since(l.Since).Round(time.Second))
}

// Open locks the deployment on this computer and reads what the operator knows.
func (s *Session) Open() error {
	lock, err := s.Dir.Lock(s.Who)
	var held *process.Held
	if errors.As(err, &held) {
		return &Locked{Where: "the deployment", Who: held.Holder.Name, Since: held.Holder.Since}
	}
	if err != nil {
		return fmt.Errorf("lock deployment in %q: %w", s.Dir, err)
	}
	s.locks = append(s.locks, func() { _ = lock.Close() })
	return s.Read()
}

// Read reads what the operator knows, without a lock.
func (s *Session) Read() error {
	var err error
	if s.world, err = openSide(s.Dir.World()); err != nil {
		return err
	}
	s.own, err = openSide(s.Dir)
	return err
}

// Close releases every lock.
func (s *Session) Close() {
	for _, release := range s.locks {
		release()
	}
	s.locks = nil
	for _, side := range []*sideState{s.world, s.own} {
		if side != nil && side.keyring != nil {
			side.keyring.Wipe()
		}
	}
}

func openSide(dir deployment.Dir) (*sideState, error) {
	inv, err := dir.LoadInventory()
	if err != nil {
		return nil, err
	}
	if err := adoptStrays(dir, &inv); err != nil {
		return nil, err
	}
	store, err := dir.Rosters()
	if err != nil {
		return nil, err
	}
	return &sideState{dir: dir, inventory: inv, rosters: store}, nil
}

// LockHosts takes the lock on every host that answers, so that an operator elsewhere is kept away too.
func (s *Session) LockHosts(ctx context.Context) error { return s.lockAll(ctx, s.parts) }

// LockToDestroy takes the lock on every host that answers. No sentry has a say in its end.
func (s *Session) LockToDestroy(ctx context.Context) error {
	return s.lockAll(ctx, func(_ *sideState, h deployment.Host) bool { return h.Role == roster.RoleSentry })
}

func (s *Session) lockAll(ctx context.Context, parts func(*sideState, deployment.Host) bool) error {
	for _, side := range []*sideState{s.world, s.own} {
		for _, h := range side.inventory.All() {
			within := pollTimeout
			if parts(side, h) {
				within = partingTimeout
			}
			if err := s.lockHost(ctx, h, within); err != nil && !parts(side, h) {
				return err
			} else if err != nil { // whoever changes the deployment elsewhere holds the others too
				s.passOver(h, err)
			}
		}
	}
	return nil
}

// parts says whether a machine of the inventory is to leave by what this session was asked for: it was replaced or is to be, or it
// is a sentry that the config does not name.
func (s *Session) parts(side *sideState, h deployment.Host) bool {
	named := slices.ContainsFunc(s.Config.Sentries, func(c config.Sentry) bool { return c.Name == h.Name })
	return side.inventory.WasReplaced(h) || side == s.own && h.Role == roster.RoleSentry && (!named || h.Name == s.Replace)
}

// lockHost takes the lock on one host, if its agent answers. One that takes the question and gives no answer is not waited for
// for ever.
func (s *Session) lockHost(ctx context.Context, h deployment.Host, within time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx) // it ends with the lock
	t := time.AfterFunc(within, func() { cancel(fmt.Errorf("it did not answer within %s", within)) })
	release, err := s.Provider.Client(h).Lock(ctx, s.Who)
	if inTime := t.Stop(); err == nil && !inTime {
		release()
		err = context.Cause(ctx)
	}
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.locks = append(s.locks, func() { release(); cancel(nil) })
		return nil
	}
	cause := context.Cause(ctx)
	cancel(nil)
	var refused *api.Error
	var away *api.Unreachable
	switch {
	case errors.As(err, &refused) && refused.Lock != nil:
		return &Locked{Where: fmt.Sprintf("host %q", h.Name), Who: refused.Lock.Holder, Since: refused.Lock.Since}
	case errors.As(err, &away):
		return nil
	case cause != nil:
		return fmt.Errorf("lock host %q: %w", h.Name, cause)
	}
	return err
}

// Plan observes and decides. It first adopts the newest roster that any host holds.
func (s *Session) Plan(ctx context.Context) (plan.Plan, error) {
	if err := s.destroyBegun(); err != nil {
		return plan.Plan{}, err
	}
	if !s.begun {
		s.moves = s.Replace
	}
	if err := s.prepare(); err != nil {
		return plan.Plan{}, err
	}
	if err := s.findMeshProgram(); err != nil {
		return plan.Plan{}, err
	}
	if err := s.Observe(ctx); err != nil {
		return plan.Plan{}, err
	}
	if recalled, err := s.recallServers(ctx); err != nil {
		return plan.Plan{}, err
	} else if recalled {
		if err := s.Observe(ctx); err != nil {
			return plan.Plan{}, err
		}
	}
	if err := s.replace(); err != nil {
		return plan.Plan{}, err
	}
	if err := s.observeMachines(ctx); err != nil {
		return plan.Plan{}, err
	}
	s.lookAgain(ctx)
	return plan.Make(s.want, s.have)
}

// Observed is what the last Plan saw.
func (s *Session) Observed() plan.Observed { return s.have }

// Wanted is what the last Plan was made for.
func (s *Session) Wanted() plan.Want { return s.want }

// prepare finds the daemon and resolves the config.
func (s *Session) prepare() error {
	d, err := s.stagedOrFound()
	if err != nil {
		return err
	}
	s.daemon = d
	if s.ports == nil {
		s.ports = local.NewPorts(string(s.Dir), takenPorts(s.world.inventory, s.own.inventory))
	}
	s.want, err = plan.Resolve(s.Config, plan.Facts{
		Dir: s.Dir, World: s.world.inventory, Own: s.own.inventory, Daemon: s.daemon, Ports: s.ports.Next, PublicOf: s.PublicOf, Now: time.Now(),
		Replace: s.moves,
	})
	s.want.ReplaceLost, s.want.Confirmed, s.want.Build, s.want.Looked = s.ReplaceLost, s.Confirmed, s.Build, s.Cloud.Looked
	s.want.Own.MeshProgram, s.meshSource = s.stagedMeshProgram(), ""
	switch {
	case s.begun && s.Cancel:
		s.want.Back = s.Replace
	case s.begun:
		s.want.Begin = s.Replace
	}
	return err
}

// What many hosts are asked or have done to them at once: a plan for fifty is to be one that people can follow, and that
// the network between can carry.
const (
	askedAtOnce = 16
	doneAtOnce  = 8
)

// Do carries out a plan, stage by stage. It stops at the first stage in which a step fails; what was done stays. The
// error is an *Interrupted when it was ctx that ended it.
func (s *Session) Do(ctx context.Context, p plan.Plan) error {
	if err := s.mayMakeAnew(p); err != nil {
		return err
	}
	var done atomic.Int64
	for _, stage := range p.Stages {
		g, within := errgroup.WithContext(ctx)
		g.SetLimit(doneAtOnce)
		for _, step := range stage {
			g.Go(func() error {
				err := s.step(within, step)
				if err == nil {
					done.Add(1)
				}
				return err
			})
		}
		err := g.Wait()
		if err != nil && ctx.Err() != nil {
			return &Interrupted{Done: int(done.Load()), Steps: len(p.Steps()), Err: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interrupted says how far a plan was carried out when somebody ended that.
type Interrupted struct {
	Done, Steps int
	Err         error // of the step that was being done
}

// Error implements error. What the step said of it is of no use to anybody.
func (i *Interrupted) Error() string {
	if i.Done == 0 {
		return fmt.Sprintf("interrupted before the first of %d steps was done", i.Steps)
	}
	return fmt.Sprintf("interrupted after %d of %d steps: they stay done, and hosts that run go on by themselves", i.Done, i.Steps)
}

// Unwrap returns the cause.
func (i *Interrupted) Unwrap() error { return i.Err }

// StepError says which step failed.
type StepError struct {
	Step plan.Step
	Err  error
}

// Error implements error.
func (e *StepError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

func (s *Session) step(ctx context.Context, step plan.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	begun := time.Now()
	s.progress(Event{Step: step})
	s.crash(step, false)
	err := s.do(ctx, step)
	s.crash(step, true)
	s.progress(Event{Step: step, Done: true, Err: err, Took: time.Since(begun)})
	if err != nil {
		return &StepError{step, err}
	}
	return nil
}

func (s *Session) crash(step plan.Step, after bool) {
	if s.Crash != nil {
		s.Crash(step, after)
	}
}

func (s *Session) progress(e Event) {
	if s.Progress != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Progress(e)
	}
}

// MarshalSteps writes a plan for programs: each step with its kind and words.
func MarshalSteps(p plan.Plan) ([]byte, error) {
	type row struct {
		Stage int       `json:"stage"`
		Kind  plan.Kind `json:"kind"`
		Type  string    `json:"type"`
		Words string    `json:"words"`
		Step  plan.Step `json:"step"`
	}
	out := struct {
		Changes bool     `json:"changes"`
		Steps   []row    `json:"steps"`
		Notes   []string `json:"notes"`
	}{Changes: !p.Empty(), Steps: []row{}, Notes: p.Notes}
	for i, stage := range p.Stages {
		for _, st := range stage {
			name := fmt.Sprintf("%T", st)
			out.Steps = append(out.Steps, row{i + 1, plan.KindOf(st), name[len("plan."):], st.String(), st})
		}
	}
	return json.MarshalIndent(out, "", "  ")
}
