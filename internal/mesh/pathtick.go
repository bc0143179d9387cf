package mesh

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// never is an instant that does not come.
const never = instant(math.MaxInt64)

// due returns when tick wants to be called next.
func (p *path) due(pace time.Duration) instant {
	if p.phase != up {
		return p.nextTry
	}
	at := never
	for _, s := range p.waiting {
		if !s.missed {
			at = min(at, s.at+p.wait())
		}
	}
	if p.pings && p.nextPing != 0 {
		at = min(at, p.nextPing)
	}
	if p.probe.until != 0 {
		at = min(at, p.probe.until)
	} else if p.probe.settled != 0 {
		at = min(at, p.probe.settled)
	} else if p.active && p.relayed() {
		at = min(at, p.probe.next)
	} else if p.detour.narrow {
		at = min(at, p.detour.next)
	}
	if !p.pings || pace == 0 && p.idle() {
		at = min(at, p.heardAt+p.silence())
	}
	return at
}

// idle reports whether no pong is awaited or missed.
func (p *path) idle() bool { return p.misses == 0 && len(p.waiting) == 0 }

// urgent reports whether a tick now would look at what the tunnel says.
func (p *path) urgent(now instant) bool {
	if p.phase != up {
		return p.turn > turnAsk && now >= p.nextTry
	}
	overdue := slices.ContainsFunc(p.waiting, func(s sentPing) bool { return !s.missed && now >= s.at+p.wait() })
	return overdue || p.probe.until != 0 || p.probe.settled != 0 || !p.pings || p.relayed() && now >= p.probe.next ||
		p.detour.narrow && now >= p.detour.next
}

// silence is how long a peer that is not pinged regularly may say nothing.
func (p *path) silence() time.Duration {
	if !p.pings && p.beats >= lostAfter {
		return 4 * patience
	}
	return idleSilence
}

// tick does what is due. Before it, look must have been told what the tunnel says now.
func (p *path) tick(now instant, w world) []deed {
	p.endpoint = w.endpoint
	p.expire(now)
	switch {
	case p.phase != up:
		if now >= p.nextTry {
			return p.try(now, w)
		}
		return nil
	case p.dead(now):
		p.fall(now, p.reason(now))
		return p.tick(now, w)
	}
	deeds := append(p.leaveRelay(now, w), p.takeDetour(now, w)...)
	if !p.pings {
		return deeds
	}
	if w.pace == 0 && now >= p.heardAt+p.silence() && p.idle() {
		p.nextPing = now
	}
	if p.nextPing != 0 && now >= p.nextPing {
		p.nextPing = 0
		if w.pace > 0 {
			p.nextPing = now + w.pace
		}
		if p.probe.until == 0 {
			deeds = append(deeds, p.ask(now, false))
		}
	}
	return deeds
}

// expire counts pings whose pong did not come in time.
func (p *path) expire(now instant) {
	for i := range p.waiting {
		s := &p.waiting[i]
		if s.missed || now < s.at+p.wait() {
			continue
		}
		s.missed = true
		if s.probe {
			continue
		}
		p.record(true)
		if p.misses == 0 {
			p.firstMiss = s.at
		}
		p.misses++
		if s.at > p.chance {
			p.oneWay++
		}
		p.nextPing = now // once a second from now on
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(s sentPing) bool { return now-s.at > 10*time.Second })
}

// dead reports whether a path that was up is not any more. What comes in counts for life, unless pongs stay out for so
// long that it must be one-way.
func (p *path) dead(now instant) bool {
	if !p.pings {
		return now-p.heardAt >= p.silence()
	}
	return p.misses >= lostAfter && p.heardAt < p.firstMiss || p.misses >= oneWayAfter
}

// reason says in words why a path is dead.
func (p *path) reason(now instant) string {
	if p.pings && p.heardAt >= p.firstMiss {
		return fmt.Sprintf("packets come in, but %d pings in a row had no answer", p.misses)
	}
	what := "UDP"
	if p.relayed() {
		what = "the relay"
	}
	return fmt.Sprintf("%s was silent for %s", what, brief(now-p.heardAt))
}

// heardLately reports whether the tunnel heard the peer since the last try: then it is left where it is, so that it can
// answer there. That holds for some pings, not for a path that is one-way.
func (p *path) heardLately() bool {
	return p.heard && p.heardAt >= p.lastTry && p.oneWay < oneWayAfter
}

