package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/hiding"
)

// Codes of the checks that sum a proof up. The others are those of package hiding.
const (
	CodeHidden      = "hidden"
	CodeHidingLimit = "hiding-limit"
)

// JudgeProof says what follows from what a proof gathered. The first check sums it up.
func JudgeProof(p Proven) []Check {
	if p.Not != "" {
		return []Check{whole.notChecked(CodeHidden, "whether the validator is hidden was not looked at: "+p.Not, "run this again once it runs; see 'pressenter status'")}
	}
	judged := hiding.Judge(p.Evidence)
	cs := []Check{summary(p, judged)}
	for _, j := range judged {
		cs = append(cs, hidingCheck(p, j))
	}
	cs = append(cs, limits(p)...)
	if c := step(p.Step); c.Verdict != OK {
		cs = append(cs, c)
	}
	return cs
}

// summary is one sentence on everything.
func summary(p Proven, judged []hiding.Check) Check {
	about := about{p.Evidence.Validator.Name}
	pr := p.Progress
	measured := fmt.Sprintf("asked %s as strangers: %d answers in %s; %d looks at the peers and address books of all nodes; %d strangers at the validator's own address",
		orElse(strings.Join(p.Asked, ", "), "nobody"), pr.Asks, p.Took.Round(100*time.Millisecond), pr.Looks, pr.Knocks)
	switch hiding.Overall(judged) {
	case hiding.Hidden:
		return about.ok(CodeHidden, "the validator is hidden: its peers are its sentries, nobody else who was asked knows its id or address, and it refuses strangers", measured)
	case hiding.Seen:
		return about.critical(CodeHidden, "the validator is not hidden; what follows says who knows it", measured, "do what is said below, then run this again")
	case hiding.Unproven:
	}
	if p.Quick && onlyAsks(judged) {
		return about.notChecked(CodeHidden, "nothing gives the validator away so far, and that is not proven: --quick did not ask what nodes tell strangers", "run 'pressenter doctor' without --quick; it takes 50 seconds")
	}
	return about.warning(CodeHidden, "that the validator is hidden is not proven; what follows says what is missing", measured, "do what is said below, then run this again")
}

// leftOut says whether --quick leaves a question out: it asks nobody as a stranger.
func leftOut(code string) bool { return code == hiding.CodeAnswers || code == hiding.CodeReach }

// onlyAsks says whether nothing is unproven but what --quick leaves out.
func onlyAsks(judged []hiding.Check) bool {
	for _, j := range judged {
		if j.Verdict != hiding.Hidden && !leftOut(j.Code) {
			return false
		}
	}
	return true
}

func hidingCheck(p Proven, j hiding.Check) Check {
	about := about{orElse(j.Subject, Deployment)}
	switch {
	case j.Verdict == hiding.Seen:
		return about.critical(j.Code, j.Message, j.Measurement, j.Next)
	case j.Verdict == hiding.Unproven && p.Quick && j.Code == hiding.CodeReach:
		return about.notChecked(j.Code, "--quick met no sentry as a stranger, so whether strangers would get to the validator from here is not known", "")
	case j.Verdict == hiding.Unproven && p.Quick && j.Code == hiding.CodeAnswers:
		return about.notChecked(j.Code, "--quick did not ask what it tells strangers", "")
	case j.Verdict == hiding.Unproven:
		return about.warning(j.Code, j.Message, j.Measurement, j.Next)
	case j.Code == hiding.CodeScope:
		return about.info(j.Code, j.Message, j.Measurement, "")
	}
	return about.ok(j.Code, j.Message, j.Measurement)
}

// limits are what no proof of this kind can exclude.
func limits(p Proven) []Check {
	about := about{p.Evidence.Validator.Name}
	limit := func(message, measured string) Check { return about.info(CodeHidingLimit, message, measured, "") }
	isolation := limit("isolation of networks is not shown: all nodes share this computer, so ids and ports were compared, and no firewall was tested", "provider local")
	if p.OnMachine {
		isolation = limit("strangers knocked from this computer and at the port of its node only: what other places and ports would meet was not tried", strings.Join(p.Evidence.Validator.Addresses, ", "))
	}
	return []Check{
		isolation,
		limit("a sentry's own operating system, and whoever rules it, sees the validator's connection: sentries hide it from the world, not from themselves", fmt.Sprintf("%d sentries", len(p.Evidence.Sentries))),
		limit("address books were read from their files, which nodes write every two minutes and when they stop; what nodes tell strangers comes from their memory", ""),
	}
}
