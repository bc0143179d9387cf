package cli

import (
	"bufio"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/health"
)

func newLogsCmd(g *global) *cobra.Command {
	var follow bool
	var lines int
	var of string
	c := &cobra.Command{
		Use: "logs NAME", Short: "Show what a host's node says", Args: cobra.ExactArgs(1), ValidArgsFunction: g.completeHosts,
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Read, args)
			if err != nil {
				return err
			}
			defer s.Close()
			r, err := s.Client(targets[0]).Logs(c.Context(), of, lines, follow)
			if err != nil {
				return hint(err, "if its agent does not run, 'pressenter start' starts it")
			}
			defer r.Close()
			if err = copyLog(c.OutOrStdout(), r); c.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil // Ctrl-C ends a followed log
			}
			return err
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is said from now on")
	c.Flags().IntVarP(&lines, "lines", "n", 50, "how many of the last lines")
	c.Flags().StringVar(&of, "of", "node", "which log: node, supervisor, agent or mesh")
	return c
}

// copyLog copies a log line by line as it comes, as a terminal can be shown it: peers' words are in it.
func copyLog(w io.Writer, r io.Reader) error {
	from := bufio.NewReaderSize(r, 64<<10) // a longer line comes in parts
	for {
		line, err := from.ReadSlice('\n')
		if _, bad := io.WriteString(w, health.Lines(string(line))); bad != nil {
			return bad
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