// try takes the next step of the search for a way to the peer.
func (p *path) try(now instant, w world) []deed {
	if !p.pings {
		if p.nextTry = p.heardAt + resetPace; now < p.nextTry {
			return nil
		}
		p.lastTry, p.lastReset, p.nextTry = now, now, now+resetPace
		return []deed{{kind: reset}}
	}
	if p.turn == turnAsk || p.heardLately() {
		if p.turn > turnAsk { // nobody looked at the tunnel for the first one
			p.lastTry = now
		}
		p.turn, p.nextTry = max(p.turn, turnReset), now+p.wait()
		if !p.active {
			p.nextTry = now + passivePace
		}
		return []deed{p.ask(now, false)}
	}
	if !p.active {
		return p.tryPassive(now, w)
	}
	if p.turn == turnReset {
		p.turn = turnCycle
		deeds := p.direct(now, p.endpoint)
		if len(w.relays) > 0 { // so that it is open when its turn comes
			deeds = append(deeds, p.wantRelay(now, p.nextRelay(w))...)
		}
		return deeds
	}
	return p.cycle(now, w)
}

// tryPassive keeps our end fit for what the active side tries.
func (p *path) tryPassive(now instant, w world) []deed {
	p.lastTry, p.nextTry = now, now+passivePace
	var deeds []deed
	if direct := capped(w.direct, maxDirect); len(direct) > 0 {
		if to := direct[p.turn%len(direct)]; to != p.endpoint {
			p.endpoint = to
			deeds = append(deeds, deed{kind: aim, to: to})
		}
		p.turn++
	}
	if now-p.lastReset >= resetPace && now-p.heardAt >= passivePace {
		// Who moved without noticing can only be found by its own handshake: the others have forgotten its session.
		p.lastReset = now
		deeds = append(deeds, deed{kind: reset})
	}
	return append(deeds, p.ask(now, false))
}

// way is one way to the peer: straight, or through a relay.
type way struct {
	to  netip.AddrPort // straight; invalid for a relay
	via roster.Key
}

// ways are all ways in the order of their turns: a relay that is open, which works at once if it works, the direct
// candidates, the other relays.
func (p *path) ways(w world) []way {
	var ways []way
	if p.relay.addr.IsValid() {
		ways = append(ways, way{via: p.relay.via})
	}
	for _, to := range capped(w.direct, maxDirect) {
		ways = append(ways, way{to: to})
	}
	for _, via := range capped(w.relays, maxRelays) {
		if !p.relay.addr.IsValid() || via != p.relay.via {
			ways = append(ways, way{via: via})
		}
	}
	return ways
}

// cycle tries the next direct candidate or relay.
func (p *path) cycle(now instant, w world) []deed {
	ways := p.ways(w)
	if len(ways) == 0 {
		return p.direct(now, p.endpoint)
	}
	next := ways[(p.turn-turnCycle)%len(ways)]
	if p.turn == turnCycle && next.to.IsValid() && next.to == p.endpoint && len(ways) > 1 { // tried when the path died
		p.turn++
		next = ways[1]
	}
	switch {
	case next.to.IsValid():
		p.turn++
		return p.direct(now, next.to)
	case p.relay.addr.IsValid() && p.relay.via == next.via:
		p.turn++
		return p.direct(now, p.relay.addr)
	}
	deeds := p.wantRelay(now, next.via)
	p.relay.awaited = next.via
	if asked, opening := p.relay.isOpening(next.via); !opening || now-asked >= relayPause {
		p.turn++
		p.relay.awaited = roster.Key{}
	}
	p.lastTry, p.nextTry = now, now+p.wait()
	return append(deeds, p.ask(now, false))
}

// direct makes one try at an address, with new keys: the peer may have lost the old ones.
func (p *path) direct(now instant, to netip.AddrPort) []deed {
	p.lastTry, p.lastReset, p.nextTry = now, now, now+p.wait()
	var deeds []deed
	if to.IsValid() && to != p.endpoint {
		p.endpoint = to
		deeds = append(deeds, deed{kind: aim, to: to})
	}
	return append(deeds, deed{kind: reset}, p.ask(now, false))
}

// nextRelay returns the relay that a path that just died will want: not the one that it died on.
func (p *path) nextRelay(w world) roster.Key {
	for _, via := range w.relays {
		if !p.relayed() || via != p.relay.via {
			return via
		}
	}
	return w.relays[0]
}

