// Package status turns what was observed into what a person wants to know: does the validator sign, is every node
// up and on the same height, and what should be done next. It decides nothing and asks nobody.
package status

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// Status is all that 'pressenter status' tells. Its JSON form only ever gains fields.
type Status struct {
	Deployment  string           `json:"deployment"`
	ChainID     string           `json:"chain_id"`
	Height      int64            `json:"height"` // the highest that any node reports
	Validator   Validator        `json:"validator"`
	Deployments []Deployment     `json:"deployments"` // our own first
	Mesh        *Mesh            `json:"mesh,omitempty"`
	Findings    []health.Finding `json:"findings"`
}

// States of the validator.
const (
	Signing  = "signing"    // others hold a signature of it in one of the newest commits
	Silent   = "silent"     // it should sign and does not
	Waiting  = "waiting"    // it has restarted and looks for its own signatures in past blocks before it signs again
	Stopped  = "stopped"    // a person stopped or holds it
	Disarmed = api.Disarmed // its key is not allowed to sign
	Absent   = "absent"     // it does not exist yet
)

// Validator is the one that the deployment is for.
type Validator struct {
	Host    string `json:"host"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Address string `json:"address,omitempty"` // consensus address, upper-case hex
	// LastSigned is the height in its sign state; Witnessed the newest one that others hold its precommit for.
	LastSigned int64  `json:"last_signed"`
	Witnessed  int64  `json:"witnessed"`
	Missed     int64  `json:"missed"`
	Window     int64  `json:"window"`
	MinSigned  string `json:"min_signed,omitempty"`
	Jailed     bool   `json:"jailed"`
	Tombstoned bool   `json:"tombstoned"`
}

// Deployment is one of the two deployments of a practice network.
type Deployment struct {
	Name       string `json:"name"`
	World      bool   `json:"world"` // stands for the rest of the network
	Generation uint64 `json:"roster_generation"`
	Fork       bool   `json:"roster_fork"`
	Hosts      []Host `json:"hosts"`
}

// Host is one host and its three processes.
type Host struct {
	Name         string    `json:"name"`
	Role         string    `json:"role"`
	At           string    `json:"at,omitempty"`       // where its operator logs in, if it is on a server
	Provider     string    `json:"provider,omitempty"` // of the server
	Phase        string    `json:"phase"`
	Reason       string    `json:"reason,omitempty"`
	Up           bool      `json:"up"` // its node answers
	Height       int64     `json:"height"`
	BlockTime    time.Time `json:"block_time,omitzero"`
	CatchingUp   bool      `json:"catching_up"`
	Peers        []string  `json:"peers"` // names where they are ours, node ids otherwise
	NodeID       string    `json:"node_id,omitempty"`
	P2P          string    `json:"p2p,omitempty"`
	RPC          string    `json:"rpc,omitempty"`
	Version      string    `json:"version,omitempty"` // CometBFT's, as the node claims
	AgentVersion string    `json:"agent_version,omitempty"`
	AgentBuild   string    `json:"agent_build,omitempty"`
	// OtherBuild: its agent is another program than the one that asks.
	OtherBuild    bool       `json:"agent_other_build,omitempty"`
	AgentPID      int        `json:"agent_pid,omitempty"`
	SupervisorPID int        `json:"supervisor_pid,omitempty"`
	DaemonPID     int        `json:"daemon_pid,omitempty"`
	MeshPID       int        `json:"mesh_pid,omitempty"`
	AgentRSS      uint64     `json:"agent_rss_bytes,omitempty"`
	AgentCPU      float64    `json:"agent_cpu_seconds,omitempty"`
	Restarts      int        `json:"restarts"`
	Generation    uint64     `json:"roster_generation"`
	Intent        api.Intent `json:"intent"`
	// Invited: it enrolled itself, so that nobody here can ask its agent. What is known of it others say.
	Invited bool `json:"invited,omitempty"`
}

// Of makes the status. witnessed is the newest height for which others hold our precommit, 0 when there is none.
func Of(want plan.Want, have plan.Observed, witnessed int64) Status {
	s := Status{Deployment: want.Own.Deployment, ChainID: want.Own.ChainID, Findings: []health.Finding{}}
	names := nodeNames(have)
	own := deploymentOf(want, want.Own.Deployment, have.Own, names)
	own.Hosts = append(own.Hosts, invitedHosts(want.Own, have.Own)...)
	world := deploymentOf(want, want.World.Deployment, have.World, names)
	world.World = true
	s.Deployments = []Deployment{own}
	if !want.Existing() {
		s.Deployments = append(s.Deployments, world)
	}
	for _, d := range s.Deployments {
		for _, h := range d.Hosts {
			s.Height = max(s.Height, h.Height)
		}
	}
	s.Validator = validatorOf(have, witnessed)
	s.Mesh = meshOf(have.Own)
	s.Findings = findings(s, have)
	for _, f := range plan.SSHOpenings(want.Own.Openings, want.Shut) {
		f.Subject = s.Deployment
		s.Findings = append(s.Findings, f)
	}
	health.Sort(s.Findings)
	return s
}

// nodeNames maps node ids to the names of hosts.
func nodeNames(have plan.Observed) map[string]string {
	out := map[string]string{}
	for _, d := range []plan.ObservedDeployment{have.World, have.Own} {
		for name, h := range d.Hosts {
			if h.Status.Enrolled != nil {
				out[h.Status.Enrolled.NodeID] = name
			}
		}
		if d.Head == nil {
			continue
		}
		for _, m := range d.Head.Members { // invited ones nobody can ask
			if m.NodeID != "" {
				out[m.NodeID] = m.Name
			}
		}
	}
	return out
}

// Phases of a host that nobody here can ask, because it enrolled itself.
const (
	PhaseInvited = "invited" // it has not joined yet
	PhaseReached = "reached" // another host has a tunnel to it
	PhaseAway    = "away"    // nobody has
)

// invitedHosts are sentries that enrolled themselves, or are to, as others see them.
func invitedHosts(want deployment.Inventory, have plan.ObservedDeployment) []Host {
	var out []Host
	for _, i := range want.Invited {
		if _, member := memberOf(have, i.Name); !member {
			out = append(out, Host{Name: i.Name, Role: string(roster.RoleSentry), Phase: PhaseInvited, Invited: true, Peers: []string{}})
		}
	}
	if have.Head == nil {
		return out
	}
	for _, m := range have.Head.Members {
		if !invited(have, m) {
			continue
		}
		h := Host{Name: m.Name, Role: string(m.Role), Phase: PhaseAway, Invited: true, NodeID: m.NodeID, P2P: m.Endpoint, Peers: []string{}}
		if reached(have, m.Name) {
			h.Phase = PhaseReached
		}
		for _, name := range slices.Sorted(maps.Keys(have.Hosts)) { // a link has two ends
			if slices.ContainsFunc(have.Hosts[name].Status.Node.Peers, func(p api.Peer) bool { return p.NodeID == m.NodeID }) {
				h.Peers = append(h.Peers, name)
			}
		}
		out = append(out, h)
	}
	return out
}

// invited says whether a member is on a host that is none of ours.
func invited(have plan.ObservedDeployment, m roster.Member) bool {
	_, ours := have.Hosts[m.Name]
	return m.Role == roster.RoleSentry && !ours
}

func memberOf(have plan.ObservedDeployment, name string) (roster.Member, bool) {
	if have.Head == nil {
		return roster.Member{}, false
	}
	return have.Head.Member(name)
}

// reached says whether a host has a tunnel to the member of that name.
func reached(have plan.ObservedDeployment, name string) bool {
	for _, o := range have.Hosts {
		if o.Status.Mesh == nil {
			continue
		}
		if slices.ContainsFunc(o.Status.Mesh.Peers, func(p api.MeshPeer) bool { return p.Name == name && p.Path != api.PathDown }) {
			return true
		}
	}
	return false
}

func deploymentOf(want plan.Want, name string, have plan.ObservedDeployment, names map[string]string) Deployment {
	d := Deployment{Name: name, Fork: have.Fork, Hosts: []Host{}}
	if have.Head != nil {
		d.Generation = have.Head.Generation
	}
	for _, host := range slices.Sorted(maps.Keys(have.Hosts)) {
		h := hostOf(host, have.Hosts[host], names)
		h.OtherBuild = plan.OtherBuild(want, have.Hosts[host])
		d.Hosts = append(d.Hosts, h)
	}
	slices.SortStableFunc(d.Hosts, func(a, b Host) int { return cmp.Compare(roleOrder(a.Role), roleOrder(b.Role)) })
	return d
}

func roleOrder(role string) int {
	if role == string(roster.RoleValidator) {
		return 0
	}
	return 1
}

func hostOf(name string, o plan.ObservedHost, names map[string]string) Host {
	st := o.Status
	h := Host{
		Name: name, Role: string(o.Host.Role), At: o.Host.Address, Provider: o.Host.Provider, Phase: st.Node.Phase, Reason: st.Reason, Up: st.Node.Answers,
		Height: st.Node.Height, BlockTime: st.Node.BlockTime, CatchingUp: st.Node.CatchingUp, Peers: []string{},
		P2P: o.Host.Listen.P2P, RPC: o.Host.Listen.RPC, Version: st.Node.Version,
		AgentVersion: st.Agent.Version, AgentBuild: st.Agent.Build, AgentPID: st.Agent.PID, AgentRSS: st.Agent.RSSBytes, AgentCPU: st.Agent.CPUSecs,
		SupervisorPID: st.Node.SupervisorPID, DaemonPID: st.Node.DaemonPID, MeshPID: st.MeshPID, Restarts: st.Node.Restarts,
		Generation: st.Roster.Generation, Intent: st.Intent,
	}
	if !o.Exists {
		h.Phase, h.Reason = "absent", "not created yet"
	}
	if st.Enrolled != nil {
		h.NodeID = st.Enrolled.NodeID
	}
	for _, p := range st.Node.Peers {
		peer := p.NodeID
		if known, ok := names[p.NodeID]; ok {
			peer = known
		}
		h.Peers = append(h.Peers, peer)
	}
	slices.Sort(h.Peers)
	return h
}

// validatorOf says whether the validator signs; the word of others counts, not its own.
func validatorOf(have plan.Observed, witnessed int64) Validator {
	for name, o := range have.Own.Hosts {
		if o.Host.Role != roster.RoleValidator {
			continue
		}
		sg := o.Status.Signing
		v := Validator{
			Host: name, State: Silent, Reason: o.Status.Reason, Address: sg.Address, LastSigned: sg.LastHeight, Witnessed: witnessed,
			Missed: sg.Missed, Window: sg.Window, MinSigned: sg.MinSigned, Jailed: sg.Jailed, Tombstoned: sg.Tombstoned,
		}
		switch {
		case !o.Exists:
			v.State = Absent
		case o.Status.Intent.Stopped:
			v.State = Stopped
		case sg.State == "disarmed":
			v.State, v.Reason = Disarmed, sg.Reason
		case witnessed > 0:
			v.State, v.Reason = Signing, ""
		case o.Status.Intent.Held:
			v.State = Stopped
		case slices.ContainsFunc(o.Status.Findings, func(f health.Finding) bool { return f.Code == "recent-signature" && f.Severity == health.Info }):
			v.State, v.Reason = Waiting, "until its own signatures have left the blocks that it looks back on"
		}
		return v
	}
	return Validator{State: Absent}
}
