package agent

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// inMesh gives the validator and its sentries places in a mesh.
func (r *rig) inMesh(t *testing.T) {
	t.Helper()
	req := r.host.Enrollment
	req.MeshDriver, req.Listen.Mesh = roster.MeshWireGuard, "127.0.0.1:0"
	h, err := r.Folder.adapt(r.host, req)
	must(t, err)
	r.host = h
	r.next(t, func(n *roster.Roster) {
		n.MeshDriver = roster.MeshWireGuard
		for i, m := range n.Members {
			n.Members[i].Mesh = roster.Mesh{Key: roster.Key{1, byte(i)}, TLS: roster.Key{2, byte(i)}}
			if m.Name == "validator" {
				n.Members[i].Mesh = roster.Mesh{Key: roster.Key(h.Enrolled.MeshKey), TLS: roster.Key(h.Enrolled.MeshTLS)}
			}
		}
	})
}

// A host is born into the mesh once, and keeps its keys whatever it is asked again.
func TestMeshKeysAreBornOnce(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	first := r.host.Enrolled
	again, err := r.Folder.adapt(r.host, r.host.Enrollment)
	must(t, err)
	if again != r.host || len(first.MeshKey) != 32 || len(first.MeshTLS) != 32 || slices.Equal(first.MeshKey, first.MeshTLS) {
		t.Errorf("keys %x and %x became %x and %x", first.MeshKey, first.MeshTLS, again.Enrolled.MeshKey, again.Enrolled.MeshTLS)
	}
	for _, name := range []string{meshrun.TunnelKey, meshrun.RelayKey} {
		info, err := os.Stat(r.Folder.path(meshrun.Folder, name))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	must(t, os.WriteFile(r.Folder.path(meshrun.Folder, meshrun.TunnelKey), []byte("torn"), 0o600))
	if _, err := r.Folder.adapt(r.host, r.host.Enrollment); err == nil {
		t.Error("a key that cannot be read was replaced, and the roster holds its public half")
	}
}

// The validator reaches its sentries through the mesh and offers nothing.
func TestMeshOfValidator(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	r.mustTurn(t)
	if !r.run.mesh {
		t.Fatal("no mesh process runs")
	}
	spec, err := meshrun.ReadSpec(string(r.Folder))
	must(t, err)
	if spec.Deployment != r.head.DeploymentID() || spec.Backend != "netstack" || len(spec.Serve) != 0 || len(spec.Forwards) != 2 {
		t.Errorf("spec %+v", spec)
	}
	config, err := os.ReadFile(filepath.Join(r.Folder.Home(), "config", "config.toml"))
	must(t, err)
	for _, f := range spec.Forwards {
		m, _ := r.head.Member(f.Peer)
		if want := node.Forward(roster.Key(r.host.Enrolled.Identity), m.Identity); f.Listen != want || !contains(config, want) {
			t.Errorf("%s is reached at %s, want %s, also in config.toml", f.Peer, f.Listen, want)
		}
		if contains(config, m.Endpoint) {
			t.Errorf("config.toml names %s's public address %s", f.Peer, m.Endpoint)
		}
	}
}

func contains(b []byte, s string) bool { return slices.Contains(splitOn(b), s) }

// splitOn cuts a configuration into what stands between punctuation that no address has.
func splitOn(b []byte) []string {
	var out []string
	start := 0
	for i, c := range b {
		if c == '@' || c == ',' || c == '"' || c == '\n' {
			out, start = append(out, string(b[start:i])), i+1
		}
	}
	return out
}

// A process goes on where it can; only what it cannot take by itself costs its tunnels.
func TestMeshProcessIsReplacedOnlyIfNeedBe(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	r.mustTurn(t)
	r.next(t, func(n *roster.Roster) { n.Remove("s2") })
	r.mustTurn(t)
	if spec, err := meshrun.ReadSpec(string(r.Folder)); err != nil || len(spec.Forwards) != 1 || r.run.meshStops != 0 {
		t.Errorf("a sentry left: spec %+v, %v, %d stops", spec, err, r.run.meshStops)
	}
	r.host.Enrollment.Listen.Mesh = "127.0.0.1:4"
	r.mustTurn(t)
	if !r.run.mesh || r.run.meshStops != 1 {
		t.Errorf("it listens elsewhere: runs %v, stopped %d times", r.run.mesh, r.run.meshStops)
	}
	r.next(t, func(n *roster.Roster) { n.Remove("validator") })
	r.mustTurn(t)
	if r.run.mesh {
		t.Error("a host that was removed still has a mesh process")
	}
}

// A process that runs and answers nothing is replaced after a while, and not again at once.
func TestMeshProcessThatIsSilentIsReplaced(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	r.mustTurn(t)
	r.mustTurn(t)
	if r.run.meshStops != 0 || r.meshSilent.IsZero() {
		t.Fatalf("%d stops; silent since %v", r.run.meshStops, r.meshSilent)
	}
	if r.applied != "" {
		t.Error("it says that it follows the roster, and its mesh process may not")
	}
	r.meshSilent = time.Now().Add(-meshPatience)
	must(t, writeJSON(r.Folder.intent(), api.Intent{Held: true, By: "me"}))
	r.mustTurn(t)
	if r.run.meshStops != 0 {
		t.Error("a held host's mesh process was ended")
	}
	must(t, writeJSON(r.Folder.intent(), api.Intent{}))
	r.mustTurn(t)
	if r.run.meshStops != 1 || !r.run.mesh {
		t.Errorf("%d stops; runs %v", r.run.meshStops, r.run.mesh)
	}
	r.mustTurn(t)
	if r.run.meshStops != 1 {
		t.Error("the new process was given no time")
	}
}

// What a person holds is not touched, and a copy of a host's folder carries no mesh.
func TestNoMeshFor(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	must(t, writeJSON(r.Folder.intent(), api.Intent{Held: true, By: "me"}))
	r.mustTurn(t)
	if r.run.mesh {
		t.Error("a held host started a mesh process")
	}
	must(t, writeJSON(r.Folder.intent(), api.Intent{Stopped: true, By: "me"}))
	r.mustTurn(t)
	if !r.run.mesh {
		t.Error("rosters do not reach a host whose node is stopped")
	}
	r.host.Place.Machine = "another"
	r.mustTurn(t)
	if r.run.mesh {
		t.Error("a copy carries the mesh of its original")
	}
}

// fakeMesh answers as a mesh process that knows some rosters.
type fakeMesh struct {
	t       *testing.T
	store   *rosterdir.Store
	learned bool
	full    error // why it can keep no rosters
}

// Rosters go both ways between agent and mesh, and a mesh that has asked around opens the boot gate.
func TestMeshSync(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	r.learned = false
	store, err := rosterdir.Open(t.TempDir())
	must(t, err)
	mesh := &fakeMesh{t: t, store: store}
	must(t, mesh.store.Learn(r.rosters.Envelopes()[:1]))
	must(t, os.MkdirAll(r.Folder.path(meshrun.Folder), 0o700))
	l, err := api.ListenIn(string(r.Folder), api.MeshSocket)
	must(t, err)
	mesh.serve(l)
	r.run.mesh = true
	r.mustTurn(t)
	if got := len(mesh.store.Envelopes()); got != len(r.rosters.Envelopes()) {
		t.Errorf("the mesh was told of %d generations", got)
	}
	if r.run.starts != 0 || r.learned {
		t.Error("a node started before anybody said that the roster is the newest")
	}
	// A peer brings the generation that removes a sentry.
	after := roster.Next(r.head)
	after.Remove("s2")
	next := r.sign(t, after)
	must(t, mesh.store.Learn([]roster.Envelope{next}))
	mesh.learned = true
	r.mustTurn(t)
	if head := r.rosters.State().Head; head == nil || head.Hash() != next.Hash() {
		t.Errorf("head %v", head)
	}
	if r.applied != next.Hash().String() {
		t.Errorf("it follows %q", r.applied)
	}
	if !r.learned || r.run.starts != 1 {
		t.Errorf("learned %v, %d starts", r.learned, r.run.starts)
	}
	if st := r.status(t.Context()); st.Mesh == nil || st.Mesh.Driver != roster.MeshWireGuard {
		t.Errorf("status tells of the mesh %+v", st.Mesh)
	}
}

// A mesh process that cannot keep rosters is why the host is behind, and the host says so.
func TestMeshThatCannotKeepRosters(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	store, err := rosterdir.Open(t.TempDir())
	must(t, err)
	mesh := &fakeMesh{t: t, store: store, full: syscall.ENOSPC}
	must(t, os.MkdirAll(r.Folder.path(meshrun.Folder), 0o700))
	l, err := api.ListenIn(string(r.Folder), api.MeshSocket)
	must(t, err)
	mesh.serve(l)
	r.run.mesh = true
	r.mustTurn(t)
	st := r.status(t.Context())
	said := slices.ContainsFunc(st.Findings, func(f health.Finding) bool {
		return f.Code == "mesh-behind" && strings.Contains(f.Message, syscall.ENOSPC.Error())
	})
	if st.Roster.Applied != "" || !strings.Contains(st.Roster.Behind, syscall.ENOSPC.Error()) || !said {
		t.Errorf("roster %+v, findings %v", st.Roster, st.Findings)
	}
	mesh.full = nil
	r.mustTurn(t)
	if st := r.status(t.Context()); st.Roster.Applied != r.head.Hash().String() || st.Roster.Behind != "" || len(st.Findings) != 0 {
		t.Errorf("there is room again: roster %+v, findings %v", st.Roster, st.Findings)
	}
}

func (m *fakeMesh) serve(l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathMesh, func(w http.ResponseWriter, _ *http.Request) {
		st := api.MeshStatus{Driver: roster.MeshWireGuard, Learned: m.learned}
		for _, h := range m.store.State().Heads {
			st.Heads = append(st.Heads, h.String())
		}
		writeAnswer(w, http.StatusOK, st)
	})
	mux.HandleFunc("GET "+api.PathMeshRoster, func(w http.ResponseWriter, _ *http.Request) {
		writeAnswer(w, http.StatusOK, api.RosterReply{Envelopes: encodeAll(m.store.Envelopes())})
	})
	mux.HandleFunc("PUT "+api.PathMeshRoster, func(w http.ResponseWriter, r *http.Request) {
		var in api.PublishRequest
		must(m.t, json.NewDecoder(r.Body).Decode(&in))
		envs, err := decodeAll(in.Envelopes)
		must(m.t, err)
		if m.full != nil {
			writeAnswer(w, http.StatusUnprocessableEntity, api.Problem{Error: m.full.Error(), Code: "invalid"})
			return
		}
		must(m.t, m.store.Learn(envs))
		writeAnswer(w, http.StatusOK, struct{}{})
	})
	s := &http.Server{Handler: mux}
	m.t.Cleanup(func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
}

// A sentry of a machine is to be reached, a validator by nobody but its keeper.
func TestOpenPorts(t *testing.T) {
	listen := api.Listen{P2P: "[::]:26656", RPC: "127.0.0.1:26657", Relay: "[::]:443"}
	for role, want := range map[roster.Role][]uint16{roster.RoleValidator: {22}, roster.RoleSentry: {22, 26656, 443}} {
		if got := openPorts([]uint16{22}, role, listen); !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d", role, got, want)
		}
	}
	if got := openPorts(nil, roster.RoleSentry, api.Listen{P2P: "[::]:26656"}); !slices.Equal(got, []uint16{26656}) {
		t.Errorf("without a relay: %d", got)
	}
}
