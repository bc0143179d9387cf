package mesh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// rosterState is what the loop needs to know of the rosters.
type rosterState struct {
	known      bool
	heads      []roster.Hash
	told       []roster.Hash // see told
	generation uint64        // of what is obeyed
	fork       bool
}

// update takes over a state, and reports whether it is another one.
func (r *rosterState) update(s roster.State) bool {
	if r.known && slices.Equal(r.heads, s.Heads) {
		return false
	}
	*r = rosterState{known: true, heads: s.Heads, told: told(s.Heads), fork: s.Fork}
	if s.Effective != nil {
		r.generation = s.Effective.Generation
	}
	return true
}

// same reports whether the sender of a message has the heads that we have.
func (r *rosterState) same(m message) bool { return slices.Equal(r.told, m.Heads) }

// fetching is the exchange of rosters with one peer.
type fetching struct {
	busy     bool // we ask
	served   bool // it asks
	failures int
	next     instant
	barred   instant // neither of us asks the other before, see judge
	given    giving
}

const (
	fetchWait    = 250 * time.Millisecond // after the first failure, doubled with each
	maxFetchWait = 10 * time.Second
)

// fetchFrom exchanges rosters with a peer, unless that is being done or failed just now.
func (m *Mesh) fetchFrom(p *peer, now instant) {
	if p.fetch.busy || now < p.fetch.next || now < p.fetch.barred || !p.path.pings {
		return
	}
	p.fetch.busy = true
	m.spawn(func(ctx context.Context) {
		result, err := m.exchange(ctx, p)
		m.post(ctx, func() { m.fetched(p, result, err) })
	})
}

// fetched takes note of how an exchange ended.
func (m *Mesh) fetched(p *peer, result outcome, err error) {
	now := m.now()
	p.fetch.busy = false
	if err == nil && (result.equal || result.moved) {
		p.fetch.failures, p.fetch.next = 0, 0
	} else {
		p.fetch.next = now + min(maxFetchWait, fetchWait<<min(p.fetch.failures, 10))
		p.fetch.failures++
	}
	m.judge(p, err)
	if err != nil {
		m.log.Debug("exchange rosters", "peer", p.member.Name, "err", err)
		return
	}
	if result.whole && m.peers[p.member.Identity] == p {
		m.compare(p)
	}
}

// judge bars a peer from exchanges for a while after it sent what no member sends: to verify that takes seconds, during
// which nobody else's rosters are taken.
func (m *Mesh) judge(p *peer, err error) {
	matter := "unruly " + p.member.Name
	switch {
	case m.peers[p.member.Identity] != p || err == nil:
		m.notes.drop(matter)
	case unruly(err):
		p.fetch.barred = m.now() + unrulyPause
		m.notes.put(matter, p.member.Name+" sends what is no roster of this deployment: it is broken or hostile")
	}
}

// learn keeps envelopes that somebody sent, obeys what they say, and reports whether they were news.
func (m *Mesh) learn(envs []roster.Envelope) (bool, error) {
	err := m.c.Rosters.Learn(envs)
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(err, roster.ErrNewerFormat) {
		m.notes.put("format", "a roster of a newer format was met, and the last one known is kept: upgrade this host")
	}
	before := m.rosters.heads
	m.obey()
	if slices.Equal(before, m.rosters.heads) {
		return false, err
	}
	select {
	case m.tell <- struct{}{}:
	default: // it is being told already
	}
	m.wake()
	return true, err
}
