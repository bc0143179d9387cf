package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/plan"
)

// proof is what a person has to give for a step that could let two hosts sign.
type proof struct {
	confirm string // the host's name
	without bool
}

func (p *proof) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.confirm, "confirm", "", "the name of the host that is lost, instead of typing it; or of a validator's machine that is to be given back")
	c.Flags().BoolVar(&p.without, "without-proof", false,
		"go on although the chain does not show that the key is silent. RISK: if the old host still signs, the validator is convicted and out for ever")
}

// lost lets a plan make a validator anew only if its name was typed and its key is proven to be silent. --yes implies
// neither. A nil proof lets nobody.
func (p *proof) lost(c *cobra.Command, s *apply.Session, made plan.Plan) error {
	name := apply.Gone(made)
	if name == "" {
		return nil
	}
	if p == nil {
		return apply.MakesAnew(name)
	}
	if err := p.typed(c, name); err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "looking whether the key of %s is silent on the chain\n", name)
	err := s.ProveSilence(c.Context())
	var unproven *apply.Unproven
	if errors.As(err, &unproven) && p.without {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %v; going on because of --without-proof\n", unproven)
		s.Anew = name
		return nil
	}
	if unproven != nil {
		return hint(err, "nothing was changed. Find the host that signs and stop it; only if you know that none is left, add --without-proof")
	}
	if err == nil {
		s.Anew = name
	}
	return err
}

// typed makes sure that a person means this host.
func (p *proof) typed(c *cobra.Command, name string) error {
	got := p.confirm
	if got == "" {
		if !isTerminal(c.InOrStdin()) {
			return hint(usageError{fmt.Errorf("making %s anew needs its name typed", name)}, "if its host is lost for ever, add --confirm %s", name)
		}
		fmt.Fprintf(c.OutOrStdout(), "The host of %s is to be lost for ever: should it come back, it must not sign.\nType its name to go on: ", name)
		line, err := askLine(c)
		if err != nil {
			return err
		}
		got = strings.TrimSpace(line)
	}
	if got != name {
		return usageError{fmt.Errorf("%q is not %q; nothing was changed", got, name)}
	}
	return nil
}
