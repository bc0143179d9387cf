// Package health holds what is said about a host or a deployment that is not as it should be.
package health

import (
	"slices"
	"strings"
	"time"
)

// Severity says how soon a person should act.
type Severity string

// Severities, mildest first.
const (
	Info     Severity = "info"     // worth knowing; nothing to do
	Warning  Severity = "warning"  // will become a problem, or weakens the set-up
	Critical Severity = "critical" // the validator does not sign, or is not safe
)

// Finding is one thing that is not as it should be, in words for people.
type Finding struct {
	Code        string    `json:"code"` // stable, e.g. "port-in-use"
	Severity    Severity  `json:"severity"`
	Subject     string    `json:"subject,omitempty"`     // the host or thing it is about
	Message     string    `json:"message"`               // what is the case
	Measurement string    `json:"measurement,omitempty"` // what was measured, e.g. "3 asks in 47s"
	Next        string    `json:"next,omitempty"`        // what to do about it
	Since       time.Time `json:"since,omitzero"`
}

var order = []Severity{Critical, Warning, Info}

// Sort puts the most severe first, then by subject and code.
func Sort(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		if d := slices.Index(order, a.Severity) - slices.Index(order, b.Severity); d != 0 {
			return d
		}
		if d := strings.Compare(a.Subject, b.Subject); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
}

// Worst is the most severe of fs, or "" when there are none.
func Worst(fs []Finding) Severity {
	for _, s := range order {
		if slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == s }) {
			return s
		}
	}
	return ""
}
