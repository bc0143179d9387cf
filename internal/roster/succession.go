package roster

import (
	"fmt"
	"math"
	"slices"
)

// checkSuccession finds what forbids r to follow all of parents, whoever
// signed it. Every rule is local to one step, so that a log accepts the same
// generations in whatever order they come.
func checkSuccession(r *Roster, parents []*Roster) error {
	p := &problems{}
	newest := uint64(0)
	for _, old := range parents {
		newest = max(newest, old.Generation)
		if r.ID != old.DeploymentID() || r.Deployment != old.Deployment {
			p.addf("deployment is not that of generation %d", old.Generation)
		}
	}
	if newest == math.MaxUint64 || r.Generation != newest+1 {
		p.addf("generation %d follows %d", r.Generation, newest)
	}
	checkOnce(p, "chain id", r.Chain.ID, mapped(parents, func(o *Roster) string { return o.Chain.ID }))
	checkOnce(p, "genesis", r.Chain.GenesisSHA256, mapped(parents, func(o *Roster) Hash { return o.Chain.GenesisSHA256 }))
	for _, m := range r.Members {
		checkMemberStep(p, r, m, parents)
	}
	checkRemovals(p, r, parents)
	if len(parents) == 1 {
		checkSignerStep(p, r, parents[0])
	} else {
		checkSignerMerge(p, r, parents)
	}
	return p.err()
}

// checkOnce holds a value that is written once: when a parent has it, it is
// that of a parent.
func checkOnce[T comparable](p *problems, what string, v T, old []T) {
	var unset T
	old = slices.DeleteFunc(old, func(o T) bool { return o == unset })
	if len(old) > 0 && !slices.Contains(old, v) {
		p.addf("%s changes", what)
	}
}

// checkMemberStep holds what never changes in a member.
func checkMemberStep(p *problems, r *Roster, m Member, parents []*Roster) {
	var since []uint64
	var keys, tls []Key
	restart := uint64(0)
	for _, old := range parents {
		was, ok := old.MemberByIdentity(m.Identity)
		if !ok {
			continue
		}
		since = append(since, was.Since)
		restart = max(restart, was.Restart)
		if was.Name != m.Name || was.Role != m.Role {
			p.addf("member %q was %q, a %s", m.Name, was.Name, was.Role)
		}
		keys, tls = append(keys, was.Mesh.Key, was.Mesh.Next), append(tls, was.Mesh.TLS)
		if was.NodeID != "" && was.NodeID != m.NodeID {
			p.addf("member %q changes its node id", m.Name)
		}
	}
	if len(since) == 0 {
		since = []uint64{r.Generation}
	}
	if m.Mesh.inMesh() {
		// A host changes its key by announcing the next one first: whoever holds either generation knows both.
		checkOnce(p, fmt.Sprintf("mesh key of %q", m.Name), m.Mesh.Key, keys)
		checkOnce(p, fmt.Sprintf("relay key of %q", m.Name), m.Mesh.TLS, tls)
	}
	if !slices.Contains(since, m.Since) {
		p.addf("member %q is said to be of generation %d", m.Name, m.Since)
	}
	if m.Restart != restart && m.Restart != r.Generation {
		p.addf("member %q: restart %d follows %d", m.Name, m.Restart, restart)
	}
}

// checkRemovals holds that members leave by a tombstone only, and that
// tombstones stay.
func checkRemovals(p *problems, r *Roster, parents []*Roster) {
	type triple struct {
		name   string
		key    Key
		nodeID string
	}
	now := map[triple]uint64{}
	for _, t := range r.Tombstones {
		now[triple{t.Name, t.Identity, t.NodeID}] = t.Since
	}
	before := map[triple][]uint64{} // tombstones of the parents
	left := map[triple]bool{}       // members of the parents that r removes
	for _, old := range parents {
		for _, t := range old.Tombstones {
			k := triple{t.Name, t.Identity, t.NodeID}
			before[k] = append(before[k], t.Since)
		}
		for _, m := range old.Members {
			k := triple{m.Name, m.Identity, m.NodeID}
			if _, stays := r.MemberByIdentity(m.Identity); stays {
				continue
			}
			left[k] = true
			if _, ok := now[k]; !ok {
				p.addf("member %q leaves without a tombstone", m.Name)
			}
		}
	}
	for k, since := range before {
		if s, ok := now[k]; !ok || !slices.Contains(since, s) {
			p.addf("tombstone %q is lost or changed", k.name)
		}
	}
	for k, s := range now {
		if _, old := before[k]; !old && (!left[k] || s != r.Generation) {
			p.addf("tombstone %q removes nobody", k.name)
		}
	}
}

