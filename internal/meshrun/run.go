package meshrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/mesh"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/relay"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// LockName is how a mesh process calls itself in its lock.
const LockName = "pressenter mesh run"

// Process is the mesh process of one host.
type Process struct {
	Dir     string // the host's folder
	Version string
	Logger  *slog.Logger
}

// device is a tunnel with what only its owner does.
type device interface {
	tunnel.Tunnel
	Reason() string
	ListenPort() uint16
	Close() error
}

// running is a mesh process at work.
type running struct {
	*Process
	spec     Spec
	driver   driver
	device   device
	rosters  *rosterdir.Store
	mesh     *mesh.Mesh
	relays   *relay.Client
	server   *relay.Server
	forwards *forwarder
	rules    *rules
	started  time.Time

	lock     *process.Lock
	troubles troubles
	opened   chan struct{} // closed when device, mesh, relays, server, forwards and rules are there
	again    chan struct{} // something of the roster could not be done, see settle

	members atomic.Pointer[members]    // of the roster that is obeyed
	key     atomic.Pointer[tunnel.Key] // the private key that the device uses
	obeying sync.Mutex                 // one obey at a time
}

// Run carries the mesh until ctx is done or the host's folder is gone. It returns at once with a *process.Held inside
// the error if the host has a mesh process already.
func (p *Process) Run(ctx context.Context) (err error) {
	if err := os.MkdirAll(filepath.Join(p.Dir, Folder), 0o700); err != nil {
		return err
	}
	lock, err := process.TryLock(filepath.Join(p.Dir, LockFile), LockName)
	if err != nil {
		return fmt.Errorf("carry mesh of %q: %w", p.Dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	r, err := p.prepare()
	if err != nil {
		return fmt.Errorf("carry mesh of %q: %w", p.Dir, err)
	}
	r.lock = lock
	l, err := api.ListenIn(p.Dir, api.MeshSocket)
	if err != nil {
		return err
	}
	g, life := errgroup.WithContext(ctx)
	g.Go(func() error { return r.serve(life, l) })
	g.Go(func() error { return r.watchSpec(life) })
	g.Go(func() error { return r.carry(life) })
	if err := g.Wait(); err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
		return fmt.Errorf("carry mesh of %q: %w", p.Dir, err)
	}
	return nil
}

// obey makes everything that admits anybody follow the roster. The mesh has done so for the tunnel already when it
// learnt the roster by itself; told says that it was told by the agent.
func (r *running) obey(told bool) {
	r.obeying.Lock()
	defer r.obeying.Unlock()
	r.members.Store(membersOf(r.rosters.State().Effective))
	if told {
		r.mesh.RosterChanged()
	}
	r.forwards.cut()
	r.relays.Cut()
	if r.server != nil {
		r.server.Cut()
	}
	if !r.settle(context.Background()) {
		select {
		case r.again <- struct{}{}:
		default: // it is tried again already
		}
	}
}

// relay answers on the relay's port, as soon as it can be had: the host's own tunnels do not depend on it.
func (r *running) relay(ctx context.Context) error {
	t := time.NewTicker(specEvery)
	defer t.Stop()
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.spec.Relay)
		if err == nil {
			r.troubles.note("relay", nil)
			return r.server.Serve(ctx, l)
		}
		r.troubles.note("relay", fmt.Errorf("open relay port: %w", err))
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// specEvery is how often the spec is looked at.
const specEvery = 250 * time.Millisecond

// watchSpec follows the agent's spec for as long as the host's folder is there and the lock in it is ours.
func (r *running) watchSpec(ctx context.Context) error {
	t := time.NewTicker(specEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		spec, err := ReadSpec(r.Dir)
		if errors.Is(err, os.ErrNotExist) {
			if _, gone := os.Stat(r.Dir); errors.Is(gone, os.ErrNotExist) {
				return errGone
			}
		}
		if err := r.holds(); err != nil {
			return err
		}
		if err != nil || !r.spec.SameProcess(spec) {
			continue // the agent starts another process for it
		}
		if !r.isOpen() {
			continue
		}
		r.troubles.note("tunnel key", r.keepKey())
		r.troubles.note("forwards", r.forwards.set(spec.Serve, spec.Forwards))
	}
}

// holds says whether the lock in the folder is still the one that we took. Without it nobody sees this process, and
// the agent starts another beside it, which finds every port taken.
func (r *running) holds() error {
	ours, err := r.lock.File().Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(filepath.Join(r.Dir, LockFile))
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(ours, there) {
		return fmt.Errorf("%s was removed or replaced while this process held it", LockFile)
	}
	return nil // what cannot be told is no reason to end every tunnel
}

// keepKey writes the key in use again if its file is gone: the roster holds its public half, and whoever reads the
// keys next would bear another.
func (r *running) keepKey() error {
	path := tunnelKey(r.Dir, r.spec.Driver)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r.obeying.Lock() // not while the next key takes its place
	defer r.obeying.Unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r.Logger.Warn("the file of the tunnel key was gone: written again")
	return writeKey(path, *r.key.Load())
}

var errGone = errors.New("the host's folder is gone")

// local is where our own tunnel takes packets from processes of this host.
func (r *running) local() netip.AddrPort {
	if at, err := netip.ParseAddrPort(r.spec.Listen); err == nil && !at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(at.Addr(), r.device.ListenPort())
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), r.device.ListenPort())
}

// addressOf is a peer's address inside the mesh.
func (r *running) addressOf(peer string) (netip.Addr, bool) {
	m, ok := r.members.Load().byName[peer]
	if !ok {
		return netip.Addr{}, false
	}
	return roster.MeshAddress(r.spec.Deployment, m.Identity), true
}

// mayDial reports whether this host may start a service with a peer.
func (r *running) mayDial(peer string, s access.Service) bool {
	m, ok := r.members.Load().byName[peer]
	self, known := r.memberByID(r.spec.Identity)
	return ok && known && access.Allowed(self.Role, m.Role, s)
}

// peer is a member that we may have a tunnel with.
func (r *running) peer(identity roster.Key) (roster.Member, bool) {
	m, ok := r.memberByID(identity)
	self, known := r.memberByID(r.spec.Identity)
	return m, ok && known && linked(self, m)
}

// linked reports whether two members may have a tunnel.
func linked(a, b roster.Member) bool { return access.Linked(a.Role, b.Role) }

func (r *running) memberByTLS(k roster.Key) (roster.Member, bool) {
	m, ok := r.members.Load().byTLS[k]
	return m, ok
}

func (r *running) memberByID(k roster.Key) (roster.Member, bool) {
	m, ok := r.members.Load().byID[k]
	return m, ok
}

// members are a roster's, for those who look them up.
type members struct {
	roster *roster.Roster // nil: none
	byName map[string]roster.Member
	byID   map[roster.Key]roster.Member
	byTLS  map[roster.Key]roster.Member
}

func membersOf(r *roster.Roster) *members {
	m := &members{roster: r, byName: map[string]roster.Member{}, byID: map[roster.Key]roster.Member{}, byTLS: map[roster.Key]roster.Member{}}
	if r == nil {
		return m
	}
	for _, x := range r.Members {
		if x.InMesh() {
			m.byName[x.Name], m.byID[x.Identity], m.byTLS[x.Mesh.TLS] = x, x, x
		}
	}
	return m
}
