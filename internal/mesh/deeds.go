package mesh

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

const relayTimeout = 5 * time.Second

// do does what a path wants.
func (m *Mesh) do(p *peer, now instant, deeds []deed) {
	for _, d := range deeds {
		switch d.kind {
		case sendPing:
			if ask := m.message(ping, d.ask); d.size > 0 {
				m.send(p, ask.padded(d.size-headers))
			} else {
				m.send(p, ask.encode())
			}
		case aim:
			m.aim(p.key, d.to)
			p.state.Endpoint = d.to
		case reset:
			if p.path.phase != up {
				m.resolve(p, now)
			}
			m.reset(p.key)
		case openRelay:
			m.openRelay(p, d.via)
		case closeRelay:
			m.closeRelay(p.member.Identity)
		}
	}
}

// aim makes the tunnel send to a peer elsewhere.
func (m *Mesh) aim(key tunnel.Key, to netip.AddrPort) {
	if !to.IsValid() {
		return
	}
	if err := m.c.Tunnel.SetEndpoint(key, to); err != nil {
		m.log.Debug("the tunnel does not take an endpoint", "key", key) // its error may hold the address
	}
}

// reset makes the tunnel shake hands anew.
func (m *Mesh) reset(key tunnel.Key) {
	if err := m.c.Tunnel.Reset(key); err != nil {
		m.log.Debug("the tunnel does not reset a peer", "key", key)
	}
}

// message returns a ping or pong with what everybody is told.
func (m *Mesh) message(k kind, nonce uint64) message {
	return message{Version: messageVersion, Kind: k, Nonce: nonce, Generation: m.rosters.generation, Heads: m.rosters.told}
}

// send sends a datagram to a peer, if there is a socket.
func (m *Mesh) send(p *peer, b []byte) {
	if m.conn == nil {
		return
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr, access.Control.Port()))
	_, _ = m.conn.WriteTo(b, to) // what is lost is missed
}

// fell is to be called when a path died.
func (m *Mesh) fell(p *peer) {
	m.log.Info("path is down", "peer", p.member.Name, "why", p.path.why)
}

// relaysTo returns who may relay to a peer, best first: those that we reach, the quickest first, then the peer itself,
// which helps where only UDP is blocked, then the others.
func (m *Mesh) relaysTo(p *peer) []roster.Key {
	if m.c.Relays == nil || p.member.Hidden() {
		return nil
	}
	best := slices.Clone(m.relayers)
	rank := func(o *peer) time.Duration {
		switch {
		case o == p:
			return time.Hour
		case o.path.phase == up && o.path.rtt > 0:
			return o.path.rtt
		}
		return 2 * time.Hour
	}
	slices.SortFunc(best, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), bytes.Compare(a.member.Identity[:], b.member.Identity[:]))
	})
	var out []roster.Key
	for _, o := range capped(best, maxRelays) {
		out = append(out, o.member.Identity)
	}
	return out
}

// openRelay opens a way to a peer through a relay, and tells its path.
func (m *Mesh) openRelay(p *peer, via roster.Key) {
	relay := m.peers[via]
	if relay == nil || m.spawn == nil {
		p.path.relayFailed(m.now(), via)
		return
	}
	through, to := *relay.member, *p.member
	m.spawn(func(ctx context.Context) {
		limited, cancel := context.WithTimeout(ctx, relayTimeout)
		at, err := m.c.Relays.Open(limited, through, to)
		cancel()
		m.post(ctx, func() {
			if m.peers[to.Identity] != p {
				m.closeRelay(to.Identity)
				return
			}
			if err != nil {
				m.log.Debug("open relay", "peer", to.Name, "via", through.Name, "err", err)
				p.path.relayFailed(m.now(), via)
			} else {
				p.path.relayOpened(m.now(), via, at)
			}
			m.plan(p)
		})
	})
}

// closeRelay gives up the way through a relay.
func (m *Mesh) closeRelay(to roster.Key) {
	if m.c.Relays != nil {
		m.c.Relays.Close(to)
	}
}

// cutRelays gives up the ways through relays that left.
func (m *Mesh) cutRelays() {
	for _, p := range m.peers {
		r := &p.path.relay
		if relay := m.peers[r.via]; r.addr.IsValid() && (relay == nil || relay.member.Mesh.Relay == "") {
			m.closeRelay(p.member.Identity)
			p.path.relayLost(m.now())
			m.plan(p)
		}
	}
}
