package status

import (
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// network is a practice network in which all is well: at height 100, witnessed at 99.
func network() (plan.Want, plan.Observed) {
	want := plan.Want{Build: "4e8da3f", Own: deployment.Inventory{Deployment: "hub", ChainID: "practice-hub"}, World: deployment.Inventory{Deployment: "hub-world"}}
	have := plan.Observed{
		Own:   plan.ObservedDeployment{Keyring: true, Head: &roster.Roster{Generation: 2}, Hosts: map[string]plan.ObservedHost{}},
		World: plan.ObservedDeployment{Keyring: true, Head: &roster.Roster{Generation: 1}, Hosts: map[string]plan.ObservedHost{}},
	}
	add := func(d plan.ObservedDeployment, name string, role roster.Role, peers ...string) {
		st := api.HostStatus{
			Name: name, Role: string(role), Agent: api.AgentStatus{PID: 10, Build: "4e8da3f"}, Enrolled: &api.Enrolled{NodeID: "id-" + name},
			Roster: api.RosterStatus{Generation: d.Head.Generation},
			Node:   api.NodeStatus{Phase: "running", SupervisorPID: 11, DaemonPID: 12, Answers: true, Height: 100},
		}
		for _, p := range peers {
			st.Node.Peers = append(st.Node.Peers, api.Peer{NodeID: "id-" + p})
		}
		if role == roster.RoleValidator {
			st.Signing = api.SigningStatus{State: "armed", Address: "AB", LastHeight: 100, Window: 10000, MinSigned: "0.05"}
		}
		d.Hosts[name] = plan.ObservedHost{Host: deployment.Host{Name: name, Role: role}, Exists: true, Agent: true, Status: st}
	}
	for _, w := range []string{"w1", "w2", "w3"} {
		add(have.World, w, roster.RoleGenesisValidator, "s1", "s2")
	}
	add(have.Own, "s1", roster.RoleSentry, "w1", "w2", "w3", "s2", "validator")
	add(have.Own, "s2", roster.RoleSentry, "w1", "w2", "w3", "s1", "validator")
	add(have.Own, "validator", roster.RoleValidator, "s1", "s2")
	return want, have
}

// change edits one host of our own.
func change(have plan.Observed, name string, edit func(*plan.ObservedHost)) {
	o := have.Own.Hosts[name]
	edit(&o)
	have.Own.Hosts[name] = o
}

func TestAllIsWell(t *testing.T) {
	want, have := network()
	s := Of(want, have, 99)
	if s.Validator.State != Signing || s.Height != 100 || len(s.Findings) != 0 {
		t.Errorf("state %q, height %d, findings %v", s.Validator.State, s.Height, s.Findings)
	}
	if s.Deployments[0].Name != "hub" || s.Deployments[0].Hosts[0].Name != "validator" || !s.Deployments[1].World {
		t.Errorf("our deployment and its validator come first: %+v", s.Deployments)
	}
}

func TestFindings(t *testing.T) {
	for name, tc := range map[string]struct {
		edit      func(have *plan.Observed)
		witnessed int64
		state     string
		codes     []string // all of them, worst first
	}{
		"nobody holds a signature": {func(*plan.Observed) {}, 0, Silent, []string{"silent"}},
		"an agent of another build": {func(h *plan.Observed) {
			change(*h, "s1", func(o *plan.ObservedHost) { o.Status.Agent.Build = "sha256:0285cfe004b4a2b5da136f0a" })
		}, 99, Signing, []string{"other-build"}},
		"a stranger is connected to the validator": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) {
				o.Status.Node.Peers = append(o.Status.Node.Peers, api.Peer{NodeID: "stranger"})
			})
		}, 99, Signing, []string{"exposed"}},
		"the world is connected to the validator": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) {
				o.Status.Node.Peers = append(o.Status.Node.Peers, api.Peer{NodeID: "id-w1"})
			})
		}, 99, Signing, []string{"exposed"}},
		"one sentry is lost": {func(h *plan.Observed) {
			change(*h, "s1", func(o *plan.ObservedHost) { o.Status.Node = api.NodeStatus{Phase: "down"} })
			change(*h, "validator", func(o *plan.ObservedHost) { o.Status.Node.Peers = o.Status.Node.Peers[1:] })
		}, 99, Signing, []string{"node-down", "sentry-missing"}},
		"both sentries are lost": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) { o.Status.Node.Peers = nil })
		}, 0, Silent, []string{"cut-off", "silent"}},
		"the validator was stopped by a person": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) {
				o.Status.Intent = api.Intent{Stopped: true, By: "ann"}
				o.Status.Node = api.NodeStatus{Phase: "down"}
			})
		}, 0, Stopped, []string{"stopped"}},
		"the key is disarmed": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) { o.Status.Signing.State = "disarmed" })
		}, 0, Disarmed, []string{"disarmed"}},
		"the validator looks for its own signatures": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) {
				o.Status.Findings = []health.Finding{{Code: "recent-signature", Severity: health.Info, Next: "Nothing."}}
			})
		}, 0, Waiting, []string{"recent-signature"}},
		"an agent is down": {func(h *plan.Observed) {
			change(*h, "s2", func(o *plan.ObservedHost) { o.Status.Agent.PID = 0 })
		}, 99, Signing, []string{"agent-down"}},
		"a node is behind": {func(h *plan.Observed) {
			change(*h, "s2", func(o *plan.ObservedHost) { o.Status.Node.Height = 90 })
		}, 99, Signing, []string{"behind"}},
		"a host has an old roster": {func(h *plan.Observed) {
			change(*h, "s2", func(o *plan.ObservedHost) { o.Status.Roster.Generation = 1 })
		}, 99, Signing, []string{"roster-behind"}},
		"the roster is forked": {func(h *plan.Observed) { h.Own.Fork = true }, 99, Signing, []string{"roster-fork"}},
		"half of the slashing budget is gone": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) { o.Status.Signing.Missed = 4800 })
		}, 99, Signing, []string{"missed"}},
		"jailed and tombstoned": {func(h *plan.Observed) {
			change(*h, "validator", func(o *plan.ObservedHost) { o.Status.Signing.Jailed, o.Status.Signing.Tombstoned = true, true })
		}, 99, Signing, []string{"jailed", "tombstoned"}},
		"what a host says of itself is passed on": {func(h *plan.Observed) {
			change(*h, "s1", func(o *plan.ObservedHost) {
				o.Status.Findings = []health.Finding{{Code: "port-in-use", Severity: health.Critical}}
			})
		}, 99, Signing, []string{"port-in-use"}},
		"nothing is there yet": {func(h *plan.Observed) {
			h.World.Hosts = map[string]plan.ObservedHost{}
			for _, n := range []string{"s1", "s2", "validator"} {
				role := h.Own.Hosts[n].Host.Role
				h.Own.Hosts[n] = plan.ObservedHost{Host: deployment.Host{Name: n, Role: role}}
			}
		}, 0, Absent, []string{"absent", "absent", "absent"}},
	} {
		t.Run(name, func(t *testing.T) {
			want, have := network()
			tc.edit(&have)
			s := Of(want, have, tc.witnessed)
			if s.Validator.State != tc.state {
				t.Errorf("the validator is %q, want %q", s.Validator.State, tc.state)
			}
			var codes []string
			for _, f := range s.Findings {
				codes = append(codes, f.Code)
				if f.Next == "" && f.Code != "port-in-use" {
					t.Errorf("finding %q has no next step", f.Code)
				}
			}
			if !slices.Equal(codes, tc.codes) {
				t.Errorf("findings %v, want %v", codes, tc.codes)
			}
		})
	}
}

