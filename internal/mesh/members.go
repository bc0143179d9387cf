package mesh

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// How often the tunnel is kept open from our side.
const (
	hiddenKeepalive = 15 * time.Second // NATs forget UDP after 30 s and more
	keepalive       = 25 * time.Second
)

// peer is a member that we have a tunnel with.
type peer struct {
	member *roster.Member
	addr   netip.Addr
	key    tunnel.Key // that the address belongs to now: of Mesh.Key and Mesh.Next the one that shook hands last
	path   path
	state  tunnel.PeerState // of key, as last seen
	shook  instant          // when its handshake was seen to change
	next   nextKey
	seen   netip.AddrPort   // where it sees us
	known  []netip.AddrPort // where the roster says it is, as far as that is known

	partner bool // pinged regularly, see choosePartners
	asks    *rate.Limiter
	fetch   fetching
	size    sizing
	hints   []hint

	due   instant
	index int // in the schedule
}

// nextKey is what is known of the tunnel key that a peer may use and does not.
type nextKey struct {
	state tunnel.PeerState
	shook instant
	asked instant
}

// members are who is in the mesh with us.
type members struct {
	self       roster.Member // zero while the rosters do not know us
	deployment roster.Hash
	address    netip.Addr
	effective  *roster.Roster
	peers      map[roster.Key]*peer
	byAddr     map[netip.Addr]*peer
	byKey      map[tunnel.Key]*peer // under Mesh.Key and Mesh.Next
	set        []tunnel.Peer        // what the tunnel has, sorted by key
	isSet      bool
	others     map[roster.Key]bool // non-hidden members other than us
	compared   map[roster.Key]bool // those of them we compared rosters with
	partners   []*peer
	relayers   []*peer // who relay
	rotating   bool    // somebody may use two keys
	setAgainAt instant
}

func (m *members) init() {
	m.peers, m.byAddr, m.byKey = map[roster.Key]*peer{}, map[netip.Addr]*peer{}, map[tunnel.Key]*peer{}
	m.others, m.compared = map[roster.Key]bool{}, map[roster.Key]bool{}
}

// obey makes the tunnel and the peers what the rosters say. First of all, whoever has left is cut off.
func (m *Mesh) obey() {
	state := m.c.Rosters.State()
	changed := m.rosters.update(state)
	if !changed && m.isSet {
		return
	}
	m.effective = state.Effective
	wanted := m.wantedPeers(state.Effective)
	m.replacePeers(wanted)
	m.setPeers()
	m.choosePartners()
	m.forgetOthers()
	m.cutRelays()
	m.tellSoon()
	m.log.Info("obey rosters", "generation", m.rosters.generation, "fork", m.rosters.fork, "peers", len(m.peers))
}

// wantedPeers returns the members that we are to have tunnels with; none where the rosters do not know us.
func (m *Mesh) wantedPeers(r *roster.Roster) map[roster.Key]*roster.Member {
	wanted := map[roster.Key]*roster.Member{}
	m.self, m.others = roster.Member{}, map[roster.Key]bool{}
	if r == nil {
		return wanted
	}
	self, known := r.MemberByIdentity(m.c.Self)
	if !known || !self.InMesh() {
		m.notes.put("self", "the rosters do not have this host in the mesh: it has no peers")
		return wanted
	}
	m.notes.drop("self")
	m.self = self
	m.deployment = r.DeploymentID()
	m.address = roster.MeshAddress(m.deployment, m.c.Self)
	for i := range r.Members {
		o := &r.Members[i]
		if o.Identity == m.c.Self || !o.InMesh() {
			continue
		}
		if !o.Hidden() {
			m.others[o.Identity] = true
		}
		if access.Linked(self.Role, o.Role) {
			wanted[o.Identity] = o
		}
	}
	return wanted
}

// replacePeers keeps, makes and drops peers.
func (m *Mesh) replacePeers(wanted map[roster.Key]*roster.Member) {
	for id, p := range m.peers {
		if wanted[id] == nil {
			m.drop(p)
			m.closeRelay(id)
			delete(m.peers, id)
			delete(m.byAddr, p.addr)
		}
	}
	now := m.now()
	clear(m.byKey)
	m.relayers = nil
	m.rotating = false
	for id, member := range wanted {
		key, next := tunnel.Key(member.Mesh.Key), tunnel.Key(member.Mesh.Next)
		p := m.peers[id]
		if p == nil {
			p = m.newPeer(member, now)
		}
		if p.key != key && (p.key != next || next.IsZero()) {
			p.key, p.state = key, tunnel.PeerState{}
		}
		p.member = member
		if other := p.other(); p.next.state.Key != other {
			p.next = nextKey{}
		}
		p.path.active = m.active(member)
		m.locate(p)
		if member.Mesh.Relay != "" && !member.Hidden() {
			m.relayers = append(m.relayers, p)
		}
		m.byKey[key] = p
		if !next.IsZero() {
			m.byKey[next] = p
			m.rotating = true
		}
	}
}

