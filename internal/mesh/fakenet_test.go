package mesh

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// internet carries what fake tunnels send. It is the network below the mesh: underlay addresses, latency, faults.
type internet struct {
	latency time.Duration

	mu    sync.RWMutex
	at    map[netip.AddrPort]*fakeTunnel
	hops  map[netip.AddrPort]*shim        // sockets of relays
	blind func(from, to *fakeTunnel) bool // UDP from one host to another is swallowed

	largest atomic.Int64 // inner packets that are larger are swallowed where no relay carries them; 0: none are

	control    atomic.Uint64 // bytes of control traffic on the wire
	pings      atomic.Uint64
	tcp        atomic.Uint64
	handshakes atomic.Uint64
	sniff      func(from, to *fakeTunnel, datagram []byte) // sees all that is said inside tunnels
}

func newInternet() *internet {
	return &internet{latency: 10 * time.Millisecond, at: map[netip.AddrPort]*fakeTunnel{}, hops: map[netip.AddrPort]*shim{}, blind: func(_, _ *fakeTunnel) bool { return false }}
}

// block sets the rule for what UDP is swallowed.
func (n *internet) block(blind func(from, to *fakeTunnel) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if blind == nil {
		blind = func(_, _ *fakeTunnel) bool { return false }
	}
	n.blind = blind
}

// Overheads on the wire of one inner packet: outer IPv4 and UDP, WireGuard; and inner IPv6 and UDP.
const (
	wireOverhead = 20 + 8 + 32
	sizeOfShake  = 20 + 8 + 148
)

// packet is one datagram on the wire.
type packet struct {
	from    netip.AddrPort // underlay
	sender  *fakeTunnel
	key     tunnel.Key // of the sender
	to      tunnel.Key // of the receiver
	shake   int        // 0: data, 1: initiation, 2: response
	tai     time.Time
	session uint64
	data    []byte // UDP payload; nil: a keepalive
	src     netip.Addr
}

// fakeTunnel is WireGuard as far as a control plane can tell, on a fake internet.
type fakeTunnel struct {
	net     *internet
	name    string
	address netip.Addr
	hidden  bool
	wrong   time.Duration // how wrong the wall clock is

	down atomic.Bool // the host is off

	mu       sync.Mutex
	key      tunnel.Key
	underlay netip.AddrPort
	peers    map[tunnel.Key]*fakePeer
	byAddr   map[netip.Addr]*fakePeer
	udp      *fakeUDP
	tcp      *fakeListener
	shims    map[netip.AddrPort]*shim // our relay client
	segments map[netip.Addr]int
	sets     int
	keptAt   time.Time // when keepalives were last made believe
}

type fakePeer struct {
	tunnel.Peer
	state   tunnel.PeerState
	session uint64 // 0: none
	prev    uint64 // the one before, on which packets may still come in
	since   time.Time
	tai     time.Time // newest initiation ever shown
	tried   time.Time // our last initiation
	sentAt  time.Time // data since nothing was received
	heardAt time.Time
	staged  []byte
	keptAt  time.Time
}

// shim is a loopback address that leads to a member through a relay.
type shim struct {
	owner   *fakeTunnel
	via, to *fakeTunnel
	local   netip.AddrPort // on the owner
	hop     netip.AddrPort // the relay's socket
	broken  *atomic.Bool
}

func (n *internet) newTunnel(name string, member roster.Member, address netip.Addr, underlay netip.AddrPort) *fakeTunnel {
	t := &fakeTunnel{
		net: n, name: name, address: address, hidden: member.Hidden(), key: tunnel.Key(member.Mesh.Key),
		peers: map[tunnel.Key]*fakePeer{}, byAddr: map[netip.Addr]*fakePeer{},
		shims: map[netip.AddrPort]*shim{}, segments: map[netip.Addr]int{},
	}
	t.move(underlay)
	return t
}

// move gives a host another underlay address.
func (t *fakeTunnel) move(to netip.AddrPort) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.net.at[t.underlay] == t {
		delete(t.net.at, t.underlay)
	}
	t.underlay = to
	t.net.at[to] = t
}

// whereabouts returns the host's underlay address.
func (t *fakeTunnel) whereabouts() netip.AddrPort {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.underlay
}

// rekey gives the host its next key; all sessions end.
func (t *fakeTunnel) rekey(k tunnel.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key = k
	for _, p := range t.peers {
		p.session, p.prev = 0, 0
	}
}

// restart forgets all that the tunnel knew.
func (t *fakeTunnel) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.peers, t.byAddr = map[tunnel.Key]*fakePeer{}, map[netip.Addr]*fakePeer{}
	t.shims = map[netip.AddrPort]*shim{}
}