// Who is let in for a time, and whom nobody shut out again, is a finding about the deployment.
func TestOpeningsAreFindings(t *testing.T) {
	want, have := network()
	want.Own.Openings = []deployment.Opening{{CIDR: "198.51.100.7/32", By: "me"}}
	want.Shut = []deployment.Opening{{CIDR: "198.51.100.8/32", By: "me"}}
	s := Of(want, have, 99)
	if len(s.Findings) != 2 || s.Findings[0].Code != "ssh-left-open" || s.Findings[1].Code != "ssh-open" || s.Findings[1].Subject != "hub" {
		t.Errorf("%+v", s.Findings)
	}
}

// A destroy that was begun is said before anything else is guessed from the hosts that it has left.
func TestDestroyBegunIsAFinding(t *testing.T) {
	want, have := network()
	have.Destroying = true
	change(have, "s2", func(o *plan.ObservedHost) { o.Exists, o.Agent, o.Status = false, false, api.HostStatus{} })
	found := Of(want, have, 99).Findings
	begun := func(f health.Finding) bool { return f.Code == "destroy-begun" && f.Subject == "hub" }
	if !slices.ContainsFunc(found, begun) {
		t.Errorf("nobody says that a destroy was begun: %v", found)
	}
	if slices.ContainsFunc(found, func(f health.Finding) bool { return f.Code == "absent" }) {
		t.Errorf("what was destroyed is missed: %v", found)
	}
}

// That a destroy which did not begin has left machines unprotected is said.
func TestUnprotectedIsAFinding(t *testing.T) {
	want, have := network()
	have.Unprotected = true
	unprotected := func(f health.Finding) bool { return f.Code == "unprotected" && f.Subject == "hub" }
	if found := Of(want, have, 99).Findings; !slices.ContainsFunc(found, unprotected) {
		t.Errorf("nobody says it: %v", found)
	}
}

// A machine that a sentry was is said as long as it is there.
func TestReplacedIsAFinding(t *testing.T) {
	want, have := network()
	have.Own.Replaced = []plan.ObservedHost{{Host: deployment.Host{Name: "s1", Role: roster.RoleSentry, Public: "192.0.2.7"}, Exists: true, Away: "no route to host"}}
	s := Of(want, have, 99)
	i := slices.IndexFunc(s.Findings, func(f health.Finding) bool { return f.Code == "being-replaced" && f.Subject == "s1" })
	if i < 0 || s.Findings[i].Message != "It is being replaced, and the machine that it was cannot be reached: no route to host (192.0.2.7)." {
		t.Errorf("%+v", s.Findings)
	}
}
