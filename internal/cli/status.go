package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

func newStatusCmd(g *global) *cobra.Command {
	c := &cobra.Command{Use: "status", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		s, err := g.session()
		if err != nil {
			return err
		}
		if err := s.Read(); err != nil {
			return err
		}
		if _, err := s.Plan(c.Context()); err != nil {
			return err
		}
		return printJSON(c.OutOrStdout(), s.Observed())
	}}
	return c
}

var _ = context.Background
var _ io.Writer
var _ = time.Now
var _ = fmt.Sprint
