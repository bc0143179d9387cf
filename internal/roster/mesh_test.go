package roster

import (
	"testing"
)

// A host keeps its mesh address through everything but a new identity.
func TestMeshAddress(t *testing.T) {
	g1, _, g3 := deployment()
	s1 := g3.at("s1")
	was := g3.MeshAddress(s1.Identity)
	later := next(g3, func(r *Roster) {
		r.at("s1").Mesh.Next = pub("wg s1 next")
		r.at("s1").Mesh.Endpoint = "192.0.2.1:51820"
	})
	if is := later.MeshAddress(s1.Identity); is != was || g1.MeshAddress(s1.Identity) != was {
		t.Errorf("address %v became %v", was, is)
	}
	if !was.IsPrivate() || !MeshNetwork(g3.ID).Contains(was) || !was.Is6() {
		t.Errorf("%v is not in %v", was, MeshNetwork(g3.ID))
	}
	if other := g3.MeshAddress(g3.at("s2").Identity); other == was {
		t.Errorf("two hosts have %v", was)
	}
	elsewhere := first()
	elsewhere.Deployment = "hub-2"
	if MeshNetwork(elsewhere.DeploymentID()) == MeshNetwork(g3.ID) {
		t.Errorf("two deployments have %v", MeshNetwork(g3.ID))
	}
}

// The next key may take over as soon as it was announced, also where two generations come at once.
func TestMeshKeyRotates(t *testing.T) {
	g1, g2, g3 := deployment()
	announced := next(g3, func(r *Roster) { r.at("s1").Mesh.Next = pub("wg s1 next") })
	taken := next(announced, func(r *Roster) { r.at("s1").Mesh.Key, r.at("s1").Mesh.Next = r.at("s1").Mesh.Next, Key{} })
	l := newLog(t, g1, g2, g3)
	for _, r := range []*Roster{announced, taken} {
		if _, err := l.Add(seal(r, "alice")); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.State().Head.at("s1").Mesh.Key; got != pub("wg s1 next") {
		t.Errorf("key %v", got)
	}
}
