package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
)

// consent asks whether the plan is to be done. Where nobody can be asked, what costs money or destroys needs a --yes.
func consent(c *cobra.Command, p plan.Plan) error {
	buys, destroys := stakes(p)
	if !isTerminal(c.InOrStdin()) {
		if buys || destroys {
			return hint(usageError{errors.New("this plan buys, gives back or destroys, and without a terminal nobody can be asked; nothing was changed")},
				"read the plan, then run 'pressenter apply --yes'")
		}
		return nil
	}
	ok, err := confirm(c, "Do this?", !destroys)
	if err != nil {
		return err
	}
	if !ok {
		return hint(usageError{errors.New("nothing was changed")}, "run 'pressenter apply' when you are ready")
	}
	return nil
}

// stakes says whether a plan buys something, and whether it destroys something or gives it back.
func stakes(p plan.Plan) (buys, destroys bool) {
	for _, step := range p.Steps() {
		destroys = destroys || plan.KindOf(step) == plan.Destroy
		if st, ok := step.(plan.ChangeMachines); ok {
			for _, c := range st.Changes {
				free := c.Kind == provision.Firewall || c.Kind == provision.Spread || c.Kind == provision.Label
				buys = buys || !free && (c.Action == provision.Create || c.Action == provision.Replace)
				destroys = destroys || !free && c.Loses()
			}
		}
	}
	return buys, destroys
}

// allHere says whether every host of the config is on this computer, where nothing costs anything.
func allHere(d config.Deployment) bool {
	here := d.ProviderOf(d.Validator.Machine) == config.ProviderLocal
	for _, sentry := range d.Sentries {
		here = here && d.ProviderOf(sentry.Machine) == config.ProviderLocal
	}
	return here
}
