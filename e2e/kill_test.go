package e2e

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
)

// TestKill kills what runs, part by part. Everything comes back, by itself or with one apply, and nobody ever signs
// twice.
func TestKill(t *testing.T) {
	n := shared(t)
	n.guard(t)
	for _, c := range []struct {
		what string
		do   func(*testing.T, *network)
	}{
		{"agent", killAgent},
		{"supervisor", killSupervisor},
		{"daemon", killDaemon},
		{"agent and supervisor", killAgentAndSupervisor},
		{"mesh of the validator", killMesh},
		{"meshes of both sentries", killMeshesOfSentries},
		{"all of the validator", killAllOfValidator},
		{"daemon of a sentry", killSentryDaemon},
		{"all of a sentry", killSentry},
		{"all of both sentries", killBothSentries},
	} {
		if !t.Run(c.what, func(t *testing.T) { c.do(t, n) }) {
			return
		}
		n.allKnown(t)
	}
	n.noChanges(t)
	n.isHidden(t, "s1", "s2")
	n.honest(t)
}

func killAgent(t *testing.T, n *network) {
	daemon, mesh := n.the(t, daemons, "validator"), n.the(t, meshes, "validator")
	n.kill(t, "validator", agents)
	n.signs(t)
	n.does(t, "apply", "--yes")
	n.the(t, agents, "validator")
	n.same(t, daemons, "validator", daemon)
	n.same(t, meshes, "validator", mesh) // no tunnel is lost with an agent
}

// killMesh: the agent starts another mesh process, the node goes on and dials again.
func killMesh(t *testing.T, n *network) {
	daemon := n.the(t, daemons, "validator")
	n.kill(t, "validator", meshes)
	n.signs(t)
	n.same(t, daemons, "validator", daemon)
	n.tunnelsAreUp(t)
}

func killMeshesOfSentries(t *testing.T, n *network) {
	daemon := n.the(t, daemons, "validator")
	n.kill(t, "s1", meshes)
	n.kill(t, "s2", meshes)
	n.signs(t)
	n.same(t, daemons, "validator", daemon)
	n.tunnelsAreUp(t)
	n.isHidden(t, "s1", "s2")
}

// tunnelsAreUp waits until every host of ours reaches every other one that it should.
func (n *network) tunnelsAreUp(t *testing.T) {
	t.Helper()
	eventually(t, "every tunnel to be up", func() error {
		all, err := n.status(t.Context())
		if err != nil {
			return err
		}
		var errs []error
		for _, name := range []string{"validator", "s1", "s2"} {
			st := all[name].Mesh
			if st == nil || len(st.Peers) != 2 {
				errs = append(errs, fmt.Errorf("%s says of the mesh: %+v", name, st))
				continue
			}
			for _, p := range st.Peers {
				if p.Path != api.PathDirect {
					errs = append(errs, fmt.Errorf("%s to %s: %s, %s", name, p.Name, p.Path, p.Why))
				}
			}
		}
		return errors.Join(errs...)
	})
}

func killSupervisor(t *testing.T, n *network) {
	daemon, old := n.the(t, daemons, "validator"), n.the(t, supervisors, "validator")
	n.kill(t, "validator", supervisors)
	eventually(t, "the daemon to be adopted", func() error {
		all, err := n.status(t.Context())
		if err != nil {
			return err
		}
		node := all["validator"].Node
		if node.SupervisorPID == 0 || node.SupervisorPID == old.PID || node.DaemonPID != daemon.PID || node.Phase != "running" {
			return fmt.Errorf("supervisor %d (it was %d), daemon %d (it was %d), %s", node.SupervisorPID, old.PID, node.DaemonPID, daemon.PID, node.Phase)
		}
		return nil
	})
	n.signs(t)
	n.same(t, daemons, "validator", daemon)
}

func killDaemon(t *testing.T, n *network) {
	supervisor := n.the(t, supervisors, "validator")
	n.kill(t, "validator", daemons)
	n.signs(t)
	n.same(t, supervisors, "validator", supervisor)
}

func killAgentAndSupervisor(t *testing.T, n *network) {
	daemon := n.the(t, daemons, "validator")
	n.kill(t, "validator", agents, supervisors)
	n.does(t, "apply", "--yes")
	n.the(t, supervisors, "validator")
	n.signs(t)
	n.same(t, daemons, "validator", daemon)
}

func killAllOfValidator(t *testing.T, n *network) {
	n.kill(t, "validator", agents, meshes, supervisors, daemons)
	n.silent(t)
	n.does(t, "apply", "--yes")
	n.signs(t)
}

func killSentryDaemon(t *testing.T, n *network) {
	n.kill(t, "s1", daemons)
	n.signs(t)
	n.isHidden(t, "s1", "s2")
}

func killSentry(t *testing.T, n *network) {
	n.kill(t, "s1", agents, meshes, supervisors, daemons)
	n.signs(t)
	n.signs(t)
	n.does(t, "apply", "--yes")
	n.isHidden(t, "s1", "s2")
}

func killBothSentries(t *testing.T, n *network) {
	validator := n.the(t, daemons, "validator")
	n.kill(t, "s1", agents, meshes, supervisors, daemons)
	n.kill(t, "s2", agents, meshes, supervisors, daemons)
	n.silent(t)
	n.does(t, "apply", "--yes")
	n.signs(t)
	n.isHidden(t, "s1", "s2")
	n.same(t, daemons, "validator", validator)
}

// same checks that a process is still the one it was.
func (n *network) same(t *testing.T, kind, host string, was process.Identity) {
	t.Helper()
	if now := n.the(t, kind, host); now != was {
		t.Errorf("the %s of %s is %v, it was %v", kind, host, now, was)
	}
}
