package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// meshHost is one host of a mesh and its process.
type meshHost struct {
	*netlab.Host
	mesh     *meshLab
	name     string
	role     roster.Role
	identity roster.Key
	keys     meshrun.Keys
	folder   string
	device   string // of the tunnel

	run   *exec.Cmd // nil: does not run
	ended chan struct{}
	out   *os.File
}

// member is what the roster says of a new host.
func (h *meshHost) member(since uint64) roster.Member {
	m := roster.Member{
		Name: h.name, Role: h.role, Identity: h.identity, Since: since,
		Mesh: roster.Mesh{Key: h.keys.Tunnel, TLS: h.keys.TLS},
	}
	if h.role != roster.RoleValidator {
		m.Mesh.Endpoint = netip.AddrPortFrom(h.Address, meshPort).String()
		m.Mesh.Relay = netip.AddrPortFrom(h.Address, relayPort).String()
	}
	return m
}

// log is the file with all that the host's processes printed.
func (h *meshHost) log() string { return filepath.Join(h.folder, "mesh.log") }

// inside is the host's address in the mesh.
func (h *meshHost) inside() netip.Addr {
	return roster.MeshAddress(h.mesh.head.DeploymentID(), h.identity)
}

// service is where the host's chain would listen.
func (h *meshHost) service() netip.AddrPort {
	return netip.AddrPortFrom(h.inside(), access.P2P.Port())
}

// tell gives the host every generation: through its process where that runs, else through its folder.
func (h *meshHost) tell() {
	h.mesh.t.Helper()
	if !h.runs() {
		s, err := rosterdir.Open(filepath.Join(h.folder, meshrun.Folder, "rosters"))
		h.mesh.must(err)
		h.mesh.must(s.Learn(h.mesh.envelopes))
		return
	}
	request := api.PublishRequest{Evidence: true}
	for _, e := range h.mesh.envelopes {
		request.Envelopes = append(request.Envelopes, roster.EncodeEnvelope(e))
	}
	c := api.DialMesh(h.name, h.folder)
	defer c.Close()
	h.mesh.must(c.TellMesh(h.mesh.t.Context(), request))
}

// start starts the host's process, which keeps what it knows from earlier ones.
func (h *meshHost) start() {
	h.mesh.t.Helper()
	spec := meshrun.Spec{
		Deployment: h.mesh.head.DeploymentID(), Identity: h.identity, Driver: roster.MeshWireGuard,
		Interface: h.device, Listen: fmt.Sprintf(":%d", meshPort), Relay: fmt.Sprintf(":%d", relayPort), Underlay: true,
		Open: []uint16{relayPort, h.closed().Port()}, // as the agent says it of a sentry; the closed one answers knocks
	}
	if h.role == roster.RoleValidator {
		spec.Listen, spec.Relay, spec.Open = ":0", "", nil
	}
	h.mesh.must(meshrun.WriteSpec(h.folder, spec))
	out, err := os.OpenFile(h.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.mesh.must(err)
	cmd := h.Command(context.Background(), pressenter(), "mesh", "run", "--host", h.folder)
	cmd.Stdout, cmd.Stderr = out, out
	h.mesh.must(cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	h.run, h.ended, h.out = cmd, ended, out
}

// runs reports whether the host's process was started.
func (h *meshHost) runs() bool { return h.run != nil }

// stop asks the host's process to end, and waits for it.
func (h *meshHost) stop() { h.end(syscall.SIGTERM) }

// kill ends the host's process with no warning, as a lost machine does.
func (h *meshHost) kill() { h.end(syscall.SIGKILL) }

// endLimit is how long a process may take to end before it is killed.
const endLimit = 10 * time.Second

func (h *meshHost) end(signal syscall.Signal) {
	if h.run == nil {
		return
	}
	_ = h.run.Process.Signal(signal) // it may have ended by itself
	select {
	case <-h.ended:
	case <-time.After(endLimit):
		_ = h.run.Process.Kill()
		<-h.ended
	}
	_ = h.out.Close()
	h.run = nil
}

// status asks the host's process.
func (h *meshHost) status() (api.MeshStatus, error) {
	select {
	case <-h.ended:
		return api.MeshStatus{}, fmt.Errorf("the mesh process of %s has ended", h.name)
	default:
	}
	c := api.DialMesh(h.name, h.folder)
	defer c.Close()
	ctx, cancel := context.WithTimeout(h.mesh.t.Context(), endLimit)
	defer cancel()
	return c.Mesh(ctx)
}

// uses says whether a host's path to another one is of that form, and why not.
func (h *meshHost) uses(path string, to *meshHost) error {
	s, err := h.status()
	if err != nil {
		return err
	}
	if p := peer(s, to.name); p.Path != path {
		return fmt.Errorf("%s → %s is %s: %s", h.name, to.name, p.Path, p.Why)
	}
	return nil
}

// reaches says whether a packet to another host's service comes back now.
func (h *meshHost) reaches(to *meshHost) error {
	once, cancel := context.WithCancel(h.mesh.t.Context())
	cancel()
	if h.Knock(once, to.service(), netlab.PingOptions{Every: time.Second}).Lost() != 0 {
		return fmt.Errorf("%s does not reach %s", h.name, to.name)
	}
	return nil
}

// cut says whether a packet to another host's service is lost.
func (h *meshHost) cut(to *meshHost) error {
	if h.reaches(to) == nil {
		return errors.New(h.name + " still reaches " + to.name)
	}
	return nil
}
