// Package doctor looks at a computer, at a deployment in it and at who knows its validator, and says of each thing what
// was measured, what follows from it, and what to do next.
//
// Looking and judging are apart. [Look] measures and decides nothing; [Judge] is pure and touches nothing. The proof that
// the validator is hidden is gathered by [Proof] and judged by package hiding.
package doctor

import (
	"slices"

	"github.com/pressenter/pressenter/internal/health"
)

// Verdict is what a check says, in a word.
type Verdict string

// The verdicts, mildest first.
const (
	OK         Verdict = "ok"
	Info       Verdict = "info"        // worth knowing; nothing to do now
	NotChecked Verdict = "not checked" // could not be looked at, so nothing is said
	Warning    Verdict = "warning"     // will become a problem, or weakens the set-up
	Critical   Verdict = "critical"    // does not work, or is not safe
)

var verdicts = []Verdict{OK, Info, NotChecked, Warning, Critical}

// What a check is about, where that is no host.
const (
	Computer   = "computer"   // this computer
	Folder     = "folder"     // where the deployment lies
	Deployment = "deployment" // what concerns all of its hosts
)

// Check is one thing that was looked at. Every field is there for programs, also when it is empty.
type Check struct {
	Code        string  `json:"code"`    // stable
	Subject     string  `json:"subject"` // Computer, Folder, Deployment or a host's name
	Verdict     Verdict `json:"verdict"`
	Measurement string  `json:"measurement"`
	Message     string  `json:"message"`
	Next        string  `json:"next"`
}

// Report is all that was looked at.
type Report struct {
	Checks []Check `json:"checks"`
	Worst  Verdict `json:"worst"`
}

// NewReport sums checks up.
func NewReport(checks []Check) Report {
	r := Report{Checks: checks, Worst: OK}
	if checks == nil {
		r.Checks = []Check{}
	}
	for _, c := range checks {
		if slices.Index(verdicts, c.Verdict) > slices.Index(verdicts, r.Worst) {
			r.Worst = c.Verdict
		}
	}
	return r
}

// Count says how many checks have that verdict.
func (r Report) Count(v Verdict) int {
	n := 0
	for _, c := range r.Checks {
		if c.Verdict == v {
			n++
		}
	}
	return n
}

// about begins the checks of one subject.
type about struct{ subject string }

func (a about) ok(code, message, measured string) Check {
	return Check{Code: code, Subject: a.subject, Verdict: OK, Message: message, Measurement: measured}
}

func (a about) info(code, message, measured, next string) Check {
	return Check{Code: code, Subject: a.subject, Verdict: Info, Message: message, Measurement: measured, Next: next}
}

func (a about) notChecked(code, message, next string) Check {
	return Check{Code: code, Subject: a.subject, Verdict: NotChecked, Message: message, Next: next}
}

func (a about) warning(code, message, measured, next string) Check {
	return Check{Code: code, Subject: a.subject, Verdict: Warning, Message: message, Measurement: measured, Next: next}
}

func (a about) critical(code, message, measured, next string) Check {
	return Check{Code: code, Subject: a.subject, Verdict: Critical, Message: message, Measurement: measured, Next: next}
}

// finding is what a host said of itself.
func (a about) finding(f health.Finding) Check {
	v := map[health.Severity]Verdict{health.Info: Info, health.Warning: Warning, health.Critical: Critical}[f.Severity]
	if v == "" {
		v = Warning
	}
	return Check{Code: f.Code, Subject: a.subject, Verdict: v, Message: f.Message, Measurement: f.Measurement, Next: f.Next}
}
