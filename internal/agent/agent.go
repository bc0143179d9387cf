// Package agent keeps one host as the roster wants it: one loop that reads what is wanted, looks at what is,
// and does the difference, for ever. It remembers no progress, so a crash anywhere is repaired by the next turn.
//
// The agent, the supervisor and the daemon are three processes. Killing the agent costs no block; it starts and
// stops a node but is not in the node's way.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/signing"
)

// Agent is the agent of one host.
type Agent struct {
	Folder  Folder
	Exe     string // the program to run as supervisor
	Version string
	Build   string // as [api.AgentStatus] has it
	Logger  *slog.Logger
}

// tick is how often the agent looks when nothing calls it.
const tick = time.Second

// LockName is how an agent calls itself in its lock.
const LockName = "pressenter agent"

// Run keeps the host until ctx is done. The node goes on without it.
func (a *Agent) Run(ctx context.Context) (err error) {
	if err := os.MkdirAll(a.Folder.path("agent"), 0o700); err != nil {
		return err
	}
	lock, err := process.TryLock(a.Folder.lock(), LockName)
	if err != nil {
		return fmt.Errorf("agent of %q: %w", a.Folder, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	rosters, err := rosterdir.Open(a.Folder.rosters())
	if err != nil {
		return err
	}
	l, err := api.ListenIn(string(a.Folder), api.SocketName)
	if err != nil {
		return err
	}
	run, err := runnerOf(a.Folder, a.Exe)
	if err != nil {
		return err
	}
	k := &keeper{Agent: a, runner: run, rosters: rosters, started: time.Now().UTC(), wake: make(chan struct{}, 1)}
	if k.host, err = a.Folder.loadHost(); err != nil {
		return err
	}
	a.Logger.Info("agent started", "host", a.Folder, "version", a.Version, "build", a.Build)
	g, ctx := errgroup.WithContext(ctx)
	k.life = ctx
	defer k.watches.Wait()
	g.Go(func() error { return k.reconcile(ctx) })
	g.Go(func() error { return serve(ctx, l, k.handler()) })
	if err := g.Wait(); err != nil && !errors.Is(err, errGone) {
		return err
	}
	return nil
}

// keeper is a running agent.
type keeper struct {
	*Agent
	runner  Runner
	rosters *rosterdir.Store
	started time.Time
	wake    chan struct{}

	// changing is held by whoever changes the host: a turn of the loop, or a request. It guards what follows.
	changing sync.Mutex
	seen     []process.Identity // what was seen to run and lives

	hashing sync.Mutex // guards what follows
	genesis hashed

	mu      sync.Mutex // guards what follows
	host    *host
	learned bool
	verdict verdict
	applied string // roster head that the last turn finished with
	behind  string // why it did not finish
	trouble error  // of the last turn
	lock    *api.LockHolder
	// unwritten is a person's stop that could not be made durable.
	unwritten *api.Intent
	rotated   bool            // the mesh process uses another key than the host's record says
	mesh      *api.MeshStatus // of the last turn; nil: it did not answer
	// meshTrouble is what was last logged about it, meshSilent since when it runs and answers nothing.
	meshTrouble string
	meshSilent  time.Time
	// meshFollows: no mesh process runs, or it has this host's rosters. One that has not may let in who was removed.
	meshFollows bool
	drift       drift
	watch       string // progress or outcome of an arming watch, "" when none

	life    context.Context // ends with the agent
	watches sync.WaitGroup
}

// poke makes the loop take a turn now.
func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// reconcile takes turns until ctx is done or the host's folder has been deleted.
func (k *keeper) reconcile(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	var last string
	for {
		if _, err := os.Stat(string(k.Folder)); errors.Is(err, os.ErrNotExist) {
			return k.vanish(ctx)
		}
		k.keepMachine(ctx)
		err := k.turn(ctx)
		if words := fmt.Sprint(err); err != nil && words != last && ctx.Err() == nil {
			k.Logger.Error("turn failed", "err", err)
			last = words
		}
		k.rotateLogs()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-k.wake:
		}
	}
}

// rotateLogs keeps the logs short that nobody else does: the supervisor sees to its own and to the daemon's. On a disk
// that is full it is tried again.
func (k *keeper) rotateLogs() {
	for _, name := range []string{"agent", "mesh"} {
		path, err := k.Folder.Log(name)
		rotated := false
		if err == nil {
			rotated, err = process.RotateLog(path, process.LogMax, process.LogKeep)
		}
		if rotated {
			k.Logger.Info("log rotated", "log", name, "err", err)
		}
	}
}

// see notes a process of this host.
func (k *keeper) see(id process.Identity) {
	if !slices.Contains(k.seen, id) {
		k.seen = append(k.seen, id)
	}
}

// vanish ends the node of a host whose folder somebody deleted: nothing may run that nobody can see.
func (k *keeper) vanish(ctx context.Context) error {
	k.Logger.Error("host folder is gone: ending its node")
	errs := []error{errGone}
	for _, id := range k.seen {
		errs = append(errs, process.Terminate(context.WithoutCancel(ctx), id, stopGrace))
	}
	return errors.Join(errs...)
}

// serve answers requests on l until ctx is done, then drains for a moment.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			err = s.Close() // somebody follows a log; that is no reason to stay
			drained <- err
			return
		}
		drained <- nil
	})
	err := s.Serve(l)
	if stop() {
		return err
	}
	return <-drained
}

// look gathers the facts of one turn. With an error, what could be seen is there: enough to be silent, never enough to
// run.
func (k *keeper) look() (facts, error) {
	k.mu.Lock()
	f := facts{host: k.host, learned: k.learned}
	unwritten := k.unwritten
	k.mu.Unlock()
	f.intent, f.state = k.Folder.loadIntent(), k.rosters.State()
	if unwritten != nil {
		f.intent = *unwritten
	}
	// Who was seen stays seen while it lives: the files by which it is found go before the folder, where that is deleted.
	k.seen = slices.DeleteFunc(k.seen, func(id process.Identity) bool { return !id.Alive() })
	for _, running := range []func() (process.Identity, bool){k.runner.Supervisor, k.runner.Daemon, k.runner.Mesh} {
		if id, up := running(); up {
			k.see(id)
		}
	}
	var unsure, unkept error
	if f.up, _, unsure = k.runner.Up(); unsure != nil {
		f.up = true // until it can be told
		unsure = fmt.Errorf("look at what runs here: %w", unsure)
	}
	f.overruled, _, unkept = k.runner.Overruled()
	err := errors.Join(unsure, unkept)
	if f.host != nil {
		err = errors.Join(err, k.lookAtHost(&f))
	}
	return f, err
}

// lookAtHost gathers what is written down of an enrolled host.
func (k *keeper) lookAtHost(f *facts) error {
	var err error
	if f.signing, err = k.Folder.loadSigning(); err != nil {
		f.signing = signing.Status{State: signing.Disarmed, Reason: err.Error()}
	}
	if f.signing, err = k.Folder.remember(f.signing); err != nil {
		return err
	}
	if f.moved, err = k.Folder.moved(f.host); err != nil {
		return err
	}
	f.filtered = machine.Filtered()
	if noted, err := machine.Load(string(k.Folder)); err != nil {
		return err
	} else {
		f.ssh = noted.SSH
	}
	f.genesis, err = k.genesisHash()
	return err
}
