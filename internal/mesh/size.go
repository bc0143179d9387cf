package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Sizes of inner packets are probed because nothing else tells of a path that swallows large ones: a firewall that drops
// ICMP, or a tunnel in between.
const (
	sizeTries  = 3
	sizeWait   = time.Second
	sizeEvery  = 3 * time.Minute
	middleSize = 1280 // what IPv6 demands of every link
	leastSize  = 1200
	bulk       = 64 << 10 // bytes since the last probe that make a peer worth one
	vainAfter  = 2        // searches in which nothing was answered, while small packets pass, make a path unfit
)

// narrowPath says why a path was left that lets small packets pass and swallows the others.
var narrowPath = fmt.Sprintf("small packets pass, those of %d bytes do not", leastSize)

// sizing is the search for the largest packet that gets through to a peer.
type sizing struct {
	next    instant // 0: as soon as the path is up
	tries   int
	pending []sizeProbe
	until   instant        // of the try that is under way
	best    int            // the largest that was answered in this search
	at      netip.AddrPort // where the peer was in this search
	packet  int            // what the last search found; 0: nothing yet
	applied int            // what the tunnel was told
	bytes   uint64         // received at the last search
	vain    int            // searches in a row in which nothing was answered
}

type sizeProbe struct {
	nonce uint64
	size  int
}

// restart makes a new search begin soon.
func (s *sizing) restart() { s.next, s.tries, s.pending, s.until, s.best = 0, 0, nil, 0, 0 }

// due returns when the search wants attention.
func (s *sizing) due(p *path) instant {
	switch {
	case p.phase != up || !p.pings || p.pongAt == 0:
		return never
	case s.until != 0:
		return s.until
	}
	return s.next
}

// probeSize does what is due in the search for a peer's packet size. Only partners and peers that send much are worth
// the traffic.
func (m *Mesh) probeSize(p *peer, now instant) {
	s := &p.size
	if p.path.phase == up && p.path.probe.until == 0 && p.path.endpoint != s.at {
		s.restart()
		s.at, s.vain = p.path.endpoint, 0
	}
	if s.due(&p.path) > now || m.conn == nil {
		if m.conn == nil && s.due(&p.path) <= now {
			s.next = now + sizeWait
		}
		return
	}
	if s.until == 0 && !p.partner && p.state.Received-s.bytes < bulk {
		s.next = now + sizeEvery
		return
	}
	if p.path.misses > 0 && s.until == 0 {
		s.next = now + sizeWait // wait until small ones pass
		return
	}
	if s.until != 0 && s.tries >= sizeTries {
		m.conclude(p, now)
		return
	}
	s.tries++
	s.until, s.bytes = now+sizeWait, p.state.Received
	for i, size := range m.sizes() {
		if size <= s.best {
			continue
		}
		if i > 0 && s.tries == 1 && s.packet == m.sizes()[0] {
			break // nothing has changed, most likely: one packet shows it
		}
		nonce := m.rnd.Uint64()
		s.pending = append(s.pending, sizeProbe{nonce: nonce, size: size})
		m.send(p, m.message(ping, nonce).padded(size-headers))
	}
}

// sizes returns the sizes of inner packets to try, largest first.
func (m *Mesh) sizes() []int {
	mtu := min(m.c.Tunnel.MTU(), maxProbe+headers)
	out := []int{mtu}
	for _, size := range []int{middleSize, leastSize} {
		if size < mtu {
			out = append(out, size)
		}
	}
	return out
}

// sized takes in the answer to a probe, and reports whether it is one.
func (m *Mesh) sized(p *peer, nonce uint64, now instant) bool {
	s := &p.size
	i := slices.IndexFunc(s.pending, func(o sizeProbe) bool { return o.nonce == nonce })
	if i < 0 {
		return false
	}
	p.path.hear(now)
	s.best = max(s.best, s.pending[i].size)
	if s.best == m.sizes()[0] {
		m.conclude(p, now)
	}
	return true
}

// conclude ends a search and tells the tunnel. Where not even the smallest was answered, small pings tell of the path
// what there is to tell, and the search is made again.
func (m *Mesh) conclude(p *peer, now instant) {
	s := &p.size
	best := s.best
	s.restart()
	s.next = now + sizeEvery
	if best == 0 {
		s.next = now + round
		if p.path.misses == 0 {
			m.notes.put("size "+p.member.Name, fmt.Sprintf("packets of %d bytes do not get through to %s", leastSize, p.member.Name))
			if s.vain++; s.vain >= vainAfter {
				p.path.narrowed(now)
			}
		}
		return
	}
	s.vain = 0
	m.notes.drop("size " + p.member.Name)
	s.packet = best
	segment := best
	if best == m.sizes()[0] {
		segment = 0
	}
	if segment == s.applied {
		return
	}
	if err := m.c.Tunnel.SetSegment(p.addr, segment); err != nil {
		m.log.Warn("limit packets to peer", "peer", p.member.Name, "err", err)
		return
	}
	s.applied = segment
}
