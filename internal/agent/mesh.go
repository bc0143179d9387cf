package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// meshTimeout bounds what a turn waits for the mesh process.
const meshTimeout = time.Second

// meshPatience is how long a mesh process may run without an answer before it is replaced. It is long for a computer
// that is busy: ending it costs the host its tunnels for a moment.
const meshPatience = 30 * time.Second

// errMeshSilent is inside the error when a mesh process did not answer at all.
var errMeshSilent = errors.New("it does not answer")

// meshWanted says what the mesh process of this host should do; without a place in the mesh there is to be none.
func meshWanted(f facts) (meshrun.Spec, bool) {
	r := f.state.Effective
	if f.moved || f.host == nil || r == nil || r.MeshDriver == "" || r.MeshDriver != f.host.Enrollment.MeshDriver {
		return meshrun.Spec{}, false
	}
	self, member := r.MemberByIdentity(roster.Key(f.host.Enrolled.Identity))
	if !member || !self.InMesh() || r.Tombstoned(self.Identity) {
		return meshrun.Spec{}, false
	}
	listen := f.host.Enrollment.Listen
	local := node.LocalOf(listen)
	s := meshrun.Spec{
		Deployment: r.DeploymentID(), Identity: self.Identity, Driver: r.MeshDriver, Listen: listen.Mesh, Relay: listen.Relay,
		Program: f.host.Enrollment.MeshProgram,
	}
	if r.MeshDriver == roster.MeshVpnCloud {
		s.Public = self.Mesh.Endpoint
	}
	if !local.Forwards {
		s.Interface = "pressenter"
		// Without the port of SSH the filter would shut out whoever keeps the host, and so might one that nobody came in through.
		s.Underlay, s.Open = listen.Machine && f.filtered && len(f.ssh) > 0, openPorts(f.ssh, self.Role, listen)
		return s, true
	}
	s.Backend = "netstack" // hosts that share a computer have no network of their own
	if self.Role == roster.RoleSentry {
		s.Serve = []meshrun.Served{
			{Service: string(access.P2P), To: listen.P2P},
			{Service: string(access.RPC), To: listen.RPC}, // for devices
		}
	}
	for _, p := range node.Dials(r, self, local) {
		if m, ok := r.Member(p.Name); ok && m.InMesh() {
			s.Forwards = append(s.Forwards, api.Forward{Peer: m.Name, Service: string(access.P2P), Listen: p.Address})
		}
	}
	return s, true
}

// openPorts are the TCP ports of a machine that stay open to the world: whoever keeps it comes in by SSH, and a sentry is
// there to be reached.
func openPorts(ssh []uint16, role roster.Role, listen api.Listen) []uint16 {
	open := slices.Clone(ssh)
	if role != roster.RoleSentry {
		return open
	}
	for _, address := range []string{listen.P2P, listen.Relay} {
		_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "tcp://"))
		if err != nil {
			continue // it does not listen there
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 0 {
			open = append(open, uint16(n))
		}
	}
	return open
}

// followMesh makes the mesh process as it is wanted. A new process is started only for what a running one cannot take.
func (k *keeper) followMesh(ctx context.Context, f facts) error {
	if f.intent.Held {
		return nil
	}
	if k.rotated {
		if err := k.noteMeshKeys(); err != nil {
			return err
		}
	}
	want, any := meshWanted(f)
	_, up, err := k.runner.Up()
	if err != nil {
		return err
	}
	if !any {
		if up {
			k.Logger.Info("stopping mesh: this host has no place in it")
			return k.runner.StopMesh(ctx)
		}
		return nil
	}
	if _, err := k.Folder.owner(k.Folder.path(meshrun.Folder)); err != nil {
		return err // that its spec cannot be read now is not to end it
	}
	var have meshrun.Spec
	err = k.Folder.asMesh(func() (err error) { have, err = meshrun.ReadSpec(string(k.Folder)); return err })
	if err != nil || !reflect.DeepEqual(have, want) {
		if up && (err != nil || !have.SameProcess(want)) {
			if err := k.runner.StopMesh(ctx); err != nil {
				return err
			}
			up = false
		}
		if err := k.Folder.asMesh(func() error { return meshrun.WriteSpec(string(k.Folder), want) }); err != nil {
			return err
		}
	}
	if up && k.meshStuck() {
		k.Logger.Warn("ending a mesh process that does not answer", "for", meshPatience)
		if err := k.runner.StopMesh(ctx); err != nil {
			return err
		}
		up = false
	}
	if _, overruled, _ := k.runner.Overruled(); up || overruled != "" {
		return nil
	}
	k.Logger.Info("starting mesh", "driver", want.Driver)
	if err := k.runner.StartMesh(); err != nil {
		return err
	}
	k.syncMesh(ctx) // without rosters it has no peers
	return nil
}

// meshStuck says whether the mesh process has answered nothing for too long: it is stopped or stuck, or its socket is
// gone. It gets as much time again before it is asked the next time.
func (k *keeper) meshStuck() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.meshSilent.IsZero() || time.Since(k.meshSilent) < meshPatience {
		return false
	}
	k.meshSilent = time.Time{}
	return true
}

