package mesh

import (
	"container/heap"
	"time"
)

// Paces of what is not bound to one peer.
const (
	grid         = 10 * time.Millisecond  // what is due at nearly the same time is done together
	tryGrid      = 250 * time.Millisecond // the same for tries to reach who is lost
	manyGrid     = time.Second            // the same where there are many peers
	lostGrid     = 5 * time.Second        // the same for those that are no partners and were tried in vain for a while
	round        = 5 * time.Second        // regular pings, and the random ones
	roundJitter  = time.Second            // at most so much sooner
	critical     = time.Second            // pings of a hidden member
	lookPace     = time.Second            // the tunnel is asked even if nobody misses anything
	manyLookPace = 10 * time.Second       // the same where there are many peers
	lostLookPace = 5 * time.Second        // the same for the sake of lost ones, where there are many peers
	rotatePace   = 500 * time.Millisecond // the same while keys are changed
	firstPace    = 15 * time.Millisecond  // between first pings to peers that are no partners
	tryPace      = 60 * time.Millisecond  // between tries to reach peers that are no partners
	manyTryPace  = 500 * time.Millisecond // the same where there are many peers
	againPace    = 15 * time.Millisecond  // the same when one of many lost came back
	maxTryPause  = 30 * time.Second
	manyTryPause = 2 * time.Minute        // the same where there are many peers, whom the first that comes back wakes
	leftPause    = 5 * time.Minute        // the same where it is on the other side to find the way
	lostTurns    = 8                      // tries in vain, after which a peer that is no partner is tried on a wider grid
	spread       = 200 * time.Millisecond // news go out within
	manyPeers    = 64
	extras       = 2 // random others are pinged each round
)

// schedule says which peer wants attention when.
type schedule struct {
	queue   queue
	nextAll instant // the next look at the tunnel
	nextRnd instant // the next round of random pings
	paced   instant // the last of the first pings to peers that are no partners
	againAt instant // lost peers are not tried all at once before
	lost    int     // active paths to peers that are no partners that are not up
}

// queue is a heap of peers by due.
type queue []*peer

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	p := x.(*peer)
	p.index = len(*q)
	*q = append(*q, p)
}

func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	p.index = -1
	return p
}

// plan puts a peer where it belongs in the schedule.
func (m *Mesh) plan(p *peer) {
	if m.peers[p.member.Identity] != p {
		return
	}
	at := min(p.path.due(m.pace(p)), p.size.due(&p.path))
	if at != never {
		g := m.grid(p)
		at = (at + g - 1) / g * g
	}
	switch {
	case p.index < 0:
		p.due = at
		heap.Push(&m.queue, p)
	case p.due != at:
		p.due = at
		heap.Fix(&m.queue, p.index)
	}
}

// grid returns to which multiple of time something for a peer is put off, so that one look at the tunnel, which tells of
// all peers, serves several of them.
func (m *Mesh) grid(p *peer) time.Duration {
	switch {
	case p.path.phase == up || p.path.turn == turnAsk:
		return grid
	case len(m.peers) <= manyPeers:
		return tryGrid
	case p.partner || p.path.turn < lostTurns:
		return manyGrid
	}
	return lostGrid
}

// drop takes a peer out of the schedule.
func (m *Mesh) drop(p *peer) {
	if p.index >= 0 {
		heap.Remove(&m.queue, p.index)
	}
}

// start plans the first ping to a new peer: soon to a partner, in turn to others.
func (m *Mesh) start(p *peer, now instant) {
	if !p.path.pings {
		return
	}
	if p.partner {
		p.path.nextTry = now + time.Duration(m.rnd.Int64N(int64(spread)))
	} else {
		m.paced = max(m.paced+firstPace, now)
		p.path.nextTry = m.paced
	}
}

// pace returns how often a peer is pinged while all is well.
func (m *Mesh) pace(p *peer) time.Duration {
	switch {
	case !p.partner:
		return 0
	case m.self.Hidden():
		return critical
	}
	return round - time.Duration(m.rnd.Int64N(int64(roundJitter)))
}

