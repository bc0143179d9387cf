package doctor

import (
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// What fails together is a check of the deployment; the practice network's other validators are nobody's concern.
func TestPlacement(t *testing.T) {
	bought := func(name string, role roster.Role, region string) Host {
		return Host{Host: deployment.Host{Name: name, Role: role, Provider: "hetzner", Region: region}}
	}
	hosts := []Host{
		bought("validator", roster.RoleValidator, "fsn1"), bought("s1", roster.RoleSentry, "nbg1"), bought("s2", roster.RoleSentry, "nbg1"),
		{Host: deployment.Host{Name: "w1", Role: roster.RoleGenesisValidator}, World: true},
	}
	cs := placement(hosts)
	if len(cs) != 1 || cs[0].Code != plan.CodeOneRegion || cs[0].Subject != Deployment || cs[0].Verdict != Warning || cs[0].Next == "" {
		t.Errorf("%+v", cs)
	}
	if cs := placement(hosts[3:]); len(cs) != 0 {
		t.Errorf("%+v", cs)
	}
}
