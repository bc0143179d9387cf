package mesh

import "github.com/pressenter/pressenter/internal/tunnel"

// A member that changes its tunnel key announces the next one first. Until it uses that, the key is a peer of the tunnel
// without an address; from its first handshake on it has the address, and the old key has none. Packets in between are
// lost, so the tunnel is looked at more often, and the side that repairs paths shakes hands with the next key again and
// again: the other one may not know where to reach us.

// lookAtNext looks for peers that use their next key.
func (m *Mesh) lookAtNext(states []tunnel.PeerState, now instant) {
	switched := false
	for _, s := range states {
		if p := m.byKey[s.Key]; s.Key == tunnel.Key(p.member.Mesh.Next) {
			switched = m.rotate(p, s, now) || switched
		}
	}
	if switched {
		m.setPeers()
	}
	m.rotating = false
	for _, p := range m.peers {
		next := tunnel.Key(p.member.Mesh.Next)
		if next.IsZero() || p.key == next {
			continue
		}
		m.rotating = true
		if p.path.active && now-p.next.asked >= patience {
			p.next.asked = now
			m.aim(next, p.state.Endpoint)
			m.reset(next)
		}
	}
}

// rotate moves the address to a peer's next key, once that has shaken hands after the present one did. Which one was
// later is judged by when it was seen; only what was seen at once is judged by the times that the tunnel tells.
func (m *Mesh) rotate(p *peer, next tunnel.PeerState, now instant) bool {
	if !next.Handshake.Equal(p.next.state.Handshake) {
		p.next.shook = now
	}
	p.next.state = next
	if next.Handshake.IsZero() || p.next.shook < p.shook || p.next.shook == p.shook && !next.Handshake.After(p.state.Handshake) {
		return false
	}
	m.log.Info("peer uses its next tunnel key", "peer", p.member.Name)
	p.key, p.state, p.shook, p.next = next.Key, next, now, nextKey{}
	p.path.endpoint = next.Endpoint
	p.path.suspect(now)
	m.plan(p)
	return true
}