// wantRelay asks for a relay, unless it is open or being opened.
func (p *path) wantRelay(now instant, via roster.Key) []deed {
	if _, opening := p.relay.isOpening(via); opening || p.relay.addr.IsValid() && p.relay.via == via {
		return nil
	}
	p.relay.opening = append(p.relay.opening, openingRelay{via: via, asked: now})
	return []deed{{kind: openRelay, via: via}}
}

// planProbe says when to look for a direct path again.
func (p *path) planProbe(now instant) {
	p.probe.next = now + probeWaits[min(p.probe.count, len(probeWaits)-1)]
	p.probe.count++
}

// leaveRelay looks for a direct path while the relay works, and closes the relay when there is one.
func (p *path) leaveRelay(now instant, w world) []deed {
	switch {
	case p.probe.until != 0 && now >= p.probe.until: // back, before anybody misses much
		p.probe.until = 0
		p.planProbe(now)
		if p.relayed() || !p.relay.addr.IsValid() {
			return nil
		}
		p.endpoint = p.relay.addr
		return []deed{{kind: aim, to: p.relay.addr}, p.ask(now, false)}
	case p.probe.settled != 0 && now >= p.probe.settled:
		return p.settle(now)
	case p.probe.until == 0 && p.active && p.relayed() && now >= p.probe.next:
		if slices.ContainsFunc(p.waiting, func(s sentPing) bool { return !s.missed }) {
			p.probe.next = now + patience/10 // its pong would turn the tunnel back to the relay
			return nil
		}
		direct := capped(w.direct, maxDirect)
		if len(direct) == 0 {
			p.planProbe(now)
			return nil
		}
		to := direct[(p.probe.count+len(direct)-1)%len(direct)] // the best one first
		p.probe.to, p.probe.until = to, now+probePause
		p.endpoint = to
		ask := p.ask(now, true)
		if p.detour.narrow {
			ask.size = leastSize
		}
		return []deed{{kind: aim, to: to}, ask}
	case !p.detour.narrow && !p.relayed() && p.relay.addr.IsValid() && p.probe.until == 0 && p.probe.settled == 0 && len(p.relay.opening) == 0:
		p.probe.settled = now + settling // the tunnel found it by itself
	}
	return nil
}

// narrowed tells that the direct path swallows what everybody sends and lets small packets pass.
func (p *path) narrowed(now instant) {
	if p.phase != up || !p.active || !p.pings || p.relayed() || p.detour.narrow || p.probe.until != 0 || p.probe.settled != 0 {
		return
	}
	p.detour.narrow = true
	p.detour.next = max(p.detour.next, now)
	if now-p.since >= steady {
		p.probe.count = 0
	}
}

// takeDetour goes over to a relay where the direct path is narrow. Packets that come straight turn the tunnel back to the
// direct path; then it is turned to the relay again.
func (p *path) takeDetour(now instant, w world) []deed {
	if !p.detour.narrow || p.relayed() || p.probe.until != 0 || now < p.detour.next {
		return nil
	}
	if !p.relay.addr.IsValid() {
		p.detour.next = now + relayPause
		if len(w.relays) == 0 {
			p.detour.next = now + probeWaits[len(probeWaits)-1]
			return nil
		}
		return p.wantRelay(now, w.relays[p.detour.vain%len(w.relays)])
	}
	before, via := p.form()
	p.detour.next = now + patience
	p.endpoint = p.relay.addr
	p.note(now, before, via, narrowPath)
	p.planProbe(now)
	return []deed{{kind: aim, to: p.relay.addr}, p.ask(now, false)}
}

// endDetour is to be called when a path that had a form died. After a relay that carried nothing the next detour waits.
func (p *path) endDetour(now instant, form string) {
	if p.detour.narrow && form == api.PathRelay {
		p.detour.next = now + probeWaits[min(p.detour.vain, len(probeWaits)-1)]
		p.detour.vain++
	}
	p.detour.narrow = false
}

// settle closes the relay some time after a direct path came back. Packets that were still on their way through the
// relay may have turned the tunnel back to it.
func (p *path) settle(now instant) []deed {
	before, via := p.form()
	p.probe.settled = 0
	var deeds []deed
	if p.relayed() {
		if !p.probe.to.IsValid() {
			p.planProbe(now)
			return nil
		}
		p.endpoint = p.probe.to
		deeds = append(deeds, deed{kind: aim, to: p.probe.to}, p.ask(now, false))
	}
	p.relay = relaying{}
	p.note(now, before, via, "a ping came back on the direct path")
	return append(deeds, deed{kind: closeRelay})
}

// capped returns at most the first n of s.
func capped[T any](s []T, n int) []T { return s[:min(n, len(s))] }
