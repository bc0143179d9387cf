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
	// overruled says that a person keeps the node from running with the means of the host itself, and how.
	overruled string
	ssh       []uint16 // TCP ports of a machine at which its keeper reaches it
	// filtered: its packet filter is proven to let the keeper in.
	filtered bool
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
	// removed: for ever.
	removed bool
	// silent, with leave: a node that may hold the consensus key is not left running.
	silent bool
}

// decide is the whole policy of an agent. Reasons to be silent come first: whatever a roster says, it cannot start
// what a person stopped, and whatever a person says, a removed host does not run.
func decide(f facts) verdict {
	r := f.state.Effective
	var self roster.Member
	member := false
	if r != nil && f.host != nil {
		self, member = r.MemberByIdentity(roster.Key(f.host.Enrolled.Identity))
	}
	switch {
	case f.moved:
		return verdict{wish: stop, reason: errCopy.Error()}
	case f.host != nil && r != nil && r.Tombstoned(roster.Key(f.host.Enrolled.Identity)):
		return verdict{wish: stop, removed: true, reason: "removed from the deployment"}
	case f.host != nil && r != nil && !member:
		return verdict{wish: stop, reason: "not in the roster, or removed in one side of a fork"}
	case f.intent.Stopped:
		return verdict{wish: stop, reason: "stopped by " + f.intent.By}
	case f.overruled != "":
		return verdict{wish: stop, reason: f.overruled}
	case f.intent.Held:
		return verdict{wish: leave, reason: "held by " + f.intent.By + ": nothing is changed or repaired"}
	case f.host == nil:
		return verdict{wish: leave, reason: "not enrolled yet", silent: true}
	case r == nil:
		return verdict{wish: leave, reason: "no roster yet", silent: true}
	}
	sign := maySign(f, r, self)
	if reason := unready(f, r, self); reason != "" {
		return verdict{wish: leave, reason: reason, silent: !sign}
	}
	return verdict{wish: run, roster: r, self: self, sign: sign}
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
