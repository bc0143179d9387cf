package roster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of what a log keeps. They bound what a key that once was an admin's
// can make hosts store; see DESIGN.md for what happens at them.
const (
	MaxHeads          = 8
	MaxContested      = 512      // generations since the last one that all heads share
	MaxContestedBytes = 64 << 20 // and their payloads
)

// Errors that callers tell apart. Errors of a roster that breaks a rule are
// ErrInvalid.
var (
	ErrForged       = errors.New("not signed by whom it must be")
	ErrForeign      = errors.New("roster of another deployment")
	ErrInvalid      = errors.New("roster breaks a rule")
	ErrTooManyForks = errors.New("too many conflicting rosters")
)

// MissingParents is the error for a roster whose parents the log lacks. The
// sender is to send those first, or everything that [Log.Missing] returns.
type MissingParents struct{ Hashes []Hash }

// Error implements error.
func (e *MissingParents) Error() string {
	return "parents are missing: " + strings.Join(mapped(e.Hashes, Hash.Short), ", ")
}

// Conflict is the error for publishing a roster that does not follow exactly
// the heads of the log, Heads.
type Conflict struct{ Heads []Hash }

// Error implements error.
func (e *Conflict) Error() string {
	return "another roster was published first: " + strings.Join(mapped(e.Heads, Hash.Short), ", ")
}

// Log is the set of verified generations of one deployment. It only grows. It
// is a value in memory; whoever keeps it on disk writes an envelope durably
// before acting on the state that it leads to. It is not safe for concurrent
// use.
type Log struct {
	root  Hash
	nodes map[Hash]*node
	heads map[Hash]*node
}

// node is one generation; what it holds never changes.
type node struct {
	hash    Hash
	env     Envelope
	roster  *Roster
	parents []*node
}

// NewLog returns the empty log of the deployment whose generation 1 has the
// hash root. The pin is all that a host has to be told.
func NewLog(root Hash) *Log {
	return &Log{root: root, nodes: map[Hash]*node{}, heads: map[Hash]*node{}}
}

// Clone returns a log that shares nothing changeable with l.
func (l *Log) Clone() *Log {
	return &Log{root: l.root, nodes: maps.Clone(l.nodes), heads: maps.Clone(l.heads)}
}

// Root returns the deployment id that the log is pinned to.
func (l *Log) Root() Hash { return l.root }

// Len returns how many generations the log holds.
func (l *Log) Len() int { return len(l.nodes) }

// Has reports whether the log holds all of these generations.
func (l *Log) Has(hashes ...Hash) bool {
	return !slices.ContainsFunc(hashes, func(h Hash) bool { return l.nodes[h] == nil })
}

// Get returns the envelope of one generation.
func (l *Log) Get(h Hash) (Envelope, bool) {
	n, ok := l.nodes[h]
	if !ok {
		return Envelope{}, false
	}
	return n.env, true
}

// Add verifies e and adds it. It reports false without an error for what the
// log already holds. After an error the log is what it was.
func (l *Log) Add(e Envelope) (added bool, err error) {
	n, err := l.AddAll([]Envelope{e})
	return n > 0, err
}

