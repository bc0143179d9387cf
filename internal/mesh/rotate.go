package mesh

import (
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// A member that changes its tunnel key may shake hands with two: the rosters announce the next one beside the one in
// use, then the old one beside the next, until the member says that it has changed. Of the two the address belongs to the
// one that shook hands last, and the other is a peer of the tunnel without an address. Packets in between are lost, so
// the tunnel is looked at more often, and the side that repairs paths shakes hands with the other key again and again:
// the peer may not know where to reach us.

// other returns the key that a peer may use and does not, zero for none.
func (p *peer) other() tunnel.Key {
	for _, k := range []roster.Key{p.member.Mesh.Key, p.member.Mesh.Next} {
		if k := tunnel.Key(k); !k.IsZero() && k != p.key {
			return k
		}
	}
	return tunnel.Key{}
}

// lookAtOther looks for peers that have changed to their other key.
func (m *Mesh) lookAtOther(states []tunnel.PeerState, now instant) {
	switched := false
	for _, s := range states {
		switched = m.rotate(m.byKey[s.Key], s, now) || switched
	}
	if switched {
		m.setPeers()
	}
	m.rotating = false
	for _, p := range m.peers {
		other := p.other()
		if other.IsZero() {
			continue
		}
		m.rotating = true
		if p.path.active && now-p.next.asked >= patience {
			p.next.asked = now
			m.aim(other, p.state.Endpoint)
			m.reset(other)
		}
	}
}

// rotate moves the address to a peer's other key, once that has shaken hands after the present one did. Which one was
// later is judged by when it was seen; only what was seen at once is judged by the times that the tunnel tells.
func (m *Mesh) rotate(p *peer, next tunnel.PeerState, now instant) bool {
	if !next.Handshake.Equal(p.next.state.Handshake) {
		p.next.shook = now
	}
	p.next.state = next
	if next.Handshake.IsZero() || p.next.shook < p.shook || p.next.shook == p.shook && !next.Handshake.After(p.state.Handshake) {
		return false
	}
	m.log.Info("peer changed its tunnel key", "peer", p.member.Name)
	p.next, p.key, p.state, p.shook = nextKey{state: p.state, shook: p.shook, asked: now}, next.Key, next, now
	p.path.endpoint = next.Endpoint
	p.path.suspect(now)
	m.plan(p)
	return true
}
