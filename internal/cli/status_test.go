package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/status"
)

// sample has one thing of each kind: a sentry that is down, a validator that signs, a finding.
func sample() status.Status {
	host := func(name, role, phase string, height int64, peers ...string) status.Host {
		return status.Host{
			Name: name, Role: role, Phase: phase, Up: phase == "running", Height: height, Peers: peers,
			AgentPID: 1, SupervisorPID: 2, DaemonPID: 3, Generation: 2, RPC: "127.0.0.1:20001",
		}
	}
	return status.Status{
		Deployment: "hub", ChainID: "practice-hub", Height: 100,
		Validator: status.Validator{Host: "validator", State: status.Signing, Witnessed: 99, LastSigned: 100, Missed: 3, Window: 10000, MinSigned: "0.05"},
		Deployments: []status.Deployment{
			{Name: "hub", Hosts: []status.Host{
				host("validator", "validator", "running", 100, "s1"), host("s1", "sentry", "running", 100, "w1", "w2", "validator"), host("s2", "sentry", "down", 0),
			}},
			{Name: "hub-world", World: true, Hosts: []status.Host{host("w1", "genesis-validator", "running", 100, "s1"), host("w2", "genesis-validator", "running", 100, "s1")}},
		},
		Findings: []health.Finding{{Code: "node-down", Severity: health.Warning, Subject: "s2", Message: "Its node does not answer (down).", Next: "Look at 'pressenter logs s2'."}},
	}
}

func TestStatusGolden(t *testing.T) {
	var b strings.Builder
	drawStatus(&b, sample(), style{})
	got := trimRight(b.String())
	const path = "testdata/status.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}

func trimRight(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}
