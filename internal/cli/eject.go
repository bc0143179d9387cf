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
		Long: "Write the complete configuration of the bought machines into an empty folder: the same that 'pressenter apply' uses,\n" +
			"without its state. Nothing changes. From then on one of you should keep the machines, not both.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.look()
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.Eject(args[0]); errors.Is(err, apply.ErrNothingBought) {
				return usageError{err}
			} else if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "wrote the machines' configuration to %s\nnext: cd %s, then tofu init and tofu plan\n", args[0], args[0])
			return nil
		},
	}
}
