package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/roster"
)

var figures = flag.Bool("figures", false, "print what the mesh tests measured")

// figure prints a figure of 'make bench-mesh'. No test depends on it.
func figure(name string, value float64, unit, rival string, rivalValue float64) {
	if !*figures {
		return
	}
	ratio := 1.0
	if value != rivalValue {
		ratio = value / rivalValue
	}
	fmt.Printf("figure %s %.3g %s rival=%s:%.3g ratio=%.3g\n", name, value, unit, rival, rivalValue, ratio)
}

// meshLab is a mesh of real processes on the hosts of a network lab. Its operator is the test.
type meshLab struct {
	*netlab.Internet
	t         *testing.T
	hosts     []*meshHost
	admin     ed25519.PrivateKey
	head      *roster.Roster // nil before the first sign
	envelopes []roster.Envelope
}

// Ports of every host on the underlay.
const (
	meshPort  = 51820
	relayPort = 7443
)

// newMeshLab returns a mesh of a validator, v, and sentries that all relay, s1 and so on. Everything runs.
func newMeshLab(t *testing.T, sentries int) *meshLab {
	t.Helper()
	m := quietMeshLab(t, sentries)
	for _, h := range m.hosts {
		h.start()
	}
	m.await("everybody to reach everybody", m.whole)
	return m
}

// quietMeshLab returns such a mesh before anything runs.
func quietMeshLab(t *testing.T, sentries int) *meshLab {
	t.Helper()
	need(t)
	m := &meshLab{Internet: netlab.New(t).Internet(), t: t}
	var err error
	_, m.admin, err = ed25519.GenerateKey(rand.Reader)
	m.must(err)
	m.add("v", roster.RoleValidator)
	for i := range sentries {
		m.add(fmt.Sprintf("s%d", i+1), roster.RoleSentry)
	}
	m.sign(nil)
	for _, h := range m.hosts {
		h.tell()
	}
	return m
}

func (m *meshLab) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// add makes a host that the next sign admits.
func (m *meshLab) add(name string, role roster.Role) *meshHost {
	m.t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader) // the private half is the agent's, and there is none
	m.must(err)
	h := &meshHost{
		Host: m.Host(name), mesh: m, name: name, role: role, identity: roster.KeyOf(public),
		folder: filepath.Join(m.t.TempDir(), name),
		device: fmt.Sprintf("pe%d-%d", os.Getpid()%100_000, len(m.hosts)), // user space WireGuards share one folder of sockets
	}
	m.must(os.MkdirAll(h.folder, 0o700))
	h.keys, err = meshrun.BearKeys(h.folder, roster.MeshWireGuard)
	m.must(err)
	m.t.Cleanup(h.kill)
	m.hosts = append(m.hosts, h)
	return h
}

// host returns the one of that name.
func (m *meshLab) host(name string) *meshHost {
	m.t.Helper()
	for _, h := range m.hosts {
		if h.name == name {
			return h
		}
	}
	m.t.Fatalf("no host is called %q", name)
	return nil
}

// sign makes the next generation: it admits hosts that were added, and change may do more. Nobody is told.
func (m *meshLab) sign(change func(*roster.Roster)) {
	m.t.Helper()
	var r *roster.Roster
	if m.head == nil {
		key := roster.KeyOf(m.admin.Public().(ed25519.PublicKey))
		r = roster.New("lab", []roster.Admin{{Name: "test", Key: key, Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "lab-1"})
		r.MeshDriver = roster.MeshWireGuard
	} else {
		r = roster.Next(m.head)
	}
	for _, h := range m.hosts {
		if _, ok := r.MemberByIdentity(h.identity); !ok && !r.Tombstoned(h.identity) {
			r.Members = append(r.Members, h.member(r.Generation))
		}
	}
	if change != nil {
		change(r)
	}
	e, err := roster.Sign(r, m.admin)
	m.must(err)
	m.head, m.envelopes = r, append(m.envelopes, e)
}

// awaitLimit is when a wait is given up: nothing in a mesh may take that long.
const awaitLimit = 3 * time.Minute

// await waits until what is asked for is so, and tells how long that took.
func (m *meshLab) await(what string, so func() error) time.Duration {
	m.t.Helper()
	begun := time.Now()
	for {
		err := so()
		if err == nil {
			return time.Since(begun)
		}
		if time.Since(begun) > awaitLimit || m.ended() {
			m.tails()
			m.t.Fatalf("waited in vain for %s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ended reports whether a process has ended by itself, which none should.
func (m *meshLab) ended() bool {
	for _, h := range m.hosts {
		if !h.runs() {
			continue
		}
		select {
		case <-h.ended:
			return true
		default:
		}
	}
	return false
}

// tails logs what hosts say that miss a peer or have ended.
func (m *meshLab) tails() {
	const enough = 4 // hosts
	told := 0
	for _, h := range m.hosts {
		if !h.runs() {
			continue
		}
		s, err := h.status()
		var missing []string
		for _, p := range s.Peers {
			if p.Path == api.PathDown {
				missing = append(missing, p.Name+": "+p.Why)
			}
		}
		if err == nil && (len(missing) == 0 || told >= enough) {
			continue
		}
		told++
		b, _ := os.ReadFile(h.log())
		m.t.Logf("%s: %v, misses %q; its log:\n%s", h.name, err, missing, b[max(0, len(b)-3000):])
	}
}

// whole says whether every host has a path to everybody that it has to do with, and what one host misses if not. It asks
// no further then: fifty hosts that are asked all the time have less time to start.
func (m *meshLab) whole() error {
	for _, h := range m.hosts {
		if !h.runs() || m.head.Tombstoned(h.identity) {
			continue
		}
		if err := h.linked(); err != nil {
			return err
		}
	}
	return nil
}

// linked says whether a host has a path to all of its peers, and which are missing.
func (h *meshHost) linked() error {
	s, err := h.status()
	if err != nil {
		return err
	}
	var missing []error
	for _, other := range h.mesh.hosts {
		talks := access.Allowed(h.role, other.role, access.Control) || access.Allowed(other.role, h.role, access.Control)
		if other == h || !talks || !other.runs() || h.mesh.head.Tombstoned(other.identity) {
			continue
		}
		if p := peer(s, other.name); p.Path != api.PathDirect && p.Path != api.PathRelay {
			missing = append(missing, fmt.Errorf("%s has no path to %s: %s", h.name, other.name, p.Why))
		}
	}
	return errors.Join(missing...)
}

// peer finds one in a status.
func peer(s api.MeshStatus, name string) api.MeshPeer {
	for _, p := range s.Peers {
		if p.Name == name {
			return p
		}
	}
	return api.MeshPeer{Why: "it is not known"}
}