// checkSignerStep holds that the key's holder changes in two steps, retire and
// assign, each its own generation.
func checkSignerStep(p *problems, r, old *Roster) {
	was, is := old.Signer, r.Signer
	switch {
	case was.Holder == "" && is.Holder == "":
		if is.Epoch != was.Epoch {
			p.addf("epoch %d follows %d without an assignment", is.Epoch, was.Epoch)
		}
	case was.Holder == "":
		if was.Epoch == math.MaxUint64 || is.Epoch != was.Epoch+1 {
			p.addf("assignment has epoch %d after %d", is.Epoch, was.Epoch)
		}
		if !was.PubKey.IsZero() && is.PubKey != was.PubKey {
			p.addf("assignment changes the consensus key")
		}
	case is.Holder == "":
		if is.Epoch != was.Epoch || is.PubKey != was.PubKey {
			p.addf("retirement changes the epoch or the consensus key")
		}
	default:
		// By identity too: a name can pass to another machine.
		a, _ := old.Holder()
		b, _ := r.Holder()
		if was != is || a.Identity != b.Identity {
			p.addf("signer moves from %q to %q without being retired", was.Holder, is.Holder)
		}
	}
}

// checkSignerMerge holds that healing a fork leaves nobody assigned.
func checkSignerMerge(p *problems, r *Roster, parents []*Roster) {
	epoch := uint64(0)
	for _, old := range parents {
		epoch = max(epoch, old.Signer.Epoch)
	}
	if r.Signer.Holder != "" || r.Signer.Epoch != epoch {
		p.addf("healing a fork must leave the signer retired at epoch %d", epoch)
	}
	checkOnce(p, "consensus key", r.Signer.PubKey, mapped(parents, func(o *Roster) Key { return o.Signer.PubKey }))
}

// needed returns the capabilities that the step from old to r takes. Retiring
// the holder is always the safe direction and takes nothing more.
func needed(r, old *Roster) []Capability {
	need := []Capability{CapRoster}
	if !slices.EqualFunc(r.Clone().Admins, old.Clone().Admins, func(a, b Admin) bool {
		return a.Name == b.Name && a.Key == b.Key && slices.Equal(a.Capabilities, b.Capabilities)
	}) {
		need = append(need, CapAdmin)
	}
	assigned := r.Signer.Holder != "" && r.Signer.Holder != old.Signer.Holder
	if assigned || r.Signer.PubKey != old.Signer.PubKey {
		need = append(need, CapAssign)
	}
	return need
}

// checkSigners holds that e, whose signatures are good, is signed by admins
// that every one of parents lists, with the capabilities that the step from
// each takes. Generation 1 answers to itself.
func checkSigners(e Envelope, r *Roster, parents []*Roster) error {
	if len(parents) == 0 {
		parents = []*Roster{r}
	}
	for _, old := range parents {
		for _, s := range e.Signatures {
			if !slices.ContainsFunc(old.Admins, func(a Admin) bool { return a.Key == s.Key }) {
				return fmt.Errorf("key %s is no admin in generation %d: %w", s.Key, old.Generation, ErrForged)
			}
		}
		can := e.granted(old.Admins)
		for _, c := range needed(r, old) {
			if !can[c] {
				return fmt.Errorf("signers lack capability %q in generation %d: %w", c, old.Generation, ErrForged)
			}
		}
	}
	return nil
}