// nextDue returns when tick is to be called next.
func (m *Mesh) nextDue() instant {
	at := min(m.nextAll, m.nextRnd)
	if len(m.queue) > 0 {
		at = min(at, m.queue[0].due)
	}
	if !m.isSet {
		at = min(at, m.setAgainAt)
	}
	return at
}

// tick does all that is due.
func (m *Mesh) tick() {
	now := m.now()
	if !m.isSet && now >= m.setAgainAt {
		m.setPeers()
	}
	if now >= m.nextAll {
		m.look(now)
		m.resolveAll()
	}
	if now >= m.nextRnd {
		m.nextRnd = now + m.roundLength()
		m.pingOthers(now)
	}
	for len(m.queue) > 0 && m.queue[0].due <= now {
		p := m.queue[0]
		m.attend(p, now)
		m.plan(p)
		if p.index >= 0 && p.due <= now { // cannot be; but if it were, the loop would not end
			p.due = now + grid
			heap.Fix(&m.queue, p.index)
		}
	}
}

func (m *Mesh) roundLength() time.Duration {
	return round - time.Duration(m.rnd.Int64N(int64(roundJitter)))
}

// attend does what is due for one peer.
func (m *Mesh) attend(p *peer, now instant) {
	if p.path.urgent(now) && (p.path.phase == up || len(m.peers) <= manyPeers || now-m.views.lookedAt >= lostLookPace) {
		m.look(now) // it tells of all peers, so where they are many it costs more than a try
	}
	was := p.path.phase
	tried := p.path.lastTry
	m.do(p, now, p.path.tick(now, m.world(p)))
	if p.path.phase != up && p.path.lastTry != tried && !p.partner {
		p.path.nextTry = max(p.path.nextTry, now+m.tryPause(p))
	}
	if was == up && p.path.phase == down {
		m.fell(p)
	}
	m.probeSize(p, now)
}

// tryPause returns how long a peer that is no partner waits for its next try: those that are lost share one pace, but
// for the first tries. Where they are many, the first that comes back makes us try all others.
func (m *Mesh) tryPause(p *peer) time.Duration {
	pace, most := tryPace, maxTryPause
	if len(m.peers) > manyPeers {
		pace, most = manyTryPace, manyTryPause
		if !p.path.active {
			pace, most = 2*pace, leftPause
		}
	}
	pause := min(time.Duration(m.lost)*pace, time.Duration(p.path.turn)*passivePace, most)
	return pause * time.Duration(75+m.rnd.IntN(50)) / 100
}

// pingOthers pings some peers that are no partners, so that news get around among many.
func (m *Mesh) pingOthers(now instant) {
	if len(m.peers) <= maxPartners {
		return
	}
	for range extras {
		skip := m.rnd.IntN(len(m.queue))
		if p := m.queue[skip]; !p.partner && p.path.phase == up && p.path.pings && p.path.idle() {
			m.do(p, now, []deed{p.path.ask(now, false)})
			m.plan(p)
		}
	}
}

// came is to be called when a peer that was lost is back: what brought it back may have brought back others.
func (m *Mesh) came(p *peer, now instant, lost time.Duration) {
	if lost < round || now < m.againAt {
		return
	}
	m.againAt = now + round
	at := now
	for _, o := range m.peers {
		if o != p && o.path.phase == down && o.path.active && o.path.nextTry > at+patience {
			at += againPace
			o.path.retry(at)
			m.plan(o)
		}
	}
}

// tellSoon plans pings to all partners within a short time: there is news.
func (m *Mesh) tellSoon() {
	now := m.now()
	for _, p := range m.partners {
		if p.path.phase == up {
			p.path.nextPing = now + time.Duration(m.rnd.Int64N(int64(spread)))
			m.plan(p)
		}
	}
}