func (t *fakeTunnel) SetPeers(peers []tunnel.Peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sets++
	now := time.Now()
	old := t.peers
	t.peers, t.byAddr = make(map[tunnel.Key]*fakePeer, len(peers)), make(map[netip.Addr]*fakePeer, len(peers))
	for _, p := range peers {
		o := old[p.Key]
		if o == nil {
			o = &fakePeer{state: tunnel.PeerState{Key: p.Key, Endpoint: p.Endpoint}, keptAt: now}
		}
		if !o.state.Endpoint.IsValid() {
			o.state.Endpoint = p.Endpoint
		}
		o.Peer = p
		t.peers[p.Key] = o
		if p.Address.IsValid() {
			t.byAddr[p.Address] = o
		}
	}
	return nil
}

func (t *fakeTunnel) SetEndpoint(key tunnel.Key, endpoint netip.AddrPort) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[key]
	if p == nil {
		return errors.New("no such peer")
	}
	p.state.Endpoint = endpoint
	return nil
}

func (t *fakeTunnel) Reset(key tunnel.Key) error {
	t.mu.Lock()
	p := t.peers[key]
	if p == nil {
		t.mu.Unlock()
		return errors.New("no such peer")
	}
	p.session, p.prev, p.tai, p.staged = 0, 0, time.Time{}, nil
	p.state.Received, p.state.Sent, p.state.Handshake = 0, 0, time.Time{}
	out := t.initiate(p)
	t.mu.Unlock()
	t.emit(out)
	return nil
}

func (t *fakeTunnel) Peers() ([]tunnel.PeerState, error) {
	t.keepalives()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]tunnel.PeerState, 0, len(t.peers))
	for _, p := range t.peers {
		out = append(out, p.state)
	}
	return out, nil
}

// keepalives makes believe that the other side's keepalives have come in, where they would have. To send them would be
// most of what a simulation does.
func (t *fakeTunnel) keepalives() {
	now := time.Now()
	var due []*fakePeer
	t.mu.Lock()
	if now.Sub(t.keptAt) < time.Second {
		t.mu.Unlock()
		return
	}
	t.keptAt = now
	for _, p := range t.peers {
		if p.session != 0 && now.Sub(p.keptAt) >= hiddenKeepalive {
			due = append(due, p)
		}
	}
	t.mu.Unlock()
	if len(due) == 0 {
		return
	}
	t.net.mu.RLock()
	defer t.net.mu.RUnlock()
	for _, p := range due {
		t.mu.Lock()
		session, prev, endpoint, key, last := p.session, p.prev, p.state.Endpoint, t.key, p.keptAt
		t.mu.Unlock()
		o := t.net.at[endpoint]
		if o == nil || o == t || o.down.Load() || t.net.blind(o, t) {
			continue
		}
		o.mu.Lock()
		q := o.peers[key]
		came := q != nil && q.session != 0 && (q.session == session || q.session == prev) && q.state.Endpoint == t.underlay &&
			q.Keepalive > 0 && now.Sub(last) >= q.Keepalive
		o.mu.Unlock()
		if came {
			t.mu.Lock()
			p.state.Received += 32
			p.keptAt = now
			t.mu.Unlock()
		}
	}
}

func (t *fakeTunnel) SetSegment(address netip.Addr, size int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.segments[address] = size
	return nil
}

func (t *fakeTunnel) Address() netip.Addr { return t.address }
func (t *fakeTunnel) MTU() int            { return 1420 }

// clock is what the host takes for the time.
func (t *fakeTunnel) clock() time.Time { return time.Now().Add(t.wrong) }

var sessions atomic.Uint64

// initiate makes an initiation, where the endpoint is known. It is called with mu held.
func (t *fakeTunnel) initiate(p *fakePeer) *outgoing {
	p.tried = time.Now()
	if !p.state.Endpoint.IsValid() {
		return nil
	}
	p.state.Sent += 148
	return &outgoing{to: p.state.Endpoint, packet: packet{sender: t, from: t.underlay, key: t.key, to: p.Key, shake: 1, tai: t.clock(), session: sessions.Add(1)}}
}

// outgoing is a packet and where it goes.
type outgoing struct {
	to     netip.AddrPort
	packet packet
	later  time.Duration
}

// emit puts a packet on the wire. No lock is held.
func (t *fakeTunnel) emit(o *outgoing) {
	if o == nil {
		return
	}
	n := t.net
	size := uint64(sizeOfShake)
	if o.packet.shake == 0 {
		size = uint64(wireOverhead + headers + len(o.packet.data))
	} else {
		n.handshakes.Add(1)
	}
	n.control.Add(size)
	time.AfterFunc(n.latency+o.later, func() { n.arrive(o.to, o.packet, t) })
}

