package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// What is seen of a host without its agent decides, too, what its files will be: a plan that does not know that the key
// is armed would restart the node for nothing.
func TestInspectTellsOfTheKey(t *testing.T) {
	r := newValidator(t)
	s := Inspect(r.Folder).Signing
	if s.State != signing.Armed || s.Address == "" || string(s.PublicKey) != string(r.host.Enrolled.Consensus) {
		t.Errorf("an armed key is told of as %+v", s)
	}
}

// A host that learns that it was removed says so, and runs neither node nor mesh.
func TestRemovedIsSaid(t *testing.T) {
	r := newValidator(t)
	r.inMesh(t)
	r.mustTurn(t)
	says := func() bool {
		return slices.ContainsFunc(r.status(t.Context()).Findings, func(f health.Finding) bool { return f.Code == "removed" && f.Severity == health.Critical })
	}
	if !r.run.daemon || !r.run.mesh || says() {
		t.Fatalf("before: %+v, says %v", r.run, says())
	}
	r.next(t, func(n *roster.Roster) {
		n.Signer.Holder = ""
		n.Remove("validator")
	})
	r.mustTurn(t)
	if r.run.daemon || r.run.mesh || !says() {
		t.Errorf("after: %+v, says %v", r.run, says())
	}
}

// A host to which nobody talks any more says so after a while: it cannot know whether it was removed.
func TestCutOffIsSaid(t *testing.T) {
	now := time.Now()
	down := func(ago time.Duration) api.MeshPeer { return api.MeshPeer{Path: api.PathDown, Since: now.Add(-ago)} }
	long, short := 2*cutOffAfter, cutOffAfter/2
	for name, tt := range map[string]struct {
		since time.Time
		peers []api.MeshPeer
		want  bool
	}{
		"alone for long":           {now.Add(-long), []api.MeshPeer{down(long), down(long)}, true},
		"one was there until soon": {now.Add(-long), []api.MeshPeer{down(long), down(short)}, false},
		"one is there":             {now.Add(-long), []api.MeshPeer{down(long), {Path: api.PathRelay}}, false},
		"it has just started":      {now.Add(-short), []api.MeshPeer{down(long)}, false},
		"it has no peers":          {now.Add(-long), nil, false},
	} {
		if got := cutOff(&api.MeshStatus{Since: tt.since, Peers: tt.peers}, now); (len(got) == 1) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := cutOff(nil, now); got != nil {
		t.Errorf("without a mesh: %v", got)
	}
}
