package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
)

// Without a terminal what buys, gives back or destroys is refused, and nothing else is.
func TestConsent(t *testing.T) {
	machines := func(kind provision.Kind, action provision.Action) plan.Step {
		return plan.ChangeMachines{Changes: []provision.Change{{Kind: kind, Action: action}}}
	}
	for name, tt := range map[string]struct {
		step           plan.Step
		buys, destroys bool
	}{
		"a machine is bought":     {machines(provision.Server, provision.Create), true, false},
		"a volume is bought":      {machines(provision.Volume, provision.Create), true, false},
		"a machine is replaced":   {machines(provision.Server, provision.Replace), true, true},
		"machines are given back": {plan.ReturnMachines{}, false, true},
		"a host is destroyed":     {plan.DestroyHost{}, false, true},
		"a firewall changes":      {machines(provision.Firewall, provision.Update), false, false},
		"a host starts":           {plan.StartAgent{}, false, false},
	} {
		p := plan.Plan{Stages: [][]plan.Step{{tt.step}}}
		if buys, destroys := stakes(p); buys != tt.buys || destroys != tt.destroys {
			t.Errorf("%s: buys %v, destroys %v", name, buys, destroys)
		}
		c := &cobra.Command{}
		c.SetIn(strings.NewReader("y\n"))
		if err := consent(c, p); (err != nil) != (tt.buys || tt.destroys) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// 'up' asks nothing without a terminal only where every host is on this computer.
func TestAllHere(t *testing.T) {
	d := config.Practice("hub")
	if !allHere(d) {
		t.Error("a practice network is not here")
	}
	d.Sentries[1].Provider = "hetzner"
	if allHere(d) {
		t.Error("a bought sentry is here")
	}
}
