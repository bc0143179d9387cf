package mesh

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// How long things take on a path.
const (
	patience    = time.Second             // a pong is awaited, or three round trips if those are longer
	maxPatience = 3 * time.Second         // also by a try
	passivePace = 5 * time.Second         // between two tries of the side that leaves the repair to the other one
	passiveWait = 2 * time.Second         // before the first of them
	resetPace   = 15 * time.Second        // see tunnel.Tunnel.Reset
	idleSilence = 45 * time.Second        // without pings, a little less than two keepalives
	probePause  = 1500 * time.Millisecond // how long a probe for a direct path may interrupt the relay
	settling    = 3 * time.Second         // a relay stays open after the direct path came back
	steady      = time.Minute             // a direct path that held so long is trusted again
	relayPause  = 2 * time.Second         // a relay may take to open
	lostAfter   = 3                       // pings
	oneWayAfter = 6                       // pings without a pong make a path dead that packets come in on
	maxDirect   = 4                       // direct candidates in a cycle
	maxRelays   = 3                       // relays in a cycle
	maxWaiting  = 16                      // pings that a late pong is recognized of
	maxHistory  = 16
)

// probeWaits are the times on a relay before the direct path is probed, again and again; the last one repeats.
var probeWaits = []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second}

// instant is a time on the monotonic clock, since the mesh began.
type instant = time.Duration

// deed is something a path wants done.
type deed struct {
	kind deedKind
	to   netip.AddrPort // of aim
	via  roster.Key     // of openRelay
	ask  uint64         // nonce of sendPing
	size int            // of the inner packet of sendPing; 0: as small as it is
}

type deedKind uint8

const (
	sendPing  deedKind = iota
	reset              // the session, and shake hands anew
	aim                // set the peer's endpoint
	openRelay          // and say so to relayOpened or relayFailed
	closeRelay
)

// phase is how well a path does.
type phase uint8

const (
	fresh phase = iota // nothing came from the peer yet
	up
	down
)

// world is what a path looks at when it decides. The tunnel's endpoint in it is of this very moment.
type world struct {
	endpoint netip.AddrPort   // where the tunnel sends to the peer now
	direct   []netip.AddrPort // where else the peer may be, best first
	relays   []roster.Key     // members who may relay to it, best first
	pace     time.Duration    // between pings while all is well; 0: none
}

// The turns of a search: ask, shake hands anew where we are, then one way after the other, in circles.
const (
	turnAsk = iota
	turnReset
	turnCycle
)

// path decides how one peer is reached. It is pure: what happens goes in as calls, what to do comes out as deeds.
//
// One side of each pair is active: it tries one way after the other until something comes back. The other side only
// keeps its own end fit, so that the two do not turn away from each other.
type path struct {
	active bool          // this side repairs
	pings  bool          // this side may ask the other one
	nonce  func() uint64 // for pings

	phase phase
	since instant // of the form that the path has
	why   string  // of the same, or of what is being tried

	heardAt instant // the last sign of life that the tunnel vouches for
	heard   bool    // there was one ever
	beats   int     // pings from the peer in a row that came about every second
	asked   instant // the last ping from the peer
	oneWay  int     // pings in a row without a pong while packets came in
	chance  instant // pings before do not count for that

	waiting   []sentPing
	misses    int
	firstMiss instant // when the first ping of those missed was sent
	pongAt    instant
	rtt       time.Duration // smoothed
	lost      uint64        // the last 60 pings, newest lowest
	sent      int           // how many of these there are

	nextPing  instant // 0: none is planned
	nextTry   instant
	lastTry   instant
	lastReset instant
	turn      int

	endpoint netip.AddrPort // where the tunnel sends, as far as we know
	good     netip.AddrPort // the last direct one that a pong came over

	relay   relaying
	probe   probing
	detour  detouring
	history []change
}

// sentPing is a ping that has no answer yet.
type sentPing struct {
	nonce  uint64
	at     instant
	missed bool
	probe  bool // over the direct path, while the relay works
}

// relaying is the way through a relay that a path has, wants or leaves.
type relaying struct {
	via     roster.Key
	addr    netip.AddrPort // valid while open
	opening []openingRelay
	awaited roster.Key // whose turn has come, and who is not open yet
}

// openingRelay is a relay that was asked for.
type openingRelay struct {
	via   roster.Key
	asked instant
}

// isOpening returns when a relay was asked for that has not answered yet.
func (r *relaying) isOpening(via roster.Key) (asked instant, ok bool) {
	for _, o := range r.opening {
		if o.via == via {
			return o.asked, true
		}
	}
	return 0, false
}

// answered takes note that a relay that was asked for is open, or cannot be had.
func (r *relaying) answered(via roster.Key) {
	r.opening = slices.DeleteFunc(r.opening, func(o openingRelay) bool { return o.via == via })
	if r.awaited == via {
		r.awaited = roster.Key{}
	}
}

// probing is the search for a direct path while a relay works.
type probing struct {
	next    instant
	count   int // without lasting success
	to      netip.AddrPort
	until   instant // the probe that is under way ends; 0: none is
	settled instant // a direct path was found, the relay is left then; 0: none was
}

