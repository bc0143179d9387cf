package agent

import (
	"fmt"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// facts is all that the agent's one decision rests on.
type facts struct {
	host    *host
	moved   bool   // the folder is not where it was enrolled
	genesis string // hex SHA-256 of the genesis in the home, "" = none
	state   roster.State
	learned bool // told since start that the roster is the newest
	intent  api.Intent
	signing signing.Status
	up      bool // supervisor or daemon runs
}

// wish is what should become of the node.
type wish int

const (
	leave wish = iota // touch nothing
	stop              // nothing may run
	run               // a supervisor must run, with files that follow the roster
)

// verdict is the decision, with its reason in words.
type verdict struct {
	wish   wish
	reason string
	// roster and self are set for run.
	roster *roster.Roster
	self   roster.Member
	// sign: the node is pointed at the consensus key.
	sign bool
}

// decide is the whole policy of an agent. Reasons to be silent come first: whatever a roster says, it cannot start
// what a person stopped, and whatever a person says, a removed host does not run.
func decide(f facts) verdict {
	switch {
	case f.intent.Held:
		return verdict{wish: leave, reason: "held by " + f.intent.By + ": nothing is changed or repaired"}
	case f.host == nil:
		return verdict{wish: leave, reason: "not enrolled yet"}
	case f.moved:
		return verdict{wish: stop, reason: "this folder is a copy of a host; the original may be running"}
	case f.intent.Stopped:
		return verdict{wish: stop, reason: "stopped by " + f.intent.By}
	case f.state.Effective == nil:
		return verdict{wish: leave, reason: "no roster yet"}
	}
	r, id := f.state.Effective, roster.Key(f.host.Enrolled.Identity)
	if r.Tombstoned(id) {
		return verdict{wish: stop, reason: "removed from the deployment"}
	}
	self, ok := r.MemberByIdentity(id)
	if !ok {
		return verdict{wish: stop, reason: "not in the roster, or removed in one side of a fork"}
	}
	if reason := unready(f, r, self); reason != "" {
		return verdict{wish: leave, reason: reason}
	}
	return verdict{wish: run, roster: r, self: self, sign: maySign(f, r, self)}
}

// unready says why a host that is in the roster cannot run a node yet, or "".
func unready(f facts, r *roster.Roster, self roster.Member) string {
	switch {
	case !r.Enrolled():
		return "waiting until the roster holds every node id"
	case f.genesis == "":
		return "no genesis yet"
	case f.genesis != r.Chain.GenesisSHA256.String():
		return fmt.Sprintf("the genesis here (%.12s) is not the roster's (%s)", f.genesis, r.Chain.GenesisSHA256.Short())
	case self.NodeID != f.host.Enrolled.NodeID:
		return "the roster has another node id for this host"
	case !f.learned && !f.up:
		return "not told yet, since this host came up, that its roster is the newest; run 'pressenter start'"
	}
	return ""
}

// maySign: the host's own record allows it, and the roster assigns it. Genesis validators of a practice network
// have a key each and need no assignment. In a fork nobody is assigned.
func maySign(f facts, r *roster.Roster, self roster.Member) bool {
	if f.signing.State != signing.Armed {
		return false
	}
	if self.Role == roster.RoleGenesisValidator {
		return true
	}
	holder, ok := r.Holder()
	return ok && holder.Identity == self.Identity && r.Signer.PubKey == roster.KeyOf(f.signing.PublicKey)
}
