package plan

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// joinable says why a deployment cannot be on a network that is there already, or no longer be on one.
func joinable(c config.Deployment, own deployment.Inventory) error {
	a := own.Adoption
	switch {
	case a == nil && c.Chain.Exists && own.Deployment == "":
		return &Refusal{
			Why:  fmt.Sprintf("the network %s is there already, and nothing of it is known here: neither its genesis nor who is in it", c.Chain.Name),
			Next: "run 'pressenter adopt " + config.ValidatorHost + " --join': both come from the node that runs there",
		}
	case (a != nil) != c.Chain.Exists:
		return &Refusal{
			Why:  "a deployment makes its network or joins one that is there: that cannot be changed later",
			Next: "put chain.exists back, or make another deployment in a folder of its own",
		}
	case a != nil && a.Address != c.Validator.Address:
		return &Refusal{
			Why:  fmt.Sprintf("%s is the server %s, the config says %s: what runs there would go on beside a new one", a.Host, a.Address, c.Validator.Address),
			Next: "put the address back: moving a validator to another machine is not in this version",
		}
	}
	return nil
}

// join makes the network the one that an adopted node brought.
func (w *Want) join(c config.Deployment, a *deployment.Adoption) {
	w.Own.Adoption = a
	if !c.Chain.Exists {
		return
	}
	w.Chain.BlockTime = 0
	w.Chain.MinGasPrice = cmp.Or(a.MinGasPrice, w.Chain.MinGasPrice)
}

// hasValidator says whether the validator's host is one of ours: an adopted one is once it was taken over, and not a moment
// before.
func (w Want) hasValidator() bool { return w.Own.Adoption == nil || w.Own.Adoption.Taken }

// adoptedAsItWas refuses a plan where what was adopted is not what it was.
func adoptedAsItWas(want Want, have Observed) error {
	a := want.Own.Adoption
	if a == nil {
		return nil
	}
	if have.Genesis != a.Genesis {
		return &Refusal{
			Why:  "the genesis of the network that was joined is gone, or is another one",
			Next: fmt.Sprintf("run 'pressenter adopt %s --join' again, which reads it from the server", a.Host),
		}
	}
	if err := tookElsewhere(want, have.Own.Head); err != nil {
		return err
	}
	if e := have.Own.Hosts[a.Host].Status.Enrolled; e != nil && !have.hasKey() && want.hasValidator() && !bytes.Equal(e.Consensus, a.PubKey) {
		return &Refusal{
			Why:  fmt.Sprintf("%s has another consensus key than the one that was taken over: its server was put back to an earlier state, or installed anew", a.Host),
			Next: "bring the server back as it was: it has the key that was taken over",
		}
	}
	return nil
}

// hasKey says whether the roster has a consensus key.
func (o Observed) hasKey() bool { return o.Own.Head != nil && !o.Own.Head.Signer.PubKey.IsZero() }

// tookElsewhere refuses a plan of an operator's folder that does not know that the adopted node was taken over: without a host
// for it the plan would take the running validator out of the roster for ever.
func tookElsewhere(want Want, head *roster.Roster) error {
	if want.hasValidator() || head == nil {
		return nil
	}
	validator := func(m roster.Member) bool { return m.Role == roster.RoleValidator }
	if head.Signer.PubKey.IsZero() && !slices.ContainsFunc(head.Members, validator) {
		return nil
	}
	a := want.Own.Adoption
	return &Refusal{
		Why: fmt.Sprintf("the roster has a validator, and this folder says that %s was not taken over from %s yet: another copy of the folder did that", a.Host, a.Unit),
		Next: fmt.Sprintf("go on with that copy, or bring its operator/inventory.json here; if it is lost, run 'pressenter adopt %s --take-over': "+
			"the server knows how far it is", a.Host),
	}
}

// Existing says whether the network is there already, so that there is no world of ours.
func (w Want) Existing() bool { return w.Own.Adoption != nil }

// sides are the deployments that the plan is for, our own last.
func (b *builder) sides() []side {
	own := side{want: b.want.Own, have: b.have.Own}
	if b.want.Existing() {
		return []side{own}
	}
	return []side{{want: b.want.World, have: b.have.World}, own}
}

// meet says whom the nodes of each side dial on the other, of those that are not made anew.
func (b *builder) meet(sides []side) {
	own := &sides[len(sides)-1]
	if len(sides) == 1 {
		own.peers = OwnPeers(b.want, nil)
		return
	}
	sides[0].peers = WorldPeers(b.want, own.have.enrolled())
	own.peers = OwnPeers(b.want, sides[0].have.enrolled())
}

// Beside are the steps that do more than to make a host one of ours: neither of it, nor what the others must know of it.
func (p Plan) Beside(host string) []Step {
	return slices.DeleteFunc(p.Steps(), func(step Step) bool {
		switch st := step.(type) {
		case PublishRoster:
			return !slices.ContainsFunc(st.Changes, func(words string) bool { return !brings(words, host) })
		case SyncRoster, RestartNode:
			return true
		case DestroyHost, BeginReplace, TakeBack, TakeOut, RemoveReplaced:
			return false
		}
		return step.Host() == host
	})
}

// brings says whether a change of the roster is that a host comes and gets the consensus key.
func brings(words, host string) bool {
	return strings.HasPrefix(words, "sets consensus key to ") || strings.HasPrefix(words, "admits "+host+" ") ||
		strings.HasPrefix(words, "sets ") && strings.Contains(words, " of "+host+" to ") || strings.HasPrefix(words, "assigns the signer to "+host+" ")
}

// adopted notes what becomes of a node that is there already.
func (b *builder) adopted() {
	a := b.want.Own.Adoption
	switch {
	case a == nil || a.Taken:
	case a.Begun:
		b.note("%s is being taken over from %s: 'pressenter adopt %s --take-over' goes on, 'pressenter adopt %s --undo' goes back as long as it can", a.Host, a.Unit, a.Host, a.Host)
	default:
		b.note("%s goes on under %s, which this plan does not touch; once the sentries have caught up, 'pressenter adopt %s --take-over' restarts it as one of ours", a.Host, a.Unit, a.Host)
	}
}

// comesDisarmed says whether a validator's key will be that of a node that is being taken over.
func (b *builder) comesDisarmed(o ObservedHost) bool {
	return b.want.Existing() && o.Status.Enrolled == nil && !b.haveKey()
}
