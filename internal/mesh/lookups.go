package mesh

import (
	"context"
	"net/netip"
	"time"
)

const resolveTimeout = 5 * time.Second

// lookups are what is known of the addresses behind the roster's endpoints.
type lookups map[string]*lookup

type lookup struct {
	addrs []netip.AddrPort
	busy  bool
	at    instant
}

// known returns the addresses of host:port, as far as they are known.
func (l *lookups) known(hostport string) []netip.AddrPort {
	if hostport == "" {
		return nil
	}
	if found := (*l)[hostport]; found != nil {
		return found.addrs
	}
	if *l == nil {
		*l = lookups{}
	}
	found := &lookup{at: never}
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		found.addrs = []netip.AddrPort{a}
	} else {
		found.at = 0
	}
	(*l)[hostport] = found
	return found.addrs
}

// resolve looks a peer's endpoint up anew, where it is a name.
func (m *Mesh) resolve(p *peer, now instant) {
	hostport := p.member.Mesh.Endpoint
	m.lookups.known(hostport)
	l := m.lookups[hostport]
	if l == nil || l.at == never || l.busy || m.c.Resolve == nil || m.spawn == nil || l.at != 0 && now-l.at < patience {
		return
	}
	l.busy, l.at = true, max(now, 1)
	m.spawn(func(ctx context.Context) {
		limited, cancel := context.WithTimeout(ctx, resolveTimeout)
		found, err := m.c.Resolve(limited, hostport)
		cancel()
		m.post(ctx, func() { m.resolved(p, l, found, err) })
	})
}

// resolved takes note of what a name stands for. What was known is kept when nothing was found.
func (m *Mesh) resolved(p *peer, l *lookup, found []netip.AddrPort, err error) {
	l.busy = false
	if err != nil || len(found) == 0 {
		// Its error may say from which of our addresses the name was looked up, and we may be hidden.
		m.log.Debug("endpoint has no address", "peer", p.member.Name, "endpoint", p.member.Mesh.Endpoint)
		return
	}
	first := len(l.addrs) == 0
	l.addrs = nil
	for _, a := range found {
		l.addrs = append(l.addrs, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	m.locate(p)
	if first {
		m.setPeers()
		if p.path.phase != up {
			p.path.nextTry = m.now()
			m.plan(p)
		}
	}
}

// resolveAll looks up what was not found yet, and forgets what nobody needs.
func (m *Mesh) resolveAll() {
	now := m.now()
	used := map[string]bool{}
	for _, p := range m.peers {
		used[p.member.Mesh.Endpoint] = true
		if p.path.phase != up || len(p.known) == 0 {
			m.resolve(p, now)
		}
	}
	for hostport := range m.lookups {
		if !used[hostport] {
			delete(m.lookups, hostport)
		}
	}
}