// detouring is the use of a relay because the direct path swallows packets of a size that everybody sends, and lets small
// ones pass. The direct path is taken again when a large one comes back.
type detouring struct {
	narrow bool    // the direct path
	next   instant // the next step on the way to the relay
	vain   int     // relays that carried nothing either
}

// change is one entry of a path's history.
type change struct {
	at   instant
	path string
	via  roster.Key
	why  string
}

// newPath returns the path to a peer of whom nothing was heard. A first ping is due at once.
func newPath(active, pings bool, now instant, nonce func() uint64) path {
	p := path{active: active, pings: pings, nonce: nonce, since: now, lastReset: now, lastTry: now, heardAt: now, nextTry: now}
	p.why = "nothing came back yet"
	if !pings {
		p.nextTry = now + resetPace
	}
	return p
}

// form returns which kind of path this is, and through whom.
func (p *path) form() (string, roster.Key) {
	switch {
	case p.phase != up:
		return api.PathDown, roster.Key{}
	case p.relayed() || p.probe.until != 0:
		return api.PathRelay, p.relay.via
	}
	return api.PathDirect, roster.Key{}
}

// relayed reports whether the tunnel sends to our own relay client.
func (p *path) relayed() bool { return p.relay.addr.IsValid() && p.endpoint == p.relay.addr }

// note writes a change of form into the history, if there is one.
func (p *path) note(now instant, before string, via roster.Key, why string) {
	path, now2 := p.form()
	if path == before && now2 == via {
		return
	}
	p.since, p.why = now, why
	p.history = append(p.history, change{at: now, path: path, via: now2, why: why})
	if n := len(p.history) - maxHistory; n > 0 {
		p.history = slices.Delete(p.history, 0, n)
	}
}

// wait is how long a pong is awaited.
func (p *path) wait() time.Duration { return min(max(patience, 3*p.rtt), maxPatience) }

// hear takes note of a sign of life at a moment that is not after now.
func (p *path) hear(at instant) {
	if at > p.heardAt || !p.heard {
		if !p.heard || at-p.heardAt > passivePace {
			p.oneWay, p.chance = 0, at // it was gone, and gets time to answer
		}
		p.heardAt, p.heard = max(at, p.heardAt), true
	}
}

// pinged takes note of a ping from the peer.
func (p *path) pinged(now instant) {
	switch gap := now - p.asked; {
	case gap > 2*patience:
		p.beats, p.asked = 0, now
	case gap > patience/2: // and not a probe of sizes
		p.beats, p.asked = p.beats+1, now
	}
	p.hear(now)
	if !p.pings {
		p.rise(now, "its pings come in")
	} else if p.phase != up {
		p.nextTry = min(p.nextTry, max(now, p.lastTry+p.wait()/4)) // it is there: ask it soon
	}
}

// look takes note of what the tunnel says. Whether something was received since the look before, which was at before,
// is advanced.
func (p *path) look(now, before instant, endpoint netip.AddrPort, advanced bool) {
	switch {
	case advanced && p.pings && p.heard:
		p.hear(before)
	case advanced && p.pings:
		p.hear(now)
	case advanced:
		if p.phase != up {
			p.beats = 0 // it does not ping us every second
		}
		p.hear(now)
		p.rise(now, "its packets come in")
	}
	form, via := p.form()
	if advanced && endpoint != p.endpoint {
		p.oneWay, p.chance = 0, now // it is heard from elsewhere, and gets time to answer there
	}
	p.endpoint = endpoint
	if p.probe.until != 0 || p.phase != up {
		return
	}
	switch now2, _ := p.form(); {
	case now2 == form:
	case now2 == api.PathRelay:
		p.note(now, form, via, "its packets came through the relay")
		p.planProbe(now)
	default:
		p.note(now, form, via, "its packets came straight")
	}
}

// rise makes a path that was not up one.
func (p *path) rise(now instant, why string) {
	if p.phase == up {
		return
	}
	before, via := p.form()
	p.phase = up
	p.misses, p.oneWay = 0, 0
	p.note(now, before, via, why)
	if p.relayed() {
		p.planProbe(now)
	}
}

// fall makes a path that was up a dead one.
func (p *path) fall(now instant, why string) {
	before, via := p.form()
	p.phase, p.turn, p.lastTry, p.nextTry = down, turnReset, now, now
	if before == api.PathDirect && now-p.since >= steady {
		p.probe.count = 0
	}
	p.probe.until, p.probe.settled = 0, 0
	p.endDetour(now, before)
	p.note(now, before, via, why)
	switch {
	case !p.pings:
		p.nextTry = max(now, p.heardAt+resetPace)
	case !p.active:
		p.nextTry = now + passiveWait
	}
}

// ask sends a ping.
func (p *path) ask(now instant, probe bool) deed {
	n := p.nonce()
	if len(p.waiting) >= maxWaiting {
		p.waiting = slices.Delete(p.waiting, 0, 1)
	}
	p.waiting = append(p.waiting, sentPing{nonce: n, at: now, probe: probe})
	return deed{kind: sendPing, ask: n}
}

