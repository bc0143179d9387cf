package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
)

// newEjectCmd is for people who run OpenTofu or Terraform by themselves.
func newEjectCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "eject DIR", Short: "Write the machines' configuration, to run OpenTofu or Terraform by yourself", Args: cobra.ExactArgs(1),
		Long: "Write the complete configuration of the bought machines into an empty folder: the same that 'pressenter apply' used\n" +
			"last, without its state, with import blocks by which your first plan takes the machines over instead of buying them\n" +
			"again. Nothing changes. From then on one of you should keep the machines, not both.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.look()
			if err != nil {
				return err
			}
			defer s.Close()
			taken, err := s.Eject(c.Context(), args[0])
			if errors.Is(err, apply.ErrNothingBought) {
				return usageError{err}
			} else if err != nil {
				return err
			}
			out := c.OutOrStdout()
			if taken == 0 {
				fmt.Fprintf(out, "wrote the machines' configuration to %s; nothing is bought yet, and a plan makes everything\nnext: read %s/README.md\n", args[0], args[0])
				return nil
			}
			fmt.Fprintf(out, "wrote the machines' configuration to %s\nnext: cd %s, tofu init, tofu plan: it has to say %d to import and 0 to add\n", args[0], args[0], taken)
			return nil
		},
	}
}
