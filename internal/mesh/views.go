package mesh

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// views are what we and others see of where members are.
type views struct {
	lookedAt instant // at the tunnel
	looked   bool
	away     []*peer // who is not at the first address that the roster gives
}

// hint is where another member saw a peer.
type hint struct {
	by   roster.Key
	at   netip.AddrPort
	seen instant
}

const (
	maxHints  = 4 // of one peer, each by another member
	hintValid = 10 * time.Minute
	recent    = time.Minute // an endpoint that was heard since is worth telling
)

// look asks the tunnel what it knows, unless it was asked at this very moment.
func (m *Mesh) look(now instant) {
	if m.views.looked && m.views.lookedAt == now {
		return
	}
	before := m.views.lookedAt
	m.views.lookedAt, m.views.looked = now, true
	switch {
	case m.rotating:
		m.nextAll = now + rotatePace
	case len(m.peers) <= manyPeers:
		m.nextAll = now + lookPace
	default:
		m.nextAll = now + manyLookPace
	}
	states, err := m.c.Tunnel.Peers()
	if err != nil {
		m.notes.put("tunnel", "the tunnel does not say how its peers are: "+err.Error())
		return
	}
	m.notes.drop("tunnel")
	m.lost, m.views.away = 0, m.views.away[:0]
	var next []tunnel.PeerState
	for _, s := range states {
		if p := m.byKey[s.Key]; p != nil && s.Key == p.key {
			m.see(p, s, now, before)
			if s.Endpoint != p.home() {
				m.views.away = append(m.views.away, p)
			}
			if p.path.phase != up && p.path.active && !p.partner {
				m.lost++
			}
		} else if p != nil {
			next = append(next, s)
		}
	}
	if m.rotating {
		m.lookAtOther(next, now)
	}
}

// see takes note of one peer's state.
func (m *Mesh) see(p *peer, s tunnel.PeerState, now, before instant) {
	// A reset may set the counter back to nothing.
	advanced := s.Received > p.state.Received || s.Received != 0 && s.Received < p.state.Received
	if !s.Handshake.Equal(p.state.Handshake) {
		p.shook = now
		advanced = advanced || !s.Handshake.IsZero()
	}
	p.state = s
	was, lost := p.path.phase, now-p.path.since
	nextBefore := p.path.due(0)
	p.path.look(now, before, s.Endpoint, advanced)
	if was != up && p.path.phase == up {
		m.came(p, now, lost)
	}
	if was != p.path.phase || p.path.due(0) != nextBefore {
		m.plan(p)
	}
}

// world returns what a path looks at.
func (m *Mesh) world(p *peer) world {
	w := world{endpoint: p.state.Endpoint, pace: m.pace(p)}
	if p.path.phase != up || p.path.relayed() || p.path.probe.until != 0 || p.path.misses >= lostAfter-1 || p.path.detour.narrow {
		w.direct = m.direct(p)
		if p.path.active {
			w.relays = m.relaysTo(p)
		}
	}
	return w
}

// direct returns where a peer may be, best first: where it answered last, where others heard it, what the roster says.
// Of a hidden member nothing is known but what the tunnel knows.
func (m *Mesh) direct(p *peer) []netip.AddrPort {
	out := make([]netip.AddrPort, 0, maxDirect)
	add := func(a netip.AddrPort) {
		if a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	add(p.path.good)
	if p.member.Hidden() {
		return out
	}
	now := m.now()
	told := 0
	for _, h := range p.hints {
		if now-h.seen < hintValid && told < 2 && h.at != p.path.good {
			told++
			add(h.at)
		}
	}
	for _, a := range p.known {
		add(a)
	}
	return out
}

// hinted takes note of where a member was heard by another one, freshest first. Of each teller the last word counts: who
// tells many places does not drown what others tell.
func (m *Mesh) hinted(by *peer, s sighting, now instant) {
	p := m.peers[s.Identity]
	if p == nil || p == by || p.member.Hidden() || !plausible(s.Address) {
		return
	}
	h := hint{by: by.member.Identity, at: s.Address, seen: now - time.Duration(min(s.Age, 3600))*time.Second}
	p.hints = slices.DeleteFunc(p.hints, func(o hint) bool { return o.by == h.by })
	i, _ := slices.BinarySearchFunc(p.hints, h.seen, func(o hint, at instant) int {
		if o.seen >= at {
			return -1
		}
		return 1
	})
	p.hints = capped(slices.Insert(p.hints, i, h), maxHints)
	if now-h.seen > 2*round || p.path.idle() && p.path.phase == up {
		return
	}
	m.look(now)
	m.do(p, now, p.path.hint(now, h.at))
	m.plan(p)
}

// sightings are what we tell others: members that are not hidden and that our own tunnel heard lately, directly, at
// another address than the roster says.
func (m *Mesh) sightings(to *peer, now instant) []sighting {
	var out []sighting
	for _, p := range m.views.away {
		if p == to || m.peers[p.member.Identity] != p || p.member.Hidden() || p.path.phase != up || p.path.relayed() || p.path.probe.until != 0 ||
			!plausible(p.state.Endpoint) || now-p.path.heardAt > recent {
			continue
		}
		if len(p.known) == 0 && p.member.Mesh.Endpoint != "" || slices.Contains(p.known, p.state.Endpoint) {
			continue
		}
		if _, relayed := m.through(p); relayed {
			continue
		}
		out = append(out, sighting{Identity: p.member.Identity, Address: p.state.Endpoint, Age: uint32((now - p.path.heardAt) / time.Second)})
	}
	slices.SortFunc(out, func(a, b sighting) int { return int(int64(a.Age) - int64(b.Age)) })
	return capped(out, maxMoved)
}

// through returns whose relay a peer's packets seem to come through by its own doing, and whether they do: they come from
// this host, or from the address of another member that relays.
func (m *Mesh) through(p *peer) (via roster.Member, ok bool) {
	from := p.state.Endpoint.Addr()
	if slices.ContainsFunc(p.known, func(k netip.AddrPort) bool { return k.Addr() == from }) {
		return roster.Member{}, false
	}
	if from.IsLoopback() {
		return m.self, m.self.Mesh.Relay != "" && !m.onLoopback()
	}
	for _, o := range m.relayers {
		if o != p && slices.ContainsFunc(o.known, func(k netip.AddrPort) bool { return k.Addr() == from }) {
			return *o.member, true
		}
	}
	return roster.Member{}, false
}

// onLoopback reports whether the underlay is this computer, as on a practice network: there all peers are on loopback.
func (m *Mesh) onLoopback() bool {
	at, err := netip.ParseAddrPort(m.self.Mesh.Endpoint)
	return err == nil && at.Addr().IsLoopback()
}

// seenBy returns where we see a peer, to be told to itself only; nothing for a hidden member.
func (m *Mesh) seenBy(p *peer) netip.AddrPort {
	if _, relayed := m.through(p); relayed || p.member.Hidden() || p.path.relayed() || !plausible(p.state.Endpoint) {
		return netip.AddrPort{}
	}
	return p.state.Endpoint
}
