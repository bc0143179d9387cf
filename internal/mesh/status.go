package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// hidden is told in place of an address that nobody may know.
const hidden = "hidden"

// Status tells how the mesh is, from this host's view. Process, driver and backend are for others to fill in.
func (m *Mesh) Status() api.MeshStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.started {
		m.look(now)
	}
	s := api.MeshStatus{
		MTU:        m.c.Tunnel.MTU(),
		Generation: m.rosters.generation,
		Heads:      []string{},
		Fork:       m.rosters.fork,
		Learned:    m.learned(),
		Peers:      []api.MeshPeer{},
		Notes:      append(m.notes.list(), m.seenNotes()...),
	}
	if a := m.c.Tunnel.Address(); a.IsValid() {
		s.Address = a.String()
	}
	for _, h := range m.rosters.heads {
		s.Heads = append(s.Heads, h.String())
	}
	for _, p := range m.peers {
		s.Peers = append(s.Peers, m.peerStatus(p, now))
	}
	slices.SortFunc(s.Peers, func(a, b api.MeshPeer) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// peerStatus tells how one peer is.
func (m *Mesh) peerStatus(p *peer, now instant) api.MeshPeer {
	form, via := p.path.form()
	s := api.MeshPeer{
		Name: p.member.Name, Role: string(p.member.Role), Address: p.addr.String(),
		Path: form, Via: m.nameOf(via), Why: m.why(p, now), Since: m.wall(p.path.since, now),
		RTT: p.path.rtt, Loss: p.path.loss(), Handshake: p.state.Handshake,
		Received: p.state.Received, Sent: p.state.Sent, Packet: p.size.packet,
	}
	if relay, ok := m.through(p); ok && form == api.PathDirect {
		s.Path, s.Via, s.Why = api.PathRelay, relay.Name, "it comes through the relay; "+s.Why
	}
	switch {
	case p.member.Hidden():
		s.Endpoint = hidden
	case p.state.Endpoint.IsValid():
		s.Endpoint = p.state.Endpoint.String()
	}
	for _, c := range p.path.history {
		s.History = append(s.History, api.MeshChange{At: m.wall(c.at, now), Path: c.path, Via: m.nameOf(c.via), Why: c.why})
	}
	return s
}

// wall returns an instant as people read it.
func (m *Mesh) wall(at, now instant) time.Time { return time.Now().Add(at - now).Round(0) }

// nameOf returns the name of a member, as far as it is known.
func (m *Mesh) nameOf(id roster.Key) string {
	if p := m.peers[id]; p != nil {
		return p.member.Name
	}
	return ""
}

// why says in words why a path is what it is.
func (m *Mesh) why(p *peer, now instant) string {
	form, via := p.path.form()
	x := &p.path
	switch {
	case form == api.PathDown && x.phase == fresh && !x.pings:
		return "nothing came from it yet; it is hidden, so it has to begin"
	case form == api.PathDown && x.phase == fresh:
		return fmt.Sprintf("nothing came back in %s", brief(now-x.since))
	case form == api.PathDown && !x.pings:
		return x.why + "; it is hidden, so it has to begin"
	case form == api.PathDown:
		return fmt.Sprintf("%s; tried again for %s", x.why, brief(now-x.since))
	case form == api.PathRelay && x.history[len(x.history)-1].why == x.why:
		return fmt.Sprintf("%s; through %s for %s", m.before(x), m.nameOf(via), brief(now-x.since))
	case x.misses > 0:
		return fmt.Sprintf("%d pings are missing", x.misses)
	case x.pings && x.pongAt > 0:
		return "pings come back in " + brief(x.rtt)
	}
	return fmt.Sprintf("last heard %s ago", brief(now-x.heardAt))
}

// before says why the direct path was left.
func (m *Mesh) before(x *path) string {
	for i := len(x.history) - 1; i >= 0; i-- {
		if c := x.history[i]; c.path == api.PathDown {
			return c.why
		}
	}
	return "no direct path was found"
}

// seenNotes tell where others see us, when that is not where the roster says.
func (m *Mesh) seenNotes() []string {
	if m.self.Hidden() || m.self.Mesh.Endpoint == "" {
		return nil
	}
	known := m.lookups.known(m.self.Mesh.Endpoint)
	by := map[string][]string{}
	for _, p := range m.peers {
		if p.seen.IsValid() && len(known) > 0 && !slices.Contains(known, p.seen) {
			by[p.seen.String()] = append(by[p.seen.String()], p.member.Name)
		}
	}
	var out []string
	for at, names := range by {
		slices.Sort(names)
		out = append(out, fmt.Sprintf("%s sees this host at %s, the roster says %s", names[0], at, m.self.Mesh.Endpoint))
	}
	slices.Sort(out)
	return out
}
