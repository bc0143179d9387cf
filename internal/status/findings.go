package status

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// lag is how many blocks a node may be behind the highest before it is said.
const lag = 5

// findings says what is not as it should be, with the next step.
func findings(s Status, have plan.Observed) []health.Finding {
	out := []health.Finding{}
	if have.Destroying {
		out = append(out, health.Finding{
			Code: "destroy-begun", Severity: health.Warning, Subject: s.Deployment,
			Message: "A destroy was begun and is not finished: hosts that are not here were destroyed, and others run on and may cost money.",
			Next:    "Run 'pressenter destroy' again: it goes on where it stopped.",
		})
	}
	if have.Unprotected {
		out = append(out, health.Finding{
			Code: "unprotected", Severity: health.Warning, Subject: s.Deployment,
			Message: "A destroy that stopped before it began took the clouds' protection off: nothing there keeps the validator's machine from being deleted.",
			Next:    "Run 'pressenter apply', which protects it again, or 'pressenter destroy'.",
		})
	}
	for _, d := range s.Deployments {
		if d.Fork {
			out = append(out, health.Finding{
				Code: "roster-fork", Severity: health.Critical, Subject: d.Name,
				Message: "Two operators published different rosters; nothing is assigned or armed until they are joined.",
				Next:    "Run 'pressenter plan' to see the healing, then 'pressenter apply'.",
			})
		}
		for _, h := range d.Hosts {
			if have.Destroying && h.Phase == "absent" {
				continue // as it was meant
			}
			out = append(out, hostFindings(s, d, h)...)
		}
	}
	for _, d := range []plan.ObservedDeployment{have.Own, have.World} {
		for name, o := range d.Hosts {
			for _, f := range o.Status.Findings { // what the host itself says
				f.Subject = name
				out = append(out, f)
			}
		}
	}
	for _, o := range have.Own.Replaced {
		out = append(out, replaced(o))
	}
	out = append(out, meshFindings(s)...)
	return append(out, validatorFindings(s)...)
}

// replaced says that a machine is still there whose host is another one, or is to be.
func replaced(o plan.ObservedHost) health.Finding {
	words := "It is being replaced, and the machine that it was is still there"
	if o.Away != "" {
		words = "It is being replaced, and the machine that it was cannot be reached: " + o.Away
	}
	return health.Finding{
		Code: "being-replaced", Severity: health.Warning, Subject: o.Host.Name,
		Message: fmt.Sprintf("%s (%s).", words, cmp.Or(o.Host.Public, o.Host.Folder)),
		Next:    "Run 'pressenter apply', which finishes that; see docs/runbooks/replace-a-sentry.md.",
	}
}

func hostFindings(s Status, d Deployment, h Host) []health.Finding {
	var out []health.Finding
	say := func(code string, severity health.Severity, next, format string, args ...any) {
		out = append(out, health.Finding{Code: code, Severity: severity, Subject: h.Name, Message: fmt.Sprintf(format, args...), Next: next})
	}
	const repair = "Run 'pressenter apply'."
	if h.Invited {
		if h.Phase == PhaseInvited {
			say("waits", health.Info, "Run 'pressenter invite "+h.Name+"'.", "It waits to be invited.")
		}
		return out
	}
	if h.Phase == "absent" {
		say("absent", health.Warning, repair, "The host does not exist yet.")
		return out
	}
	if h.AgentPID == 0 {
		say("agent-down", health.Warning, "Run 'pressenter apply', or 'pressenter start' after a reboot.", "Its agent does not run: nothing repairs this host.")
	}
	if h.OtherBuild {
		say("other-build", health.Warning, "Run 'pressenter apply': it restarts the agent, and nothing else of the host.",
			"Its agent is of another build (%s) than this program.", cmp.Or(plan.BuildWords(h.AgentBuild), "it does not say which"))
	}
	switch {
	case h.Intent.Stopped:
		say("stopped", health.Info, "Run 'pressenter start "+h.Name+"' when it should run.", "Stopped by %s.", h.Intent.By)
		return out
	case h.Intent.Held:
		say("held", health.Info, "Run 'pressenter hold --release "+h.Name+"' when you are done.", "Held by %s: nothing is repaired.", h.Intent.By)
	case !h.Up && h.AgentPID != 0:
		say("node-down", health.Warning, "Look at 'pressenter logs "+h.Name+"'.", "Its node does not answer (%s).", phaseWords(h))
	}
	if h.Up && !h.CatchingUp && h.Height+lag < s.Height {
		say("behind", health.Warning, "Look at its peers; it goes on by itself when it has some.", "It is at height %d, others are at %d.", h.Height, s.Height)
	}
	if h.Up && h.Role == string(roster.RoleSentry) && len(h.Peers) < 2 {
		say("few-peers", health.Warning, "Look at 'pressenter logs "+h.Name+"'.", "It has %d peers.", len(h.Peers))
	}
	if h.Generation != 0 && h.Generation < d.Generation {
		say("roster-behind", health.Warning, repair, "It has roster generation %d, the newest is %d.", h.Generation, d.Generation)
	}
	if h.Up && h.Role == string(roster.RoleValidator) {
		out = append(out, exposure(d, h)...)
	}
	return out
}

