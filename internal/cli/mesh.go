package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/status"
)

// newMeshCmd is about the encrypted network between our own hosts.
func newMeshCmd(g *global) *cobra.Command {
	c := &cobra.Command{Use: "mesh", Short: "The encrypted network between your hosts"}
	c.AddCommand(newMeshStatusCmd(g), newMeshExportCmd(g), newMeshRotateCmd(g), newMeshRunCmd())
	return c
}

func newMeshStatusCmd(g *global) *cobra.Command {
	var again, why, asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show which host reaches which, how, and why that way", Args: cobra.NoArgs,
		Long: "Show every tunnel: which path its packets take, since when, the round-trip time and the share of pings without an\n" +
			"answer. With --why also the reason, what each host knows of the others and the last changes.\n" +
			"The exit code is 1 when a tunnel is down.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.session()
			if err != nil {
				return err
			}
			defer s.Close()
			var whole bool
			draw := func(w io.Writer, paint style) (err error) {
				whole, err = drawMesh(c.Context(), w, paint, s, why, asJSON)
				return err
			}
			out := c.OutOrStdout()
			if again {
				return watch(c.Context(), out, asJSON, draw)
			}
			if err := draw(out, styleFor(out)); err != nil {
				return err
			}
			if !whole {
				return errCritical
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&again, "watch", "w", false, "draw it again every second")
	c.Flags().BoolVar(&why, "why", false, "say why each path was chosen, and what came before")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON (with --watch one object a line)")
	return c
}

// drawMesh writes the mesh and says whether every tunnel works.
func drawMesh(ctx context.Context, w io.Writer, paint style, s *apply.Session, why, asJSON bool) (whole bool, err error) {
	st, err := readStatus(ctx, s)
	if err != nil {
		return false, err
	}
	if st.Mesh == nil {
		return false, errors.New("this deployment has no mesh yet: 'pressenter apply' makes it")
	}
	whole = true
	for _, h := range st.Mesh.Hosts {
		whole = whole && h.Up
	}
	for _, l := range st.Mesh.Links {
		whole = whole && l.Path != api.PathDown
	}
	if asJSON {
		return whole, json.NewEncoder(w).Encode(st.Mesh)
	}
	fmt.Fprintf(w, "%s: mesh of %d hosts, %s\n\n", st.Deployment, len(st.Mesh.Hosts), st.Mesh.Driver)
	fmt.Fprintln(w, meshPicture(*st.Mesh, paint))
	fmt.Fprintln(w)
	meshTables(w, *st.Mesh, paint)
	if why {
		meshReasons(w, *st.Mesh, paint)
	}
	return whole, nil
}

// meshPicture draws every tunnel of the validator as a line down from a sentry; tunnels between sentries are in the
// table.
func meshPicture(m status.Mesh, st style) string {
	var cells, labels []string
	var below string
	for _, h := range m.Hosts {
		text := fmt.Sprintf("%s %s\n%s", mark(h.Up, st), h.Name, h.Backend)
		drawn := lipgloss.NewStyle().Border(lipgloss.NormalBorder()).Width(boxWidth).Align(lipgloss.Center).Render(text)
		if h.Role == string(roster.RoleValidator) {
			below = drawn
			continue
		}
		cells = append(cells, drawn)
		labels = append(labels, lipgloss.PlaceHorizontal(boxWidth, lipgloss.Center, linkLabel(m, h.Name, st)))
	}
	rows := []string{
		lipgloss.JoinHorizontal(lipgloss.Top, cells...), wires(make([]bool, 0)),
		lipgloss.JoinHorizontal(lipgloss.Top, labels...), below,
	}
	width := 0
	for _, r := range rows {
		width = max(width, lipgloss.Width(r))
	}
	var out []string
	for _, r := range rows {
		if r != "" {
			out = append(out, lipgloss.PlaceHorizontal(width, lipgloss.Center, r))
		}
	}
	return strings.Join(out, "\n")
}

// linkLabel is the validator's line to a sentry.
func linkLabel(m status.Mesh, sentry string, st style) string {
	for _, l := range m.Links {
		if l.Name != sentry {
			continue
		}
		switch l.Path {
		case api.PathDirect:
			return st.good("│ " + rtt(l.RTT))
		case api.PathRelay:
			return st.warn("┆ via " + l.Via)
		}
		return st.bad("✘ down")
	}
	return st.dim("no tunnel")
}

func mark(up bool, st style) string {
	if up {
		return st.good("✔")
	}
	return st.bad("✘")
}

func rtt(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func meshTables(w io.Writer, m status.Mesh, st style) {
	rows := [][]string{{"FROM", "TO", "PATH", "SINCE", "RTT", "LOSS", "PACKET", "SENT", "RECEIVED", "ENDPOINT"}}
	for _, l := range m.Links {
		path := l.Path
		switch l.Path {
		case api.PathDirect:
			path = st.good(path)
		case api.PathRelay:
			path = st.warn("relay " + l.Via)
		default:
			path = st.bad(path)
		}
		packet := "-"
		if l.Packet > 0 {
			packet = fmt.Sprint(l.Packet)
		}
		rows = append(rows, []string{
			l.From, l.Name, path, since(l.Since), rtt(l.RTT), fmt.Sprintf("%.0f %%", 100*l.Loss), packet,
			size(l.Sent), size(l.Received), l.Endpoint,
		})
	}
	table(w, rows)
	fmt.Fprintln(w)
	rows = [][]string{{"HOST", "BACKEND", "ADDRESS", "ROSTER", "MTU", "RELAYS FOR", "PID", "KEY"}}
	for _, h := range m.Hosts {
		rows = append(rows, []string{h.Name, h.Backend, h.Address, fmt.Sprint(h.Generation), fmt.Sprint(h.MTU), fmt.Sprint(h.Relaying), pid(h.PID), h.Key})
	}
	table(w, rows)
	if len(m.Devices) == 0 {
		return
	}
	fmt.Fprintln(w)
	rows = [][]string{{"DEVICE", "ADDRESS", "LAST SEEN", "THROUGH"}}
	for _, d := range m.Devices {
		rows = append(rows, []string{d.Name, d.Address, since(d.Seen), strings.Join(d.Through, ", ")})
	}
	table(w, rows)
}

// meshReasons says why each host uses the path that it uses, and what it used before.
func meshReasons(w io.Writer, m status.Mesh, st style) {
	for _, h := range m.Hosts {
		backend := m.Driver + " " + h.Backend
		if strings.HasPrefix(h.Backend, m.Driver) { // vpncloud's says its version
			backend = h.Backend
		}
		fmt.Fprintf(w, "\n%s: %s", h.Name, backend)
		if h.Reason != "" {
			fmt.Fprintf(w, ", because %s", h.Reason)
		}
		fmt.Fprintln(w)
		for _, n := range h.Notes {
			fmt.Fprintf(w, "  %s\n", st.warn(n))
		}
		for _, p := range h.Peers {
			if p.Role == string(roster.RoleDevice) {
				continue
			}
			fmt.Fprintf(w, "  to %s: %s since %s: %s\n", p.Name, p.Path, since(p.Since), p.Why)
			for _, c := range p.History {
				fmt.Fprintf(w, "    %s\n", st.dim(fmt.Sprintf("%s %s %s: %s", c.At.Local().Format("15:04:05"), c.Path, c.Via, c.Why)))
			}
		}
	}
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if time.Since(t) > 24*time.Hour {
		return t.Local().Format("2 Jan 15:04")
	}
	return t.Local().Format("15:04:05")
}

// size is a number of bytes for people.
func size(n uint64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.1f %cB", v, units[i])
}
