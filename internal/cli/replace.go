package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/plan"
)

func newReplaceCmd(g *global) *cobra.Command {
	var yes, asJSON, cancel bool
	c := &cobra.Command{
		Use: "replace NAME", Short: "Replace a sentry: another machine, address and identity", Args: cobra.ExactArgs(1), ValidArgsFunction: g.completeHosts,
		Long: "Replace a sentry, whether it lives, is lost or is to be elsewhere: show the plan, ask, and do it. A validator on a\n" +
			"server is not restarted, and there is always another sentry. A bought sentry gets another machine, which is up and joined before the one\n" +
			"that it has is given back; so does one whose provider, region or address the config says otherwise now. One on this\n" +
			"computer, or on a server that was there already, is removed and made anew. Interrupted anywhere, the same command or\n" +
			"'pressenter apply' goes on.",
		RunE: func(c *cobra.Command, args []string) error { return runReplace(c, g, args[0], yes, asJSON, cancel) },
	}
	replaceFlags(c, g, &yes, &asJSON)
	c.Flags().BoolVar(&cancel, "cancel", false, "take back a replacement that has begun: the machine stays as long as it is in the roster, and the other one goes")
	return c
}

func newRotateAddressCmd(g *global) *cobra.Command {
	var yes, asJSON bool
	c := &cobra.Command{
		Use: "rotate-address NAME", Short: "Give a bought sentry another public address", Args: cobra.ExactArgs(1), ValidArgsFunction: g.completeHosts,
		Long: "Give a bought sentry another public address, as under an attack. It is 'pressenter replace', on every cloud: with the\n" +
			"address go the machine, which in most clouds cannot get another one, and the identity, by which anybody would find the\n" +
			"new address.",
		RunE: func(c *cobra.Command, args []string) error {
			if err := rotates(g, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "another address takes another machine and identity: this is 'pressenter replace %s'\n", args[0])
			return runReplace(c, g, args[0], yes, asJSON, false)
		},
	}
	replaceFlags(c, g, &yes, &asJSON)
	return c
}

func replaceFlags(c *cobra.Command, g *global, yes, asJSON *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(asJSON, "json", false, "print the plan as JSON; it is done only with --yes")
	daemonFlag(c, g)
	unaskedFlag(c, g)
	lookedFlag(c, g)
}

// rotates says why a sentry's address is not ours to change.
func rotates(g *global, name string) error {
	d, err := g.load()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.Sentries, func(s config.Sentry) bool { return s.Name == name })
	if i < 0 {
		return nil // for replace to say
	}
	switch d.ProviderOf(d.Sentries[i].Machine) {
	case config.ProviderLocal:
		return &plan.Refusal{Why: fmt.Sprintf("%s is on this computer, and has its address", name), Next: fmt.Sprintf("'pressenter replace %s' gives it another identity", name)}
	case config.ProviderSSH:
		return &plan.Refusal{
			Why:  fmt.Sprintf("%s is a server that was there already: its address is its owner's to change", name),
			Next: fmt.Sprintf("write the address of another server in the config and run 'pressenter replace %s'", name),
		}
	}
	return nil
}

// runReplace plans, asks and replaces.
func runReplace(c *cobra.Command, g *global, name string, yes, asJSON, cancel bool) error {
	s, err := g.session()
	if err != nil {
		return err
	}
	s.Replace, s.Cancel = name, cancel
	if !asJSON {
		return runApply(c, s, yes, nil)
	}
	defer s.Close()
	p, err := planned(c, s)
	if err != nil {
		return err
	}
	if err := printPlanJSON(c.OutOrStdout(), p); err != nil || !yes || p.Empty() {
		return err
	}
	return carryOut(c.Context(), c.ErrOrStderr(), s, p)
}

// planned locks everything and plans.
func planned(c *cobra.Command, s *apply.Session) (plan.Plan, error) {
	if err := s.Open(); err != nil {
		return plan.Plan{}, err
	}
	if err := s.LockHosts(c.Context()); err != nil {
		return plan.Plan{}, err
	}
	return s.Plan(c.Context())
}

func printPlanJSON(w io.Writer, p plan.Plan) error {
	b, err := apply.MarshalSteps(p)
	if err == nil {
		_, err = fmt.Fprintln(w, string(b))
	}
	return err
}