// newPeer adds a peer.
func (m *Mesh) newPeer(member *roster.Member, now instant) *peer {
	p := &peer{member: member, key: tunnel.Key(member.Mesh.Key), index: -1, asks: newLimiter(), fetch: fetching{given: newGiving()}}
	p.addr = roster.MeshAddress(m.deployment, member.Identity)
	p.path = newPath(m.active(member), access.Allowed(m.self.Role, member.Role, access.Control), now, m.rnd.Uint64)
	m.peers[member.Identity] = p
	m.byAddr[p.addr] = p
	return p
}

// locate takes over what is known of where the roster says a peer is.
func (m *Mesh) locate(p *peer) {
	p.known = m.lookups.known(p.member.Mesh.Endpoint)
}

// home returns the first address of those, if there is one.
func (p *peer) home() netip.AddrPort {
	if len(p.known) == 0 {
		return netip.AddrPort{}
	}
	return p.known[0]
}

// active reports whether it is on us to repair the path to a member: on the hidden one of two, else on the one with the
// smaller key.
func (m *Mesh) active(o *roster.Member) bool {
	if m.self.Hidden() != o.Hidden() {
		return m.self.Hidden()
	}
	return bytes.Compare(m.self.Mesh.Key[:], o.Mesh.Key[:]) < 0
}

// setPeers tells the tunnel who its peers are, when that changed.
func (m *Mesh) setPeers() {
	every := keepalive
	if m.self.Hidden() {
		every = hiddenKeepalive
	}
	var want []tunnel.Peer
	for _, p := range m.peers {
		var at netip.AddrPort
		if known := m.lookups.known(p.member.Mesh.Endpoint); len(known) > 0 {
			at = known[0]
		}
		alive := every
		if p.member.Hidden() && !m.self.Hidden() {
			alive = 0 // it keeps the way open, and before it has called there is nowhere to send to
		}
		want = append(want, tunnel.Peer{Key: p.key, Address: p.addr, Endpoint: at, Keepalive: alive})
		if k := p.other(); !k.IsZero() {
			want = append(want, tunnel.Peer{Key: k, Endpoint: p.home()})
		}
	}
	slices.SortFunc(want, func(a, b tunnel.Peer) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	if m.isSet && slices.Equal(want, m.set) {
		return
	}
	if err := m.c.Tunnel.SetPeers(want); err != nil {
		m.isSet, m.setAgainAt = false, m.now()+time.Second
		m.notes.put("set peers", "the tunnel did not take its peers: "+err.Error())
		m.log.Error("set peers", "err", err)
		return
	}
	m.notes.drop("set peers")
	m.isSet, m.set = true, want
}

// maxPartners is how many peers a host pings regularly.
const maxPartners = 16

// choosePartners chooses the peers that are pinged regularly: all when they are few, else those whose hash together
// with ours is least, so that each host has others and the choice is stable.
func (m *Mesh) choosePartners() {
	m.partners = m.partners[:0]
	for _, p := range m.peers {
		if p.path.pings {
			m.partners = append(m.partners, p)
		}
	}
	order := func(p *peer) uint64 {
		h := fnv.New64a()
		h.Write(m.c.Self[:])
		h.Write(p.member.Identity[:])
		return h.Sum64()
	}
	slices.SortFunc(m.partners, func(a, b *peer) int { return cmp.Compare(order(a), order(b)) })
	m.partners = capped(m.partners, maxPartners)
	for _, p := range m.peers {
		p.partner = false
	}
	now := m.now()
	for _, p := range m.partners {
		p.partner = true
		p.path.regular(now, 1)
	}
	for _, active := range []bool{true, false} { // who is pinged first is up when its own turn to ping comes
		for _, p := range m.peers {
			if p.path.active != active {
				continue
			}
			if p.index < 0 {
				m.start(p, now)
			}
			m.plan(p)
		}
	}
}

// forgetOthers drops from those we compared with who is no member any more.
func (m *Mesh) forgetOthers() {
	for id := range m.compared {
		if !m.others[id] {
			delete(m.compared, id)
		}
	}
}

// learned reports whether rosters were compared with at least half of the other members that are not hidden.
func (m *Mesh) learned() bool {
	return m.started && m.self.Identity == m.c.Self && 2*len(m.compared) >= len(m.others)
}
