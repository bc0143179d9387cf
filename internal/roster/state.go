package roster

import (
	"slices"
	"strings"
)

// State is what a log amounts to. It depends on the set of generations only.
type State struct {
	Heads []Hash  // generations that nothing follows, sorted; none in an empty log
	Head  *Roster // the only head; nil when there is none, or a fork
	Fork  bool    // several heads

	// Base is the generation that Effective comes from: the head or, in a
	// fork, the last one that every path to every head goes through.
	Base Hash

	// Effective is what a host obeys; nil in an empty log. In a fork it is the
	// roster of Base without the members that any head removed, with only the
	// admins and capabilities that every head grants, and with nobody
	// assigned. Its generation is that of Base: it may be lower than what the
	// host obeyed before the fork was seen.
	Effective *Roster
}

// State returns the state of the log. What it points to is the caller's.
func (l *Log) State() State {
	s := State{Heads: l.headHashes(), Fork: len(l.heads) > 1}
	base, _ := l.base()
	if base == nil {
		return s
	}
	s.Base = base.hash
	if !s.Fork {
		s.Head = base.roster.Clone()
		s.Effective = base.roster.Clone()
		return s
	}
	heads := mapped(s.Heads, func(h Hash) *Roster { return l.nodes[h].roster })
	s.Effective = effective(base.roster, heads)
	return s
}

// effective returns what hosts obey while heads dispute what follows base.
func effective(base *Roster, heads []*Roster) *Roster {
	e := base.Clone()
	e.Signer.Holder = ""
	for _, h := range heads {
		addTombstones(e, h.Tombstones)
		e.Signer.Epoch = max(e.Signer.Epoch, h.Signer.Epoch)
	}
	dropTombstoned(e)
	keepGranted(e, heads)
	return e.Clone()
}

// keepGranted leaves r only the admins and capabilities that all heads grant.
func keepGranted(r *Roster, heads []*Roster) {
	for i, a := range r.Admins {
		r.Admins[i].Capabilities = slices.DeleteFunc(a.Capabilities, func(c Capability) bool {
			return slices.ContainsFunc(heads, func(h *Roster) bool { return !h.Can(a.Key, c) })
		})
	}
	r.Admins = slices.DeleteFunc(r.Admins, func(a Admin) bool { return len(a.Capabilities) == 0 })
}

// addTombstones adds those of ts that r has not.
func addTombstones(r *Roster, ts []Tombstone) {
	has := map[string]bool{}
	for _, t := range r.Tombstones {
		has[t.order()] = true
	}
	for _, t := range ts {
		if !has[t.order()] {
			has[t.order()] = true
			r.Tombstones = append(r.Tombstones, t)
		}
	}
}

// dropTombstoned removes the members and peers that r's tombstones forbid.
func dropTombstoned(r *Roster) {
	nodes, keys := map[string]bool{}, map[Key]bool{}
	for _, t := range r.Tombstones {
		keys[t.Identity] = true
		if t.NodeID != "" {
			nodes[t.NodeID] = true
		}
	}
	r.Members = slices.DeleteFunc(r.Members, func(m Member) bool { return keys[m.Identity] || nodes[m.NodeID] })
	r.Peers = slices.DeleteFunc(r.Peers, func(s string) bool {
		id, _, _ := strings.Cut(s, "@")
		return nodes[id]
	})
}

// base returns the newest generation that every path from generation 1 to
// every head goes through, and the generations after it. It is not merely the
// newest common ancestor: that one can lie on a branch which was itself
// disputed and healed, and may be written by a key long removed.
func (l *Log) base() (*node, []*node) {
	var open, contested []*node // open is sorted; every path crosses it
	push := func(n *node) {
		if i, found := slices.BinarySearchFunc(open, n, (*node).compare); !found {
			open = slices.Insert(open, i, n)
		}
	}
	for _, n := range l.heads {
		push(n)
	}
	for len(open) > 1 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		contested = append(contested, n)
		for _, p := range n.parents {
			push(p)
		}
	}
	if len(open) == 0 {
		return nil, nil
	}
	return open[0], contested
}
