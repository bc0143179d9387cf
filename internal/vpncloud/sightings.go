package vpncloud

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// session is a peer that the program has now, by underlay address: it never tells keys.
type session struct {
	since  time.Time      // when the program took it in
	claims []netip.Prefix // what it says is its own
}

func (s session) claimsAddress(a netip.Addr) bool {
	return slices.Contains(s.claims, netip.PrefixFrom(a, a.BitLen()))
}

// record outlives the sessions of a member.
type record struct {
	handshake      time.Time
	endpoint       netip.AddrPort
	received, sent uint64
}

// sightings is what the program's log, hooks and statistics tell of peers. Whose a session is follows from what it claims,
// which the program does not check.
type sightings struct {
	sessions map[netip.AddrPort]session
	records  map[netip.Addr]record // by mesh address
	counted  time.Time             // when the statistics were written that were counted last
}

func newSightings() sightings {
	return sightings{sessions: map[netip.AddrPort]session{}, records: map[netip.Addr]record{}}
}

// clear forgets the sessions: a program starts or has ended.
func (s *sightings) clear() { clear(s.sessions) }

// forget drops the records of members that are no peers any more.
func (s *sightings) forget(peers []tunnel.Peer) {
	maps.DeleteFunc(s.records, func(a netip.Addr, _ record) bool {
		return !slices.ContainsFunc(peers, func(p tunnel.Peer) bool { return p.Address == a })
	})
}

// added takes the log's word that the program took in a peer. What it claims comes with the hook, sooner or later.
func (s *sightings) added(peer netip.AddrPort, at time.Time) {
	s.sessions[peer] = session{since: at, claims: s.sessions[peer].claims}
	s.note(peer)
}

func (s *sightings) claimed(peer netip.AddrPort, claims []netip.Prefix, at time.Time) {
	since := s.sessions[peer].since
	if since.IsZero() {
		since = at
	}
	s.sessions[peer] = session{since: since, claims: claims}
	s.note(peer)
}

func (s *sightings) note(peer netip.AddrPort) {
	for _, claim := range s.sessions[peer].claims {
		if r := s.records[claim.Addr()]; claim.IsSingleIP() {
			r.handshake, r.endpoint = s.sessions[peer].since, peer
			s.records[claim.Addr()] = r
		}
	}
}

func (s *sightings) gone(peer netip.AddrPort) { delete(s.sessions, peer) }

// count takes statistics that were written at a time. They hold the bytes of one period, and each is counted once.
func (s *sightings) count(st stats, at time.Time) {
	if at.Equal(s.counted) {
		return
	}
	s.counted = at
	for peer, claims := range st.claims {
		if _, ok := s.sessions[peer]; ok {
			s.claimed(peer, claims, at) // claims can change without a word
		}
	}
	for peer, t := range st.traffic {
		for a, r := range s.records {
			if s.sessions[peer].claimsAddress(a) || r.endpoint == peer {
				r.received += t.received
				r.sent += t.sent
				s.records[a] = r
			}
		}
	}
}

func (s *sightings) state(p tunnel.Peer) tunnel.PeerState {
	r := s.records[p.Address]
	if !p.Address.IsValid() {
		r = record{}
	}
	state := tunnel.PeerState{Key: p.Key, Endpoint: p.Endpoint, Handshake: r.handshake, Received: r.received, Sent: r.sent}
	if session, ok := s.sessions[r.endpoint]; ok && session.claimsAddress(p.Address) {
		state.Endpoint = r.endpoint
	}
	return state
}

// oddity says whether a member claims what is not its own, as far as can be seen. Claims are not proof of anything, but one
// that is wrong shows that its member is not what it should be.
func (s *sightings) oddity(peers []tunnel.Peer, now time.Time) string {
	holders := map[netip.Prefix]int{}
	for _, session := range s.sessions {
		for _, claim := range session.claims {
			own := func(p tunnel.Peer) bool { return claim.IsSingleIP() && p.Address == claim.Addr() }
			if !slices.ContainsFunc(peers, own) {
				return fmt.Sprintf("a member claims %v inside the mesh, which is no member's: find out which and remove it", claim)
			}
			if now.Sub(session.since) > 2*peerTimeout*time.Second { // one that moved has two sessions for a while
				holders[claim]++
			}
		}
	}
	for claim, n := range holders {
		if n > 1 {
			return fmt.Sprintf("%d members claim %v: find out who is not the one and remove it", n, claim.Addr())
		}
	}
	return ""
}