// AddAll adds those of envs that are good, in any order, and returns how many
// were new. The error joins what was wrong with the others; of these, parents
// that are still missing come as one [MissingParents].
//
// The bounds hold for the outcome, not on the way to it, so a fork and what
// heals it are taken together even where the fork alone would be too much.
func (l *Log) AddAll(envs []Envelope) (added int, err error) {
	var errs []error
	var parsed []*node
	for _, e := range envs {
		r, err := open(e)
		if errors.Is(err, ErrNewerFormat) && !l.knowsSigner(e) {
			err = ErrForged // a stranger must not be able to tell hosts that they are old
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		parsed = append(parsed, &node{hash: e.Hash(), env: e, roster: r})
	}
	// A parent's generation is always lower, so one pass in this order will do.
	slices.SortStableFunc(parsed, (*node).compare)

	before := maps.Clone(l.heads)
	var inserted []*node
	missing := map[Hash]bool{}
	for _, n := range parsed {
		var absent *MissingParents
		switch ok, err := l.insert(n); {
		case errors.As(err, &absent):
			for _, h := range absent.Hashes {
				missing[h] = true
			}
		case err != nil:
			errs = append(errs, fmt.Errorf("add generation %d (%s): %w", n.roster.Generation, n.hash.Short(), err))
		case ok:
			inserted = append(inserted, n)
		}
	}
	if len(inserted) > 0 {
		if err := l.checkBounds(); err != nil {
			for _, n := range inserted {
				delete(l.nodes, n.hash)
			}
			l.heads = before
			return 0, errors.Join(append(errs, err)...)
		}
	}
	if len(missing) > 0 {
		errs = append(errs, &MissingParents{Hashes: slices.SortedFunc(maps.Keys(missing), Hash.Compare)})
	}
	return len(inserted), errors.Join(errs...)
}

// Publish is Add for an operator, who must have seen what he builds on: it
// fails with a [Conflict] unless the parents of e are exactly the heads of the
// log. Publishing what the log already holds succeeds.
func (l *Log) Publish(e Envelope) error {
	r, err := open(e)
	if err != nil {
		return err
	}
	if _, known := l.nodes[e.Hash()]; !known {
		heads := l.headHashes()
		if !slices.Equal(r.Parents, heads) {
			return &Conflict{Heads: heads}
		}
	}
	_, err = l.Add(e)
	return err
}

// open reads the payload of e and verifies its signatures, by whomever.
func open(e Envelope) (*Roster, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	r, err := Parse(e.Payload)
	if errors.Is(err, ErrNewerFormat) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r, nil
}

// knowsSigner reports whether an admin of a head, who may sign generations,
// signed e, or e is the pinned generation 1.
func (l *Log) knowsSigner(e Envelope) bool {
	var admins []Admin
	for _, n := range l.heads {
		admins = append(admins, n.roster.Admins...)
	}
	return e.SignedBy(admins, CapRoster) == nil || e.Hash() == l.root
}

// insert adds n if its signers and its parents allow it.
func (l *Log) insert(n *node) (bool, error) {
	r := n.roster
	if r.DeploymentID() != l.root {
		return false, ErrForeign
	}
	n.parents = nil
	var absent []Hash
	for _, h := range r.Parents {
		if p, ok := l.nodes[h]; ok {
			n.parents = append(n.parents, p)
		} else {
			absent = append(absent, h)
		}
	}
	if absent != nil {
		return false, &MissingParents{Hashes: absent}
	}
	parents := mapped(n.parents, func(p *node) *Roster { return p.roster })
	if err := checkSigners(n.env, r, parents); err != nil {
		return false, err
	}
	if _, known := l.nodes[n.hash]; known {
		return false, nil
	}
	if r.Generation > 1 {
		if err := checkSuccession(r, parents); err != nil {
			return false, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	for _, a := range n.parents {
		if slices.ContainsFunc(n.parents, func(b *node) bool { return a != b && descends(b, a) }) {
			return false, fmt.Errorf("%w: one parent descends from another", ErrInvalid)
		}
	}
	n.env = n.env.clone()
	l.nodes[n.hash] = n
	l.heads[n.hash] = n
	for _, p := range n.parents {
		delete(l.heads, p.hash)
	}
	return true, nil
}

// clone returns a copy that the sender cannot change any more.
func (e Envelope) clone() Envelope {
	c := Envelope{Payload: slices.Clone(e.Payload)}
	for _, s := range e.Signatures {
		c.Signatures = append(c.Signatures, Signature{Key: s.Key, Sig: slices.Clone(s.Sig)})
	}
	return c
}

// compare orders nodes so that parents come first.
func (n *node) compare(o *node) int {
	return cmp.Or(cmp.Compare(n.roster.Generation, o.roster.Generation), n.hash.Compare(o.hash))
}

// descends reports whether a is an ancestor of n.
func descends(n, a *node) bool {
	open, seen := []*node{n}, map[*node]bool{}
	for len(open) > 0 {
		m := open[len(open)-1]
		open = open[:len(open)-1]
		if m == a {
			return true
		}
		if seen[m] || m.roster.Generation <= a.roster.Generation {
			continue
		}
		seen[m] = true
		open = append(open, m.parents...)
	}
	return false
}

// checkBounds holds the bounds on forks.
func (l *Log) checkBounds() error {
	_, contested := l.base()
	size := 0
	for _, n := range contested {
		size += len(n.env.Payload)
	}
	if len(l.heads) > MaxHeads || len(contested) > MaxContested || size > MaxContestedBytes {
		return fmt.Errorf("%d heads, %d contested generations: %w", len(l.heads), len(contested), ErrTooManyForks)
	}
	return nil
}

func (l *Log) headHashes() []Hash { return slices.SortedFunc(maps.Keys(l.heads), Hash.Compare) }

// Envelopes returns all generations, parents first.
func (l *Log) Envelopes() []Envelope { return l.Missing() }

// Missing returns, parents first, what somebody lacks who has the generations
// named and all their ancestors. Hashes that the log does not know tell
// nothing.
func (l *Log) Missing(have ...Hash) []Envelope {
	has := map[*node]bool{}
	var open []*node
	for _, h := range have {
		if n, ok := l.nodes[h]; ok {
			open = append(open, n)
		}
	}
	for len(open) > 0 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		if !has[n] {
			has[n] = true
			open = append(open, n.parents...)
		}
	}
	var lacks []*node
	for _, n := range l.nodes {
		if !has[n] {
			lacks = append(lacks, n)
		}
	}
	slices.SortFunc(lacks, (*node).compare)
	return mapped(lacks, func(n *node) Envelope { return n.env.clone() })
}
