package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// meshed is the network with a mesh in which all is well, and a device that was never seen.
func meshed() (plan.Want, plan.Observed) {
	want, have := network()
	head := have.Own.Head
	head.MeshDriver = roster.MeshWireGuard
	for i, name := range []string{"s1", "s2", "validator"} {
		role := roster.RoleSentry
		if name == "validator" {
			role = roster.RoleValidator
		}
		head.Members = append(head.Members, roster.Member{Name: name, Role: role, Identity: roster.Key{byte(i + 1)}, Mesh: roster.Mesh{Key: roster.Key{byte(i + 1)}}})
		st := api.MeshStatus{PID: 20 + i, Backend: "netstack"}
		for _, other := range []string{"s1", "s2", "validator"} {
			if other != name {
				st.Peers = append(st.Peers, api.MeshPeer{Name: other, Role: "sentry", Path: api.PathDirect})
			}
		}
		st.Peers = append(st.Peers, api.MeshPeer{Name: "laptop", Role: string(roster.RoleDevice), Path: api.PathDown, Why: "nothing came from it yet"})
		change(have, name, func(o *plan.ObservedHost) { o.Status.Mesh = &st })
	}
	key := roster.Key{9}
	head.Members = append(head.Members, roster.Member{Name: "laptop", Role: roster.RoleDevice, Identity: key, Mesh: roster.Mesh{Key: key}})
	return want, have
}

// A device that is away is nobody's trouble; each tunnel is there once, as the validator sees its own.
func TestMeshIsWell(t *testing.T) {
	want, have := meshed()
	s := Of(want, have, 99)
	if len(s.Findings) != 0 {
		t.Errorf("findings %v", s.Findings)
	}
	var links []string
	for _, l := range s.Mesh.Links {
		links = append(links, l.From+"-"+l.Name)
	}
	if !slices.Equal(links, []string{"validator-s1", "validator-s2", "s1-s2"}) {
		t.Errorf("links %v", links)
	}
	if len(s.Mesh.Hosts) != 3 || s.Mesh.Hosts[0].Name != "validator" || len(s.Mesh.Devices) != 1 || !s.Mesh.Devices[0].Seen.IsZero() {
		t.Errorf("mesh %+v", s.Mesh)
	}
}

func TestMeshDeviceIsSeen(t *testing.T) {
	want, have := meshed()
	now := time.Now()
	for name, ago := range map[string]time.Duration{"s1": time.Hour, "s2": time.Minute} {
		change(have, name, func(o *plan.ObservedHost) {
			st := *o.Status.Mesh
			st.Peers = slices.Clone(st.Peers)
			st.Peers[len(st.Peers)-1].Handshake = now.Add(-ago)
			o.Status.Mesh = &st
		})
	}
	if d := Of(want, have, 99).Mesh.Devices[0]; !d.Seen.Equal(now.Add(-time.Minute)) || !slices.Equal(d.Through, []string{"s2"}) {
		t.Errorf("device %+v", d)
	}
}

func TestMeshFindings(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*roster.Roster, *api.MeshStatus, *plan.ObservedHost)
		want []string // codes, "" = that of the message
	}{
		{"down", func(_ *roster.Roster, _ *api.MeshStatus, o *plan.ObservedHost) { o.Status.Mesh = nil }, []string{"mesh-down"}},
		{"down with its agent", func(_ *roster.Roster, _ *api.MeshStatus, o *plan.ObservedHost) {
			o.Status.Mesh, o.Status.Agent.PID = nil, 0
		}, []string{"agent-down"}},
		{"fork", func(_ *roster.Roster, m *api.MeshStatus, _ *plan.ObservedHost) { m.Fork = true }, []string{"mesh-fork"}},
		{"note", func(_ *roster.Roster, m *api.MeshStatus, _ *plan.ObservedHost) { m.Notes = []string{"a newer format"} }, []string{"mesh-note"}},
		{"relay", func(_ *roster.Roster, m *api.MeshStatus, _ *plan.ObservedHost) {
			m.Peers[1].Path, m.Peers[1].Via, m.Peers[1].Why = api.PathRelay, "s1", "UDP was silent."
		}, []string{"mesh-relay"}},
		{"no path", func(_ *roster.Roster, m *api.MeshStatus, _ *plan.ObservedHost) { m.Peers[1].Path = api.PathDown }, []string{"mesh-link"}},
		{"vpncloud", func(r *roster.Roster, _ *api.MeshStatus, _ *plan.ObservedHost) { r.MeshDriver = roster.MeshVpnCloud }, []string{"mesh-discloses", "mesh-unproven"}},
	} {
		want, have := meshed()
		change(have, "validator", func(o *plan.ObservedHost) {
			st := *o.Status.Mesh
			st.Peers = slices.Clone(st.Peers)
			o.Status.Mesh = &st
			tt.edit(have.Own.Head, &st, o)
		})
		var codes []string
		for _, f := range Of(want, have, 99).Findings {
			codes = append(codes, f.Code)
			if strings.Contains(f.Message, "..") || f.Message == "" {
				t.Errorf("%s: message %q", tt.name, f.Message)
			}
		}
		slices.Sort(codes)
		if !slices.Equal(codes, tt.want) {
			t.Errorf("%s: findings %v, want %v", tt.name, codes, tt.want)
		}
	}
}
