package cli

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/status"
)

// picture draws who is connected to whom: the network above, the sentries, the validator below them. Its lines are
// what the nodes report now, not what they were told.
func picture(s status.Status, st style) string {
	own, world := s.Deployments[0], status.Deployment{}
	above := "the network " + s.ChainID
	if len(s.Deployments) > 1 {
		world = s.Deployments[1]
		above = worldBox(world, st)
	}
	var sentries []status.Host
	var validator status.Host
	for _, h := range own.Hosts {
		if h.Role == string(roster.RoleSentry) {
			sentries = append(sentries, h)
		} else {
			validator = h
		}
	}
	var cells []string
	var top, bottom []bool // is the sentry linked to the world, to the validator
	for _, h := range sentries {
		cells = append(cells, box(h, st))
		links := 0
		for _, w := range world.Hosts {
			if linked(h, w) {
				links++
			}
		}
		if len(s.Deployments) == 1 { // the network is others': whoever is none of ours is of it
			links = others(h, own)
		}
		top, bottom = append(top, links > 0), append(bottom, linked(validator, h))
	}
	rows := []string{above, wires(top), lipgloss.JoinHorizontal(lipgloss.Top, cells...), wires(bottom), box(validator, st)}
	width := 0
	for _, r := range rows {
		width = max(width, lipgloss.Width(r))
	}
	for i, r := range rows {
		rows[i] = lipgloss.PlaceHorizontal(width, lipgloss.Center, r)
	}
	return strings.Join(rows, "\n")
}

const boxWidth = 16

func box(h status.Host, st style) string {
	sign := st.bad("✘")
	if h.Up || h.Phase == status.PhaseReached {
		sign = st.good("✔")
	}
	text := fmt.Sprintf("%s %s\n%s", sign, h.Name, heightWords(h))
	return lipgloss.NewStyle().Border(lipgloss.NormalBorder()).Width(boxWidth).Align(lipgloss.Center).Render(text)
}

func heightWords(h status.Host) string {
	if h.Up {
		return fmt.Sprintf("at %d", h.Height)
	}
	return h.Phase
}

func worldBox(d status.Deployment, st style) string {
	var words []string
	for _, h := range d.Hosts {
		sign := st.bad("✘")
		if h.Up {
			sign = st.good("✔")
		}
		words = append(words, fmt.Sprintf("%s %s %s", sign, h.Name, heightWords(h)))
	}
	return "the world: " + strings.Join(words, " · ")
}

// wires is one line a box wide for each link; a missing link is said.
func wires(up []bool) string {
	var out []string
	for _, ok := range up {
		wire := "│"
		if !ok {
			wire = "no link"
		}
		out = append(out, lipgloss.PlaceHorizontal(boxWidth, lipgloss.Center, wire))
	}
	return strings.Join(out, "")
}

// others counts the peers of a host that are none of a deployment's.
func others(h status.Host, d status.Deployment) int {
	n := 0
	for _, p := range h.Peers {
		if !slices.ContainsFunc(d.Hosts, func(own status.Host) bool { return own.Name == p }) {
			n++
		}
	}
	return n
}

// linked says whether either reports the other as its peer.
func linked(a, b status.Host) bool {
	for _, p := range a.Peers {
		if p == b.Name {
			return true
		}
	}
	for _, p := range b.Peers {
		if p == a.Name {
			return true
		}
	}
	return false
}
