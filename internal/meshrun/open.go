package meshrun

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/mesh"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/relay"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/underlay"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// prepare reads what the host's folder says. Nothing else can be in the way of that.
func (p *Process) prepare() (*running, error) {
	spec, err := ReadSpec(p.Dir)
	if err != nil {
		return nil, err
	}
	limitMemory(spec.Backend == string(wireguard.Netstack))
	rosters, err := rosterdir.Open(filepath.Join(p.Dir, Folder, "rosters"))
	if err != nil {
		return nil, err
	}
	if id := rosters.ID(); !id.IsZero() && id != spec.Deployment {
		return nil, fmt.Errorf("the rosters kept here are of deployment %s, not %s", id.Short(), spec.Deployment.Short())
	}
	key, err := readKey(tunnelKey(p.Dir, spec.Driver))
	if err != nil {
		return nil, err
	}
	r := &running{
		Process: p, spec: spec, rosters: rosters, started: time.Now().UTC(), troubles: troubles{logger: p.Logger},
		opened: make(chan struct{}), again: make(chan struct{}, 1),
	}
	r.key.Store(&key)
	r.members.Store(membersOf(rosters.State().Effective))
	r.driver, err = driverOf(spec)
	return r, err
}

// carry carries the mesh until ctx is done.
func (r *running) carry(ctx context.Context) (err error) {
	if err := r.await(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	close(r.opened)
	r.obey(true) // what came meanwhile, and the next key, where a crash came between the roster and the key
	r.Logger.Info("mesh started", "backend", r.driver.backend(), "why", r.device.Reason(), "address", r.device.Address())
	g, life := errgroup.WithContext(ctx)
	g.Go(func() error { return r.mesh.Run(life) })
	g.Go(func() error { return wireguard.WatchUnderlay(life, r.mesh.UnderlayChanged) })
	g.Go(func() error { return r.settleAgain(life) })
	g.Go(func() error { return r.watchFilter(life) })
	if r.server != nil {
		g.Go(func() error { return r.relay(life) })
	}
	return g.Wait()
}

// isOpen reports whether the tunnel is open, and all that follows from it is there.
func (r *running) isOpen() bool {
	select {
	case <-r.opened:
		return true
	default:
		return false
	}
}

// await opens the tunnel, again and again for as long as something is in the way that may go away by itself: the UDP port
// is somebody else's, or the packet filter cannot be loaded. To end and be started again would not help either.
func (r *running) await(ctx context.Context) error {
	h := &hushed{Handler: r.Logger.Handler()}
	for b := (backoff{}); ; {
		err := r.open(ctx, slog.New(h))
		h.quiet.Store(false)
		if err == nil || !passing(err) {
			r.troubles.note("open", nil)
			return err
		}
		r.troubles.note("open", r.whose(err))
		h.quiet.Store(true)
		if !b.wait(ctx) {
			return nil
		}
	}
}

// hushed is a log that can be made to say nothing: what is tried again and again fails in the same words each time.
type hushed struct {
	slog.Handler
	quiet atomic.Bool
}

// Enabled implements [slog.Handler].
func (h *hushed) Enabled(ctx context.Context, l slog.Level) bool {
	return !h.quiet.Load() && h.Handler.Enabled(ctx, l)
}

// passing reports whether what is in the way may go away by itself.
func passing(err error) bool { return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, errFilter) }

// whose adds to an error who has the UDP port, as far as that can be known.
func (r *running) whose(err error) error {
	listen, bad := parseListen(r.spec.Listen)
	if bad != nil || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	if id, name, unknown := process.UDPHolder(listen.Port()); unknown == nil && !id.IsZero() {
		return fmt.Errorf("UDP port %d is taken by %s, process %d; it is tried again until it is free", listen.Port(), name, id.PID)
	}
	return fmt.Errorf("UDP port %d is taken; it is tried again until it is free", listen.Port())
}

// open opens the tunnel and makes everything that lives on it. What was opened before an error is closed again.
func (r *running) open(ctx context.Context, tunnelLog *slog.Logger) error {
	seed, err := readKey(filepath.Join(r.Dir, Folder, RelayKey))
	if err != nil {
		return err
	}
	p := &Process{Dir: r.Dir, Version: r.Version, Logger: tunnelLog}
	if r.device, err = r.driver.open(ctx, p, r.spec, *r.key.Load()); err != nil {
		return err
	}
	r.members.Store(membersOf(r.rosters.State().Effective))
	r.rules = &rules{
		enabled: r.driver.filters(), iface: r.spec.Interface, underlay: r.spec.Underlay, open: r.spec.Open,
		port: r.device.ListenPort(), loader: LoadRules, lister: listRules,
	}
	if err := r.rules.load(ctx, r.members.Load(), r.spec.Identity); err != nil {
		return errors.Join(err, r.device.Close())
	}
	r.relays = &relay.Client{
		Key: ed25519.NewKeyFromSeed(seed[:]), Peer: r.peer, Local: r.local, Logger: r.Logger,
	}
	if r.spec.Relay != "" {
		r.server = &relay.Server{
			Key: ed25519.NewKeyFromSeed(seed[:]), Self: r.spec.Identity, Member: r.memberByTLS, ByID: r.memberByID,
			Linked: linked, Local: r.local, Logger: r.Logger,
		}
	}
	r.mesh = mesh.New(mesh.Config{
		Self: r.spec.Identity, Rosters: r.rosters, Tunnel: r.device, Relays: r.relays, Resolve: underlay.Resolve,
		Changed: func() { r.obey(false) }, Logger: r.Logger,
	})
	r.forwards = &forwarder{
		network: r.device, allowed: r.mesh.Allowed, address: r.addressOf, mayDial: r.mayDial, logger: r.Logger,
	}
	// A port that somebody else has costs what goes through that port, not every tunnel of the host.
	r.troubles.note("forwards", r.forwards.set(r.spec.Serve, r.spec.Forwards))
	return nil
}

func (r *running) close() error {
	r.forwards.close()
	r.relays.Shutdown()
	return r.device.Close()
}