// arrive takes a packet to whoever is at the address.
func (n *internet) arrive(to netip.AddrPort, p packet, from *fakeTunnel) {
	n.mu.RLock()
	var target *fakeTunnel
	if to.Addr().IsLoopback() {
		from.mu.Lock()
		s := from.shims[to]
		from.mu.Unlock()
		if s == nil {
			target, p = n.backThroughRelay(to, p, from)
			n.mu.RUnlock()
			if target != nil {
				target.receive(p)
			}
			return
		}
		if s.via.down.Load() || s.broken.Load() { // TLS gets through what UDP does not
			n.mu.RUnlock()
			return
		}
		hop := s.hop
		if s.via == s.to || !n.blind(s.via, s.to) {
			target = s.to
		}
		p.from = hop
	} else if o := n.at[to]; o != nil {
		limit := n.largest.Load()
		fits := limit == 0 || p.shake != 0 || int64(len(p.data)+headers) <= limit
		if o != from && !n.blind(from, o) && fits {
			target = o
		}
	} else {
		target, p = n.backThroughRelay(to, p, from)
	}
	n.mu.RUnlock()
	if target != nil {
		target.receive(p)
	}
}

// backThroughRelay finds whose relay socket an address is.
func (n *internet) backThroughRelay(to netip.AddrPort, p packet, from *fakeTunnel) (*fakeTunnel, packet) {
	if s := n.hops[to]; s != nil && !s.via.down.Load() && !s.broken.Load() && (from == s.via || !n.blind(from, s.via)) {
		p.from = s.local
		return s.owner, p
	}
	return nil, p
}

// receive decrypts a packet.
func (t *fakeTunnel) receive(p packet) {
	t.mu.Lock()
	peer := t.peers[p.key]
	if t.down.Load() || peer == nil || p.to != t.key {
		t.mu.Unlock()
		return
	}
	now := time.Now()
	var replies []*outgoing
	var inner []byte
	heard := func(n int) {
		peer.state.Received += uint64(n)
		peer.state.Endpoint = p.from
		peer.heardAt, peer.sentAt = now, time.Time{}
	}
	switch p.shake {
	case 1:
		if !p.tai.After(peer.tai) {
			t.mu.Unlock()
			return
		}
		peer.tai = p.tai
		heard(148)
		peer.prev, peer.session, peer.since, peer.state.Handshake = peer.session, p.session, now, t.clock()
		replies = append(replies, &outgoing{to: p.from, packet: packet{sender: t, from: t.underlay, key: t.key, to: peer.Key, shake: 2, session: p.session}})
		if out := t.flush(peer); out != nil {
			out.later = time.Millisecond // behind the response
			replies = append(replies, out)
		}
	case 2:
		heard(92)
		peer.prev, peer.session, peer.since, peer.state.Handshake = peer.session, p.session, now, t.clock()
		replies = append(replies, t.flush(peer))
	default:
		if p.session == 0 || peer.session != p.session && peer.prev != p.session || now.Sub(peer.since) > 180*time.Second {
			t.mu.Unlock()
			return
		}
		heard(32 + headers + len(p.data))
		if p.data != nil && peer.Address == p.src {
			inner = p.data
		}
	}
	udp := t.udp
	t.mu.Unlock()
	for _, r := range replies {
		t.emit(r)
	}
	if inner != nil && udp != nil {
		if t.net.sniff != nil {
			t.net.sniff(p.sender, t, inner)
		}
		udp.deliver(inner, p.src)
	}
}

// flush sends what waited for a session.
func (t *fakeTunnel) flush(p *fakePeer) *outgoing {
	if p.staged == nil {
		return nil
	}
	b := p.staged
	p.staged = nil
	return t.data(p, b)
}

func (t *fakeTunnel) data(p *fakePeer, b []byte) *outgoing {
	p.state.Sent += uint64(len(b) + 80)
	if p.sentAt.IsZero() {
		p.sentAt = time.Now()
	}
	return &outgoing{to: p.state.Endpoint, packet: packet{sender: t, from: t.underlay, key: t.key, to: p.Key, session: p.session, data: b, src: t.address}}
}

// sendUDP is what WireGuard does with an inner packet.
func (t *fakeTunnel) sendUDP(b []byte, to netip.Addr) {
	t.mu.Lock()
	p := t.byAddr[to]
	if p == nil || t.down.Load() || !p.state.Endpoint.IsValid() {
		t.mu.Unlock()
		return
	}
	now := time.Now()
	var out []*outgoing
	age := now.Sub(p.since)
	if p.session != 0 && age > 180*time.Second {
		p.session = 0
	}
	stale := p.session == 0 || age > 120*time.Second || !p.sentAt.IsZero() && now.Sub(p.sentAt) > 15*time.Second
	if stale && now.Sub(p.tried) >= 5*time.Second {
		out = append(out, t.initiate(p))
	}
	if p.session == 0 {
		p.staged = bytes.Clone(b)
	} else {
		out = append(out, t.data(p, bytes.Clone(b)))
	}
	t.mu.Unlock()
	for _, o := range out {
		t.emit(o)
	}
}
