package plan

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

const (
	laptopKey = "hLZmFyoYNxGmmWPKqmVGJDFuXqAxoq+ZHJ7p5mKKsEo="
	otherKey  = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	friend    = "0123456789abcdef0123456789abcdef01234567@192.0.2.9:26656"
)

// A deployment of before there was a mesh gets one: keys are born, the roster names them, and each node is restarted
// into it, sentries first.
func TestMeshComesLater(t *testing.T) {
	s := up(t)
	for _, v := range s.hosts[1] { // as if enrolled by an older version
		e := *v.enrolled
		e.MeshKey, e.MeshTLS, v.listen.Mesh = nil, nil, ""
		v.enrolled = &e
	}
	for i, h := range s.saved[1].Hosts {
		h.Listen.Mesh = ""
		s.saved[1].Hosts[i] = h
	}
	before := roster.Next(s.logs[1].State().Head)
	before.MeshDriver = ""
	for i := range before.Members {
		before.Members[i].Mesh = roster.Mesh{}
	}
	for _, v := range s.hosts[1] {
		v.revision = ""
	}
	must(t, s.publish(1, before))
	must(t, s.pushAll(1))
	p, err := s.apply(0)
	must(t, err)
	got := words(p, nil)
	for _, line := range []string{"change validator's place in the mesh: its mesh keys are born there", "sets mesh driver to wireguard", "restart s2", "restart validator"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	settles(t, s, "with a mesh")
	for _, m := range s.logs[1].State().Head.Members {
		if !m.InMesh() || (m.Role == roster.RoleValidator) != (m.Mesh.Endpoint == "") {
			t.Errorf("%s: %+v", m.Name, m.Mesh)
		}
	}
}

// What the config says of a sentry's relay and private peers, and of devices, comes and goes.
func TestMeshFollowsTheConfig(t *testing.T) {
	s := up(t)
	s.config = parse(t, strings.Replace(practiceYAML, "{name: s1}", "{name: s1, relay: true, private_peers: [\""+friend+"\"]}", 1)+
		"devices:\n  - {name: laptop, key: "+laptopKey+"}\n")
	settles(t, s, "with a relay and a laptop")
	r := s.logs[1].State().Head
	s1, _ := r.Member("s1")
	if s1.Mesh.Relay == "" || len(s1.PrivatePeers) != 1 || s1.PrivatePeers[0] != friend {
		t.Errorf("s1: %+v", s1)
	}
	if laptop, ok := r.Member("laptop"); !ok || laptop.Role != roster.RoleDevice {
		t.Errorf("laptop: %+v", laptop)
	}
	s.config = parse(t, practiceYAML+"devices:\n  - {name: laptop, key: "+otherKey+"}\n")
	settles(t, s, "with another laptop")
	r = s.logs[1].State().Head
	s1, _ = r.Member("s1")
	if s1.Mesh.Relay != "" || len(s1.PrivatePeers) != 0 {
		t.Errorf("s1: %+v", s1)
	}
	laptop, _ := r.Member("laptop")
	if len(r.Tombstones) != 1 || laptop.Mesh.Key == r.Tombstones[0].Identity {
		t.Errorf("laptop: %+v, tombstones %+v", laptop, r.Tombstones)
	}
}

// From one driver to another there is a generation without a mesh.
func TestMeshChangesItsDriver(t *testing.T) {
	s := up(t)
	before := s.logs[1].State().Head
	s.config.Mesh.Driver = roster.MeshVpnCloud
	p, err := s.apply(0)
	must(t, err)
	if !strings.Contains(words(p, nil), "cannot hide the validator") {
		t.Errorf("the plan does not say what vpncloud tells:\n%s", words(p, nil))
	}
	if !strings.Contains(words(p, nil), "from wireguard to vpncloud: until every host has done so the validator is cut off") {
		t.Errorf("the plan does not say what the change costs:\n%s", words(p, nil))
	}
	settles(t, s, "with another driver")
	var drivers []string
	for _, e := range s.logs[1].Envelopes() {
		r, err := roster.Parse(e.Payload)
		must(t, err)
		if r.Generation > before.Generation {
			drivers = append(drivers, r.MeshDriver)
		}
	}
	if after := s.logs[1].State().Head; len(drivers) < 2 || drivers[0] != "" || drivers[1] != roster.MeshVpnCloud || after.MeshDriver != roster.MeshVpnCloud || !after.Enrolled() {
		t.Errorf("drivers %q, then %q", drivers, after.MeshDriver)
	}
}

// A next key is announced, then put into use beside the old one, which goes once the host has changed.
func TestMeshKeyRotates(t *testing.T) {
	s := up(t)
	v := s.hosts[1]["s1"]
	first, next := v.enrolled.MeshKey, s.key("next tunnel").Public().(ed25519.PublicKey)
	set := func(change func(*api.Enrolled)) roster.Mesh {
		e := *v.enrolled
		change(&e)
		v.enrolled = &e
		settles(t, s, "rotating")
		m, _ := s.logs[1].State().Head.Member("s1")
		return m.Mesh
	}
	before := s.logs[1].State().Head.Generation
	if m := set(func(e *api.Enrolled) { e.NextMeshKey = next }); m.Key != roster.Key(next) || m.Next != roster.Key(first) {
		t.Errorf("put into use: %+v", m)
	}
	var announced bool
	for _, e := range s.logs[1].Envelopes() {
		r, err := roster.Parse(e.Payload)
		must(t, err)
		if m, _ := r.Member("s1"); r.Generation == before+1 {
			announced = m.Mesh.Key == roster.Key(first) && m.Mesh.Next == roster.Key(next)
		}
	}
	if !announced {
		t.Error("the key was put into use before it was announced")
	}
	if m := set(func(e *api.Enrolled) { e.MeshKey, e.NextMeshKey = next, nil }); m.Key != roster.Key(next) || !m.Next.IsZero() {
		t.Errorf("taken: %+v", m)
	}
}

// A host that lost its mesh key comes back with the one that it has now.
func TestLostMeshKey(t *testing.T) {
	s := up(t)
	v := s.hosts[1]["s1"]
	e := *v.enrolled
	e.MeshKey = s.key("another tunnel").Public().(ed25519.PublicKey)
	v.enrolled = &e
	settles(t, s, "with another key")
	if m, _ := s.logs[1].State().Head.Member("s1"); m.Mesh.Key != roster.Key(e.MeshKey) || !m.Mesh.Next.IsZero() {
		t.Errorf("mesh %+v", m.Mesh)
	}
}

// Devices are of WireGuard, and a device that left cannot come back: neither is a change of driver's to decide.
func TestDriverAndDevices(t *testing.T) {
	s := up(t)
	s.config = parse(t, practiceYAML+"devices:\n  - {name: laptop, key: "+laptopKey+"}\n")
	settles(t, s, "with a laptop")
	s.config.Mesh.Driver = roster.MeshVpnCloud
	if _, err := s.apply(0); !refused(err) {
		t.Errorf("devices on vpncloud: %v", err)
	}
	s.config.Devices = nil
	if _, err := s.apply(0); !refused(err) {
		t.Errorf("a device that is still there: %v", err)
	}
	s.config.Mesh.Driver = roster.MeshWireGuard
	settles(t, s, "without the laptop")
	s.config.Mesh.Driver = roster.MeshVpnCloud
	settles(t, s, "with another driver")
}

func refused(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
