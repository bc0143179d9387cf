package api

import (
	"fmt"

	"github.com/pressenter/pressenter/internal/health"
)

// Disarmed is the State of a consensus key that is on the host and must not sign.
const Disarmed = "disarmed"

// Findings say why the consensus key of the host of that name does not sign, or never will.
func (s SigningStatus) Findings(host string) []health.Finding {
	var out []health.Finding
	say := func(code string, severity health.Severity, message, next string) {
		out = append(out, health.Finding{Code: code, Severity: severity, Subject: host, Message: message, Next: next})
	}
	if s.Tombstoned {
		say("tombstoned", health.Critical, "It was convicted of signing twice.", "Nothing brings this validator back. Find out how two signers came to hold the key.")
	}
	if s.Jailed {
		say("jailed", health.Critical, "It is jailed and does not take part.", "See docs/runbooks/jailed.md.")
	}
	if s.State == Disarmed {
		say("disarmed", health.Warning, fmt.Sprintf("Its consensus key is disarmed: %s.", s.Reason), "Run 'pressenter key arm' once no other signer holds the key.")
	}
	return out
}
