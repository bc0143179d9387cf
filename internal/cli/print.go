package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"

	"github.com/pressenter/pressenter/internal/plan"
)

// printJSON writes v for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// style colours text where somebody can see it.
type style struct{ on bool }

func styleFor(w io.Writer) style {
	return style{isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is how many columns a terminal has.
func width(v any) int {
	if f, ok := v.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 80
}

func (s style) paint(code string, text string) string {
	if !s.on {
		return text
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(code)).Render(text)
}

func (s style) good(t string) string { return s.paint("2", t) }
func (s style) warn(t string) string { return s.paint("3", t) }
func (s style) bad(t string) string  { return s.paint("1", t) }
func (s style) dim(t string) string  { return s.paint("8", t) }

var signs = map[plan.Kind]string{plan.Create: "+", plan.Change: "~", plan.Bounce: "↻", plan.Destroy: "-", plan.Wait: "…"}

// printPlan shows every step before anything is done.
func printPlan(w io.Writer, p plan.Plan) {
	st := styleFor(w)
	if p.Empty() {
		fmt.Fprintln(w, "no changes")
	}
	counts := map[plan.Kind]int{}
	where := ""
	for _, stage := range p.Stages {
		for _, row := range gather(stage) {
			if row.where != where {
				where = row.where
				fmt.Fprintf(w, "%s\n", where)
			}
			counts[row.kind] += row.count
			line := fmt.Sprintf("  %s %s", signs[row.kind], row.words)
			switch row.kind {
			case plan.Create:
				line = st.good(line)
			case plan.Destroy:
				line = st.bad(line)
			case plan.Bounce:
				line = st.warn(line)
			case plan.Change, plan.Wait:
			}
			fmt.Fprintln(w, line)
		}
	}
	if !p.Empty() {
		fmt.Fprintf(w, "plan: %d to create, %d to change, %d to restart, %d to destroy\n",
			counts[plan.Create], counts[plan.Change], counts[plan.Bounce], counts[plan.Destroy])
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// planRow is one line of a plan: one step, or the same step on several hosts.
type planRow struct {
	where, words string
	kind         plan.Kind
	count        int
}

// gather writes steps of a stage that differ only in the host as one line, in the order of first appearance by
// deployment. What is destroyed or restarted always has a line of its own.
func gather(stage []plan.Step) []planRow {
	var rows []planRow
	hosts := map[string][]string{}
	for _, s := range stage {
		kind := plan.KindOf(s)
		shape := s.Where() + "\x00" + s.String()
		if s.Host() != "" && kind != plan.Destroy && kind != plan.Bounce && kind != plan.Wait {
			shape = s.Where() + "\x00" + strings.Replace(s.String(), s.Host(), "\x01", 1)
		}
		if len(hosts[shape]) == 0 {
			rows = append(rows, planRow{where: s.Where(), words: shape[len(s.Where())+1:], kind: kind})
		}
		hosts[shape] = append(hosts[shape], s.Host())
	}
	for i, r := range rows {
		names := hosts[r.where+"\x00"+r.words]
		rows[i].count = len(names)
		rows[i].words = strings.Replace(r.words, "\x01", strings.Join(names, ", "), 1)
	}
	slices.SortStableFunc(rows, func(a, b planRow) int { return strings.Compare(b.where, a.where) })
	return rows
}

// table aligns columns.
func table(w io.Writer, rows [][]string) {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], lipgloss.Width(c))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-lipgloss.Width(c)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