// pong takes note of an answer, and reports whether it is one. The endpoint of w must be of this moment.
func (p *path) pong(now instant, nonce uint64, w world) ([]deed, bool) {
	i := slices.IndexFunc(p.waiting, func(s sentPing) bool { return s.nonce == nonce })
	if i < 0 {
		return nil, false
	}
	s := p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	if rtt := now - s.at; p.rtt == 0 {
		p.rtt = rtt
	} else {
		p.rtt += (rtt - p.rtt) / 8
	}
	if !s.missed {
		p.record(false)
	}
	p.hear(now)
	p.pongAt, p.misses, p.oneWay = now, 0, 0
	p.waiting = slices.DeleteFunc(p.waiting, func(o sentPing) bool { return o.missed || !o.probe && o.at <= s.at })
	before, via := p.form()
	p.endpoint = w.endpoint
	p.rise(now, fmt.Sprintf("a ping came back in %s", brief(now-s.at)))
	p.regular(now, w.pace)
	if p.probe.until != 0 {
		return p.probed(now, s, before, via), true
	}
	if !p.relayed() {
		p.good = p.endpoint
	}
	return nil, true
}

// probed ends a probe, if what came back is its answer. An answer to a ping that went through the relay says nothing,
// nor does one after which the tunnel sends to the relay again.
func (p *path) probed(now instant, s sentPing, before string, via roster.Key) []deed {
	if !s.probe || p.relayed() {
		return nil
	}
	p.probe.until = 0
	p.probe.settled = now + settling
	p.detour = detouring{}
	p.good = p.endpoint
	p.note(now, before, via, "a ping came back on the direct path")
	return nil
}

// record adds a ping to those that loss is counted over.
func (p *path) record(lost bool) {
	p.lost <<= 1
	if lost {
		p.lost |= 1
	}
	p.lost &= 1<<60 - 1
	p.sent = min(p.sent+1, 60)
}

// loss is the part of the last 60 pings that had no answer in time.
func (p *path) loss() float64 {
	if p.sent == 0 {
		return 0
	}
	return float64(bits.OnesCount64(p.lost)) / float64(p.sent)
}

// suspect is to be called when the path may have changed under us: a ping goes out at once, and then each second until
// a pong comes.
func (p *path) suspect(now instant) {
	p.nextPing = now
	if n := len(p.waiting); n > 0 { // changes come in groups
		p.nextPing = max(now, p.waiting[n-1].at+patience/4)
	}
	if p.phase != up {
		p.nextTry, p.turn = now, turnReset
	}
	if p.relayed() {
		p.probe.count = 0
		p.probe.next = min(p.probe.next, now+probeWaits[0])
	}
}

// regular sees to it that a peer with a pace is pinged.
func (p *path) regular(now instant, pace time.Duration) {
	if p.phase == up && p.pings && pace > 0 && p.nextPing == 0 {
		p.nextPing = now + pace
	}
}

// retry makes a dead path try its best way at a moment, whenever it would have tried next.
func (p *path) retry(at instant) {
	if p.phase == down {
		p.nextTry, p.turn = at, turnCycle
	}
}

// hint tells where somebody heard the peer just now. It is tried at once when pings are missing.
func (p *path) hint(now instant, to netip.AddrPort) []deed {
	if !p.pings || to == p.endpoint || p.relayed() || p.probe.until != 0 {
		return nil
	}
	if p.phase != up {
		if p.heardLately() {
			return nil
		}
		return p.direct(now, to)
	}
	if p.misses == 0 || p.heardAt >= p.firstMiss {
		return nil
	}
	p.lastTry, p.endpoint = now, to
	return []deed{{kind: aim, to: to}, p.ask(now, false)}
}

// relayOpened tells where the relay's end on this host is. A dead path tries it at once: whether a direct one works can
// be found out from there.
func (p *path) relayOpened(now instant, via roster.Key, at netip.AddrPort) {
	p.relay.answered(via)
	p.relay.via, p.relay.addr = via, at
	if p.phase != up && p.turn >= turnCycle {
		p.turn, p.relay.awaited = turnCycle, roster.Key{}
		p.nextTry = min(p.nextTry, max(now, p.lastTry+p.wait()/4))
	}
}

// relayFailed tells that a relay that was asked for cannot be had.
func (p *path) relayFailed(now instant, via roster.Key) {
	awaited := p.relay.awaited == via
	p.relay.answered(via)
	if p.phase != up && awaited {
		p.turn++
		p.nextTry = min(p.nextTry, max(now, p.lastTry+p.wait()/4))
	}
}

// brief prints a duration as people say it.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// relayLost tells that the relay is not to be used any more.
func (p *path) relayLost(now instant) {
	if p.phase == up && p.relayed() {
		p.fall(now, "the relay is none any more")
	}
	p.relay, p.probe.until, p.probe.settled = relaying{}, 0, 0
}