// syncMesh gives the mesh process the rosters that it lacks, takes those that it learnt from peers, and notes how it
// is. A mesh process that does not answer is no reason to do nothing else.
func (k *keeper) syncMesh(ctx context.Context) {
	st, err := k.askMesh(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mesh = nil
	_, up, unsure := k.runner.Up()
	up = up || unsure != nil // until it can be told
	switch {
	case !up || !errors.Is(err, errMeshSilent):
		k.meshSilent = time.Time{}
	case k.meshSilent.IsZero():
		k.meshSilent = time.Now()
	}
	k.meshFollows = !up || err == nil
	if err != nil {
		if up && !errors.Is(err, errMeshSilent) {
			k.mesh = &st // it answers, and cannot do all that it was asked
		}
		if up && err.Error() != k.meshTrouble {
			k.meshTrouble = err.Error()
			k.Logger.Warn("asking the mesh process", "err", err)
		}
		return
	}
	k.mesh, k.meshTrouble = &st, ""
	k.rotated = k.host != nil && len(k.host.Enrolled.MeshKey) == len(tunnel.Key{}) && st.Key != tunnel.Key(k.host.Enrolled.MeshKey).String()
	if st.Learned && !k.learned {
		k.Logger.Info("the mesh knows no newer roster", "generation", st.Generation)
		k.learned = true
	}
}

func (k *keeper) askMesh(ctx context.Context) (api.MeshStatus, error) {
	if _, up := k.runner.Mesh(); !up {
		return api.MeshStatus{}, errors.New("it does not run")
	}
	ctx, cancel := context.WithTimeout(ctx, meshTimeout)
	defer cancel()
	c, err := k.Folder.dialMesh()
	if err != nil {
		return api.MeshStatus{}, err
	}
	defer c.Close()
	st, err := c.Mesh(ctx)
	if err != nil {
		return st, fmt.Errorf("%w: %w", errMeshSilent, err)
	}
	if k.sameHeads(st.Heads) {
		return st, nil
	}
	if err := c.TellMesh(ctx, api.PublishRequest{Envelopes: encodeAll(k.rosters.Envelopes())}); err != nil {
		return st, fmt.Errorf("tell mesh the rosters: %w", err)
	}
	reply, err := c.MeshRosters(ctx)
	if err != nil {
		return st, err
	}
	envs, err := decodeAll(reply.Envelopes)
	if err != nil {
		return st, err
	}
	if err := k.rosters.Learn(envs); err != nil {
		return st, fmt.Errorf("take rosters from mesh: %w", err)
	}
	if st, err = c.Mesh(ctx); err == nil && !k.sameHeads(st.Heads) {
		st.Learned = false // it learnt more meanwhile; the next turn compares again
	}
	return st, err
}

// sameHeads says whether this host's log has the same heads.
func (k *keeper) sameHeads(heads []string) bool {
	mine := k.rosterStatus().Heads
	slices.Sort(mine)
	return slices.Equal(mine, slices.Sorted(slices.Values(heads)))
}

// rotateMesh bears the mesh key that this host will change to once the roster says so.
func (k *keeper) rotateMesh(_ *http.Request, _ struct{}) (api.Enrolled, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	if k.host == nil || k.host.Enrollment.MeshDriver != roster.MeshWireGuard {
		return api.Enrolled{}, refuse(http.StatusConflict, "not-enrolled", errors.New("this host has no WireGuard key to change"), "run 'pressenter apply' first")
	}
	err := k.Folder.asMesh(func() error {
		_, err := meshrun.BearNext(string(k.Folder), k.host.Enrollment.MeshDriver)
		return err
	})
	if err != nil {
		return api.Enrolled{}, err
	}
	if err := k.noteMeshKeys(); err != nil {
		return api.Enrolled{}, err
	}
	return k.host.Enrolled, nil
}

// noteMeshKeys brings the host's record up to date with its keys, of which the mesh process changes to the next one by
// itself.
func (k *keeper) noteMeshKeys() error {
	h, err := k.Folder.adapt(k.host, k.host.Enrollment)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.host = h
	return nil
}

// bearMeshKeys makes the keys of a host's place in a mesh, and notes what its record says of that place.
func (f Folder) bearMeshKeys(h *host, r api.EnrollRequest) error {
	if err := f.checkMeshProgram(r); err != nil {
		return err
	}
	h.Enrollment.MeshProgram, h.Enrollment.MeshProgramHash, h.Enrolled.MeshProgram = r.MeshProgram, r.MeshProgramHash, r.MeshProgramHash
	h.Enrollment.MeshDriver, h.Enrollment.Listen.Mesh, h.Enrollment.Listen.Relay = r.MeshDriver, r.Listen.Mesh, r.Listen.Relay
	h.Enrolled.MeshKey, h.Enrolled.MeshTLS, h.Enrolled.NextMeshKey, h.Enrolled.MeshDriver = nil, nil, nil, r.MeshDriver
	if r.MeshDriver == "" {
		return nil
	}
	var keys meshrun.Keys
	err := f.asMesh(func() (err error) { keys, err = meshrun.BearKeys(string(f), r.MeshDriver); return err })
	if err != nil {
		return err
	}
	h.Enrolled.MeshKey, h.Enrolled.MeshTLS = keys.Tunnel[:], keys.TLS[:]
	if !keys.Next.IsZero() {
		h.Enrolled.NextMeshKey = keys.Next[:]
	}
	return nil
}
