package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

// Mesh is the encrypted network between our own hosts.
type Mesh struct {
	Driver string     `json:"driver"`
	Hosts  []MeshHost `json:"hosts"`
	Links  []MeshLink `json:"links"` // each pair once
	// Devices are stock WireGuard: whether one is there is its own affair.
	Devices []MeshDevice `json:"devices,omitempty"`
}

// MeshDevice is a device as the sentries see it.
type MeshDevice struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Seen    time.Time `json:"seen,omitzero"`     // its newest handshake
	Through []string  `json:"through,omitempty"` // sentries that it has a tunnel to now
}

// deviceSession is how long a WireGuard session lasts: a device that was heard later has gone (WireGuard paper, 6.2,
// Reject-After-Time).
const deviceSession = 180 * time.Second

// MeshHost is a host's own view of the mesh.
type MeshHost struct {
	Name string `json:"name"`
	Role string `json:"role"`
	Up   bool   `json:"up"` // its mesh process answers; of an invited host: another host reaches it
	// Invited: it enrolled itself, so that nobody here can ask it.
	Invited bool `json:"invited,omitempty"`
	api.MeshStatus
}

// MeshLink is a pair of hosts, as the one that keeps up the link sees it.
type MeshLink struct {
	From string `json:"from"`
	api.MeshPeer
}

// meshOf gathers what the hosts say; nil where the roster has no mesh.
func meshOf(have plan.ObservedDeployment) *Mesh {
	if have.Head == nil || have.Head.MeshDriver == "" {
		return nil
	}
	m := Mesh{Driver: have.Head.MeshDriver, Hosts: []MeshHost{}, Links: []MeshLink{}}
	for _, member := range have.Head.Members {
		if member.Role == roster.RoleDevice {
			m.Devices = append(m.Devices, deviceOf(have, member))
			continue
		}
		if !member.InMesh() {
			continue
		}
		h := MeshHost{Name: member.Name, Role: string(member.Role)}
		if o := have.Hosts[member.Name]; o.Status.Mesh != nil {
			h.Up, h.MeshStatus = true, *o.Status.Mesh
		} else if invited(have, member) {
			h.Invited = true
			h.Up, h.Address = reached(have, member.Name), have.Head.MeshAddress(member.Identity).String()
		}
		m.Hosts = append(m.Hosts, h)
	}
	slices.SortStableFunc(m.Hosts, func(a, b MeshHost) int { return roleOrder(a.Role) - roleOrder(b.Role) })
	for i, h := range m.Hosts {
		for _, p := range h.Peers {
			if p.Role == string(roster.RoleDevice) {
				continue
			}
			if !slices.ContainsFunc(m.Hosts[:i], func(o MeshHost) bool { return o.Name == p.Name && o.Up && !o.Invited }) {
				m.Links = append(m.Links, MeshLink{From: h.Name, MeshPeer: p})
			}
		}
	}
	return &m
}

// deviceOf gathers what sentries know of a device.
func deviceOf(have plan.ObservedDeployment, member roster.Member) MeshDevice {
	d := MeshDevice{Name: member.Name, Address: have.Head.MeshAddress(member.Identity).String()}
	for _, name := range slices.Sorted(maps.Keys(have.Hosts)) {
		st := have.Hosts[name].Status.Mesh
		if st == nil {
			continue
		}
		for _, p := range st.Peers {
			if p.Name != member.Name || p.Handshake.IsZero() {
				continue
			}
			if p.Handshake.After(d.Seen) {
				d.Seen = p.Handshake
			}
			if time.Since(p.Handshake) < deviceSession {
				d.Through = append(d.Through, name)
			}
		}
	}
	return d
}

// meshFindings says what of the mesh is not as it should be.
func meshFindings(s Status) []health.Finding {
	if s.Mesh == nil {
		return nil
	}
	var out []health.Finding
	say := func(severity health.Severity, code, subject, next, format string, args ...any) {
		out = append(out, health.Finding{Code: code, Severity: severity, Subject: subject, Message: fmt.Sprintf(format, args...), Next: next})
	}
	if s.Mesh.Driver == roster.MeshVpnCloud {
		say(health.Warning, "mesh-discloses", s.Deployment, "Use mesh.driver: wireguard to hide the validator.", "%s", vpncloud.Discloses)
		say(health.Warning, "mesh-unproven", s.Deployment, "Use mesh.driver: wireguard where you do not trust every host alike.", "%s", vpncloud.Unproven)
	}
	down := map[string]bool{}
	for _, h := range s.Mesh.Hosts {
		down[h.Name] = !h.Up
		switch {
		case h.Up:
		case h.Invited:
			say(health.Warning, "mesh-away", h.Name, "Ask whoever keeps that host; its agent brings it back by itself.", "No host has a tunnel to it.")
		case agentUp(s, h.Name):
			say(health.Warning, "mesh-down", h.Name, "Look at 'pressenter logs --of mesh "+h.Name+"'; its agent starts it again.", "Its mesh process does not answer.")
		}
		for _, n := range h.Notes {
			say(health.Info, "mesh-note", h.Name, "", "%s", n)
		}
		if h.Fork {
			say(health.Critical, "mesh-fork", h.Name, "Run 'pressenter plan' to see the healing, then 'pressenter apply'.", "Its mesh knows two rosters that contradict each other.")
		}
	}
	for _, l := range s.Mesh.Links {
		switch {
		case l.Path == api.PathDown && !down[l.Name]:
			say(health.Warning, "mesh-link", l.From, "It comes back by itself; 'pressenter mesh status --why' says what was tried.", "Its tunnel to %s is down: %s.", l.Name, strings.TrimSuffix(l.Why, "."))
		case l.Path == api.PathRelay:
			say(health.Info, "mesh-relay", l.From, "Find out what blocks UDP between them; the direct way is taken as soon as it works.", "Its tunnel to %s goes through %s: %s.", l.Name, l.Via, strings.TrimSuffix(l.Why, "."))
		}
	}
	return out
}

func agentUp(s Status, host string) bool {
	for _, d := range s.Deployments {
		for _, h := range d.Hosts {
			if !d.World && h.Name == host {
				return h.AgentPID != 0 && !h.Intent.Stopped
			}
		}
	}
	return false
}
