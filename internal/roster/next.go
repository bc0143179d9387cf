package roster

import (
	"cmp"
	"slices"
	"strings"
)

// Next returns an unsigned copy of head as the generation after it.
func Next(head *Roster) *Roster {
	r := head.Clone()
	r.ID = head.DeploymentID()
	r.Generation = head.Generation + 1
	r.Parents = []Hash{head.Hash()}
	return r
}

// Remove takes the member of that name out of r, leaving a tombstone, and
// retires the signer if the member held it. It reports whether there was one.
func (r *Roster) Remove(name string) bool {
	i := slices.IndexFunc(r.Members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return false
	}
	m := r.Members[i]
	r.Members = slices.Delete(r.Members, i, i+1)
	r.Tombstones = append(r.Tombstones, Tombstone{Name: m.Name, Identity: m.Identity, NodeID: m.NodeID, Since: r.Generation})
	if r.Signer.Holder == name {
		r.Signer.Holder = ""
	}
	return true
}

// Heal returns an unsigned generation that follows all of heads and so ends
// their fork. It starts from the newest head, admits what the others admitted,
// removes what any head removed, keeps only the admins and capabilities that
// all grant, and retires the signer. A host about which the heads contradict
// each other is removed. The result is a proposal, for a person to look at.
func Heal(heads ...*Roster) *Roster {
	heads = slices.Clone(heads)
	slices.SortFunc(heads, func(a, b *Roster) int {
		return cmp.Or(cmp.Compare(b.Generation, a.Generation), a.Hash().Compare(b.Hash()))
	})
	r := Next(heads[0])
	r.Signer.Holder = ""
	// First what was removed: a host that one head replaced under the same name
	// is gone, and contradicts nobody.
	for _, h := range heads[1:] {
		r.Parents = append(r.Parents, h.Hash())
		addTombstones(r, h.Tombstones)
	}
	dropTombstoned(r)
	for _, h := range heads[1:] {
		mergeFacts(r, h)
		for _, m := range h.Members {
			if !r.removed(m) {
				mergeMember(r, m)
			}
		}
	}
	for _, h := range heads {
		for _, m := range h.Members {
			if _, stays := r.MemberByIdentity(m.Identity); !stays {
				addTombstones(r, []Tombstone{{Name: m.Name, Identity: m.Identity, NodeID: m.NodeID, Since: r.Generation}})
			}
		}
	}
	dropTombstoned(r)
	dropOwnPeers(r)
	keepGranted(r, heads)
	return r.Clone()
}

// removed reports whether a tombstone of r forbids m.
func (r *Roster) removed(m Member) bool {
	return slices.ContainsFunc(r.Tombstones, func(t Tombstone) bool {
		return t.Identity == m.Identity || (t.NodeID != "" && t.NodeID == m.NodeID)
	})
}

// mergeFacts takes from h what r does not know of the chain, the key and the
// world outside.
func mergeFacts(r, h *Roster) {
	r.Signer.Epoch = max(r.Signer.Epoch, h.Signer.Epoch)
	if r.Signer.PubKey.IsZero() {
		r.Signer.PubKey = h.Signer.PubKey
	}
	if r.Chain.GenesisSHA256.IsZero() {
		r.Chain.GenesisSHA256 = h.Chain.GenesisSHA256
	}
	for _, s := range h.Peers {
		if !slices.Contains(r.Peers, s) && len(r.Peers) < MaxPeers {
			r.Peers = append(r.Peers, s)
		}
	}
}

// mergeMember admits m, of another head, to r. Where it contradicts what r
// has, the identities concerned are removed from r: nobody can tell from here
// which of two stories about a host is true.
func mergeMember(r *Roster, m Member) {
	remove := func(o Member) {
		r.Members = slices.DeleteFunc(r.Members, func(x Member) bool { return x.Identity == o.Identity })
		addTombstones(r, []Tombstone{{Name: o.Name, Identity: o.Identity, NodeID: o.NodeID, Since: r.Generation}})
	}
	i := slices.IndexFunc(r.Members, func(o Member) bool { return o.Identity == m.Identity })
	if i >= 0 {
		o := &r.Members[i]
		if o.Name != m.Name || o.Role != m.Role || (o.NodeID != "" && m.NodeID != "" && o.NodeID != m.NodeID) {
			remove(*o)
			return
		}
		o.NodeID = cmp.Or(o.NodeID, m.NodeID)
		o.Restart = max(o.Restart, m.Restart)
		return
	}
	for _, o := range slices.Clone(r.Members) {
		if o.Name == m.Name || (m.NodeID != "" && o.NodeID == m.NodeID) {
			remove(o)
			return
		}
		if o.Endpoint == m.Endpoint {
			m.Endpoint = "" // a later generation can set it again
		}
		if o.Mesh.overlaps(m.Mesh) {
			m.Mesh = Mesh{} // enrolling it again brings it back
		}
	}
	r.Members = append(r.Members, m)
}

// dropOwnPeers removes the peers that are members or were.
func dropOwnPeers(r *Roster) {
	ours := func(s string) bool {
		id, _, _ := strings.Cut(s, "@")
		return slices.ContainsFunc(r.Members, func(m Member) bool { return m.NodeID == id }) ||
			slices.ContainsFunc(r.Tombstones, func(t Tombstone) bool { return t.NodeID == id })
	}
	r.Peers = slices.DeleteFunc(r.Peers, ours)
	for i := range r.Members {
		r.Members[i].PrivatePeers = slices.DeleteFunc(slices.Clone(r.Members[i].PrivatePeers), ours)
	}
}
