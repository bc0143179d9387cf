package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/doctor"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
)

// unaskedFlag is for clouds that answer wrongly.
func unaskedFlag(c *cobra.Command, g *global) {
	c.Flags().BoolVar(&g.unasked, "unasked", false, "do not ask the clouds whether machines can be had before buying them")
}

// lookedFlag is for what no cloud tells.
func lookedFlag(c *cobra.Command, g *global) {
	c.Flags().BoolVar(&g.looked, "looked", false, "what was said to be in doubt was looked for in the clouds' consoles")
}

// clouds are the checks of what machines are bought with: the tool, the credentials, and what the clouds say of machines that
// are not bought yet.
func (d *doctorCmd) clouds(ctx context.Context) []doctor.Check {
	s, err := d.look()
	if err != nil {
		return nil // the config has checks of its own
	}
	defer s.Close()
	o, err := s.AskClouds(ctx)
	checks := answerChecks(o, err)
	for _, f := range plan.SSHOpenings(s.Wanted().Own.Openings, s.Wanted().Shut) {
		checks = append(checks, doctor.Check{Code: f.Code, Subject: doctor.Deployment, Verdict: doctor.Verdict(f.Severity), Message: f.Message, Next: f.Next})
	}
	return checks
}

func answerChecks(o apply.Answers, err error) []doctor.Check {
	if len(o.Clouds) == 0 {
		return nil
	}
	check := doctor.Check{Code: "machines", Subject: doctor.Deployment, Measurement: strings.Join(o.Clouds, ", ")}
	var out []doctor.Check
	if o.Tool.Name != "" {
		tool := doctor.Check{Code: "machines-tool", Subject: doctor.Computer, Verdict: doctor.OK, Measurement: o.Tool.Name + " " + o.Tool.Version, Message: "machines can be made"}
		if !o.Tool.Encrypts() {
			tool.Verdict, tool.Message, tool.Next = doctor.Warning, "machines can be made, and their state is plain text", "use OpenTofu, which encrypts it"
		}
		out = append(out, tool)
	}
	var locked *apply.Locked
	switch {
	case errors.As(err, &locked):
		check.Verdict, check.Message, check.Next = doctor.NotChecked, err.Error(), nextStep(err)
		return append(out, check)
	case err != nil:
		check.Verdict, check.Message, check.Next = doctor.Critical, err.Error(), nextStep(err)
		return append(out, check)
	}
	if len(o.Checks) == 0 {
		check.Verdict, check.Message = doctor.OK, "all machines are bought, and credentials are there"
		return append(out, check)
	}
	for _, c := range o.Checks {
		out = append(out, answerCheck(c))
	}
	return out
}

func answerCheck(c provision.Check) doctor.Check {
	check := doctor.Check{Code: "machines", Subject: doctor.Deployment, Verdict: doctor.OK, Message: plan.CheckWords(c)}
	switch {
	case c.Unchecked:
		check.Verdict = doctor.NotChecked
	case !c.OK:
		check.Verdict, check.Next = doctor.Critical, plan.CheckNext(c)
	}
	return check
}
