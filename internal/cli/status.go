package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/status"
)

func newStatusCmd(g *global) *cobra.Command {
	var again, asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show validator, sentries and findings", Args: cobra.NoArgs,
		Long: "Show what runs, on which height, with which peers, what the validator signed as others see it, and findings with\n" +
			"their next step. The exit code is 1 when something is critical.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.session()
			if err != nil {
				return err
			}
			defer s.Close()
			var st status.Status
			draw := func(w io.Writer, paint style) (err error) {
				if st, err = readStatus(c.Context(), s); err != nil {
					return err
				}
				switch {
				case asJSON && again:
					return json.NewEncoder(w).Encode(st)
				case asJSON:
					return printJSON(w, st)
				}
				drawStatus(w, st, paint)
				return nil
			}
			out := c.OutOrStdout()
			if again {
				return watch(c.Context(), out, asJSON, draw)
			}
			if err := draw(out, styleFor(out)); err != nil {
				return err
			}
			if health.Worst(st.Findings) == health.Critical {
				return errCritical
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&again, "watch", "w", false, "draw it again every second")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON (with --watch one object a line)")
	return c
}

// readStatus observes and judges. Nothing is changed and no lock is taken.
func readStatus(ctx context.Context, s *apply.Session) (status.Status, error) {
	if err := s.Read(); err != nil {
		return status.Status{}, err
	}
	if err := s.Look(ctx); err != nil {
		return status.Status{}, err
	}
	return status.Of(s.Wanted(), s.Observed(), s.Witnessed()), nil
}

// drawStatus writes the picture, the table and the findings.
func drawStatus(w io.Writer, s status.Status, st style) {
	v := s.Validator
	fmt.Fprintf(w, "%s on %s, height %d\n\n", s.Deployment, s.ChainID, s.Height)
	fmt.Fprintln(w, picture(s, st))
	line := fmt.Sprintf("validator: %s", v.State)
	switch v.State {
	case status.Signing:
		line = st.good(line) + fmt.Sprintf(", block %d as its peers hold it", v.Witnessed)
	case status.Stopped, status.Disarmed, status.Absent, status.Waiting:
		line = st.warn(line)
	default:
		line = st.bad(line)
	}
	if v.Reason != "" {
		line += ": " + v.Reason
	}
	fmt.Fprintln(w, line)
	if v.Window > 0 {
		fmt.Fprintf(w, "missed %d of the last %d blocks (at least %s must be signed); last signed height %d\n", v.Missed, v.Window, v.MinSigned, v.LastSigned)
	}
	fmt.Fprintln(w)
	rows := [][]string{{"HOST", "ROLE", "AT", "NODE", "HEIGHT", "PEERS", "RESTARTS", "ROSTER", "AGENT", "SUPERVISOR", "DAEMON", "MESH", "RPC"}}
	for _, d := range s.Deployments {
		for _, h := range d.Hosts {
			rows = append(rows, hostRow(d, h))
		}
	}
	const at = 2
	if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[at] != "-" }) {
		for i := range rows { // all on this computer
			rows[i] = slices.Delete(rows[i], at, at+1)
		}
	}
	table(w, rows)
	printFindings(w, s.Findings, st)
}

func hostRow(d status.Deployment, h status.Host) []string {
	name, phase := h.Name, h.Phase
	if d.World {
		name = d.Name + "/" + h.Name
	}
	switch {
	case h.Intent.Held:
		phase = "held, " + phase
	case h.Intent.Stopped:
		phase = "stopped"
	case h.CatchingUp:
		phase = "catching up"
	}
	at := "-"
	switch {
	case h.At != "" && h.Provider != config.ProviderSSH:
		at = h.Provider + " " + h.At
	case h.At != "":
		at = h.At
	}
	return []string{
		name, h.Role, at, phase, fmt.Sprint(h.Height), fmt.Sprint(len(h.Peers)), fmt.Sprint(h.Restarts), fmt.Sprint(h.Generation),
		pid(h.AgentPID), pid(h.SupervisorPID), pid(h.DaemonPID), pid(h.MeshPID), h.RPC,
	}
}

func pid(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func printFindings(w io.Writer, fs []health.Finding, st style) {
	if len(fs) == 0 {
		fmt.Fprintln(w, "\nno findings")
		return
	}
	fmt.Fprintln(w)
	for _, f := range fs {
		word := string(f.Severity)
		switch f.Severity {
		case health.Critical:
			word = st.bad(word)
		case health.Warning:
			word = st.warn(word)
		case health.Info:
		}
		fmt.Fprintf(w, "%s: %s: %s\n", word, f.Subject, f.Message)
		if f.Next != "" {
			fmt.Fprintf(w, "  → %s\n", f.Next)
		}
	}
}
