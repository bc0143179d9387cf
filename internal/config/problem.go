package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a config, and where.
type Problem struct {
	File         string
	Line, Column int    // from 1, in characters; 0 if there is no text to point into
	Path         string // such as sentries[1].name; empty for the file as a whole
	Message      string
	Suggestion   string // what to do about it, if one thing is sensible
}

// String is one line: file:line:column: path: message: suggestion.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Suggestion != "" {
		b.WriteString(": " + p.Suggestion)
	}
	return b.String()
}

// Problems is everything wrong with a config, in the order of its lines.
type Problems []Problem

// maxShown is how many problems Error writes out; a file with more is not a config.
const maxShown = 100

// Error is the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps))
	for i, p := range ps {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more problems", len(ps)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// quote shows text from the file in a message: escaped, and clipped, since it can be anything.
func quote(s string) string { return fmt.Sprintf("%q", clip(s)) }

// clip is s, or the start of it if s is long.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// nearest returns the candidate that s is most likely a misspelling of.
func nearest(s string, candidates []string) (string, bool) {
	const most = 40 // longer than any candidate; keeps the table of distance small
	if len(s) > most {
		return "", false
	}
	best, found := max(1, len(s)/3)+1, ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < best {
			best, found = d, c
		}
	}
	return found, found != ""
}

// distance is how many insertions, deletions, replacements and swaps of neighbours turn a into b.
func distance(a, b string) int {
	var before, last []int
	this := make([]int, len(b)+1)
	for j := range this {
		this[j] = j
	}
	for i := range len(a) {
		before, last, this = last, this, make([]int, len(b)+1)
		this[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			this[j+1] = min(last[j+1]+1, this[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				this[j+1] = min(this[j+1], before[j-1]+1)
			}
		}
	}
	return this[len(b)]
}