func phaseWords(h Host) string {
	if h.Reason != "" && h.Phase == "down" {
		return h.Reason
	}
	return h.Phase
}

// exposure: a validator's peers are its sentries and nobody else.
func exposure(d Deployment, h Host) []health.Finding {
	var out []health.Finding
	var missing []string
	for _, other := range d.Hosts {
		if other.Role == string(roster.RoleSentry) && other.Phase != PhaseInvited && !slices.Contains(h.Peers, other.Name) {
			missing = append(missing, other.Name)
		}
	}
	for _, p := range h.Peers {
		if !slices.ContainsFunc(d.Hosts, func(o Host) bool { return o.Name == p && o.Role == string(roster.RoleSentry) }) {
			out = append(out, health.Finding{
				Code: "exposed", Severity: health.Critical, Subject: h.Name,
				Message: fmt.Sprintf("It has a peer that is not one of its sentries: %s.", p),
				Next:    "Run 'pressenter doctor', then restart the node: 'pressenter stop " + h.Name + "' and 'pressenter start " + h.Name + "'.",
			})
		}
	}
	switch {
	case len(missing) == 0:
	case len(h.Peers) == 0:
		out = append(out, health.Finding{
			Code: "cut-off", Severity: health.Critical, Subject: h.Name, Message: "It is connected to none of its sentries, so it cannot sign.",
			Next: "Bring a sentry up; the supervisor makes the node dial again by itself.",
		})
	default:
		out = append(out, health.Finding{
			Code: "sentry-missing", Severity: health.Warning, Subject: h.Name, Message: fmt.Sprintf("It is not connected to %v.", missing),
			Next: "Look at that sentry; the link comes back by itself.",
		})
	}
	return out
}

func validatorFindings(s Status) []health.Finding {
	v := s.Validator
	out := api.SigningStatus{State: v.State, Reason: v.Reason, Jailed: v.Jailed, Tombstoned: v.Tombstoned}.Findings(v.Host)
	say := func(code string, severity health.Severity, next, format string, args ...any) {
		out = append(out, health.Finding{Code: code, Severity: severity, Subject: v.Host, Message: fmt.Sprintf(format, args...), Next: next})
	}
	if v.State == Silent && s.Height > 0 {
		say("silent", health.Critical, "Look at the findings above and at 'pressenter logs validator'.", "None of the newest commits of other validators holds its signature.")
	}
	if share, err := strconv.ParseFloat(v.MinSigned, 64); err == nil && v.Window > 0 {
		if budget := int64(float64(v.Window) * (1 - share)); v.Missed*2 > budget {
			say("missed", health.Warning, "Find out why before restarting anything: more misses lead to jail.",
				"It missed %d of the last %d blocks; %d lead to jail.", v.Missed, v.Window, budget)
		}
	}
	return out
}
