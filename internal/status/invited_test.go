package status

import (
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// What nobody can ask is known by what others say of it, and its links count as a sentry's.
func TestInvitedHost(t *testing.T) {
	for name, tt := range map[string]struct {
		member bool
		path   string
		phase  string
		codes  []string
	}{
		"waits":   {false, "", PhaseInvited, []string{"waits"}},
		"reached": {true, api.PathDirect, PhaseReached, nil},
		"relayed": {true, api.PathRelay, PhaseReached, []string{"mesh-relay"}},
		"away":    {true, api.PathDown, PhaseAway, []string{"mesh-away"}},
		"unheard": {true, "", PhaseAway, []string{"mesh-away"}},
	} {
		t.Run(name, func(t *testing.T) {
			want, have := network()
			want.Own.Invited = []deployment.Invited{{Name: "guest"}}
			have.Own.Head.MeshDriver = roster.MeshWireGuard
			have.Own.Head.Members = []roster.Member{{Name: "s1", Role: roster.RoleSentry, Mesh: roster.Mesh{Key: roster.Key{2}}}}
			if tt.member {
				have.Own.Head.Members = append([]roster.Member{{Name: "guest", Role: roster.RoleSentry, NodeID: "id-guest", Mesh: roster.Mesh{Key: roster.Key{1}}}}, have.Own.Head.Members...)
				change(have, "validator", func(o *plan.ObservedHost) {
					o.Status.Node.Peers = append(o.Status.Node.Peers, api.Peer{NodeID: "id-guest"})
				})
			}
			change(have, "s1", func(o *plan.ObservedHost) {
				o.Status.Mesh = &api.MeshStatus{}
				if tt.path != "" {
					o.Status.Mesh.Peers = []api.MeshPeer{{Name: "guest", Path: tt.path, Why: "it was seen"}}
				}
			})
			s := Of(want, have, 99)
			var codes []string
			for _, f := range s.Findings {
				codes = append(codes, f.Code)
			}
			if !slices.Equal(codes, tt.codes) {
				t.Errorf("findings %v, want %v", s.Findings, tt.codes)
			}
			i := slices.IndexFunc(s.Deployments[0].Hosts, func(h Host) bool { return h.Name == "guest" })
			if i < 0 || !s.Deployments[0].Hosts[i].Invited || s.Deployments[0].Hosts[i].Phase != tt.phase {
				t.Fatalf("hosts %+v", s.Deployments[0].Hosts)
			}
			if h := s.Deployments[0].Hosts[i]; tt.member && (!slices.Equal(h.Peers, []string{"validator"}) || h.NodeID != "id-guest") {
				t.Errorf("it is %+v", h)
			}
			if !tt.member {
				return
			}
			if h := s.Mesh.Hosts[0]; h.Name != "guest" || h.Up != (tt.phase == PhaseReached) || !h.Invited {
				t.Errorf("in the mesh: %+v", s.Mesh.Hosts)
			}
		})
	}
}

// Its link is told by the other end, whichever name comes first.
func TestInvitedLinks(t *testing.T) {
	_, have := network()
	have.Own.Head.MeshDriver = roster.MeshWireGuard
	mesh := func(key byte) roster.Mesh { return roster.Mesh{Key: roster.Key{key}} }
	have.Own.Head.Members = []roster.Member{{Name: "guest", Role: roster.RoleSentry, Mesh: mesh(1)}, {Name: "s1", Role: roster.RoleSentry, Mesh: mesh(2)}}
	change(have, "s1", func(o *plan.ObservedHost) {
		o.Status.Mesh = &api.MeshStatus{Peers: []api.MeshPeer{{Name: "guest", Path: api.PathDirect}}}
	})
	if m := meshOf(have.Own); len(m.Links) != 1 || m.Links[0].From != "s1" || m.Links[0].Name != "guest" {
		t.Errorf("links %+v", m.Links)
	}
}
