package doctor

import (
	"fmt"
	"io"
	"strings"
)

// sections by what checks are about, for people.
var sections = map[string]string{Computer: "this computer", Folder: "the folder", Deployment: "the deployment"}

const hiddenSection = "is the validator hidden?"

// WriteText prints checks for people, a section for each thing that they are about. paint may colour a word, and must not
// change it: no meaning is in colour alone.
func WriteText(w io.Writer, checks []Check, paint func(Verdict, string) string) error {
	var order []string
	by := map[string][]Check{}
	for _, c := range checks {
		s := section(c)
		if _, known := by[s]; !known {
			order = append(order, s)
		}
		by[s] = append(by[s], c)
	}
	var b strings.Builder
	for _, s := range order {
		fmt.Fprintln(&b, s)
		for _, c := range by[s] {
			writeCheck(&b, c, s == hiddenSection, paint)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCheck(b *strings.Builder, c Check, named bool, paint func(Verdict, string) string) {
	message := c.Message
	if named {
		message = c.Subject + ": " + message
	}
	if c.Measurement != "" {
		message += " (" + c.Measurement + ")"
	}
	fmt.Fprintf(b, "  %s%*s %-16s %s\n", paint(c.Verdict, string(c.Verdict)), len(NotChecked)-len(c.Verdict), "", c.Code, message)
	if c.Next != "" {
		fmt.Fprintf(b, "  %*s %-16s next: %s\n", len(NotChecked), "", "", c.Next)
	}
}

func section(c Check) string {
	if c.Code == CodeHidden || strings.HasPrefix(c.Code, "hiding-") {
		return hiddenSection
	}
	if s, ok := sections[c.Subject]; ok {
		return s
	}
	return c.Subject
}

// Sum is the last line: how many checks have which verdict.
func (r Report) Sum() string {
	var parts []string
	for _, v := range verdicts {
		if n := r.Count(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if len(parts) == 0 {
		return "nothing was looked at"
	}
	return strings.Join(parts, ", ")
}
