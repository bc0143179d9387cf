package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// bench is a path with a make-believe tunnel, stepped by hand.
type bench struct {
	path
	now      instant
	looked   instant
	endpoint netip.AddrPort
	got      bool // packets came since the last look
	w        world
	next     uint64
	asked    []uint64
	shimmed  netip.AddrPort
}

var (
	placeA, placeB, placeC = elsewhere(1), elsewhere(2), elsewhere(3)
	shimAt                 = netip.MustParseAddrPort("127.0.0.1:7777")
	relay1, relay2         = roster.Key{1}, roster.Key{2}
)

func newBench(active bool) *bench {
	b := &bench{endpoint: placeA, shimmed: shimAt}
	b.now = time.Hour
	b.path = newPath(active, true, b.now, func() uint64 { b.next++; return b.next })
	b.w = world{direct: []netip.AddrPort{placeA, placeB}, relays: []roster.Key{relay1, relay2}, pace: time.Second}
	return b
}

// do takes note of deeds and says what they were.
func (b *bench) do(deeds []deed) string {
	var said []string
	for _, d := range deeds {
		switch d.kind {
		case sendPing:
			b.asked = append(b.asked, d.ask)
			said = append(said, "ping")
		case aim:
			b.endpoint = d.to
			said = append(said, "aim "+d.to.String())
		case reset:
			said = append(said, "reset")
		case openRelay:
			said = append(said, fmt.Sprintf("open %d", d.via[0]))
		case closeRelay:
			said = append(said, "close")
		}
	}
	return strings.Join(said, ", ")
}

// step goes on to when the path wants attention, and returns what it does then.
func (b *bench) step() string {
	b.now = max(b.now, b.path.due(b.w.pace))
	if b.path.urgent(b.now) || b.got {
		b.look()
	}
	b.w.endpoint = b.endpoint
	return b.do(b.path.tick(b.now, b.w))
}

func (b *bench) look() {
	b.path.look(b.now, b.looked, b.endpoint, b.got)
	b.looked, b.got = b.now, false
}

// reply answers the last ping.
func (b *bench) reply(t interface{ Fatal(...any) }) string {
	b.now += 10 * time.Millisecond
	b.w.endpoint = b.endpoint
	deeds, ok := b.path.pong(b.now, b.asked[len(b.asked)-1], b.w)
	if !ok {
		t.Fatal("no such ping")
	}
	return b.do(deeds)
}

// die makes a path that is up dead by silence.
func (b *bench) die(t *testing.T) string {
	t.Helper()
	for range 20 {
		if did := b.step(); b.phase == down {
			return did
		}
	}
	t.Fatal("still alive")
	return ""
}

func (b *bench) expect(t *testing.T, want ...string) {
	t.Helper()
	for i, w := range want {
		before := b.now
		if got := b.step(); got != w {
			t.Fatalf("step %d, %s later: %q, want %q", i, b.now-before, got, w)
		}
	}
}

func TestActiveCycle(t *testing.T) {
	b := newBench(true)
	b.expect(t, "ping")
	b.reply(t)
	if got := b.die(t); got != "reset, ping, open 1" {
		t.Fatal(got)
	}
	b.relayFailed(b.now, relay1)
	begin := b.now
	b.expect(t, "aim 12.0.0.2:51820, reset, ping", "open 1, ping")
	b.relayOpened(b.now, relay1, shimAt)
	b.expect(t, "aim 127.0.0.1:7777, reset, ping", "aim 12.0.0.1:51820, reset, ping", "aim 12.0.0.2:51820, reset, ping", "open 2, ping")
	b.relayOpened(b.now, relay2, shimAt)
	b.expect(t, "aim 127.0.0.1:7777, reset, ping", "aim 12.0.0.1:51820, reset, ping", "aim 12.0.0.2:51820, reset, ping")
	if d := b.now - begin; d > 10*time.Second {
		t.Errorf("a cycle of %s", d)
	}
	b.reply(t)
	if form, _ := b.form(); form != api.PathDirect || b.good != placeB {
		t.Errorf("%s at %s", form, b.good)
	}
}

// A relay that hangs does not keep another one from being asked, and one that is open is used before anything else.
func TestRelayThatHangs(t *testing.T) {
	b := newBench(true)
	b.expect(t, "ping")
	b.reply(t)
	if got := b.die(t); got != "reset, ping, open 1" {
		t.Fatal(got)
	}
	var did []string
	for range 8 { // the first relay never answers
		if did = append(did, b.step()); strings.Contains(did[len(did)-1], "open 2") {
			break
		}
	}
	if !strings.Contains(did[len(did)-1], "open 2") {
		t.Fatalf("the second relay is not asked: %q", did)
	}
	b.relayOpened(b.now, relay2, shimAt)
	b.expect(t, "aim 127.0.0.1:7777, reset, ping")
	b.reply(t)
	if form, via := b.form(); form != api.PathRelay || via != relay2 {
		t.Errorf("%s through %v", form, via)
	}
}

func TestFreshCycle(t *testing.T) {
	b := newBench(true)
	b.w.relays = nil
	b.expect(t, "ping", "reset, ping", "aim 12.0.0.2:51820, reset, ping", "aim 12.0.0.1:51820, reset, ping")
}

func TestPassive(t *testing.T) {
	b := newBench(false)
	b.expect(t, "ping")
	b.reply(t)
	b.die(t)
	died := b.now
	resets := 0
	for b.now < died+time.Minute {
		did := b.step()
		if strings.Contains(did, "open") {
			t.Fatal(did)
		}
		if strings.Contains(did, "reset") {
			resets++
		}
	}
	if resets < 3 || resets > 4 {
		t.Errorf("%d resets in a minute", resets)
	}
}

func TestUnasked(t *testing.T) { // a sentry and its hidden peer
	b := newBench(false)
	b.path = newPath(false, false, b.now, nil)
	for range 10 {
		b.now += time.Second
		b.pinged(b.now)
	}
	if b.phase != up {
		t.Fatal("down")
	}
	heard := b.now
	b.expect(t, "")
	if b.phase != down || b.now != heard+4*time.Second {
		t.Fatalf("%d after %s", b.phase, b.now-heard)
	}
	b.expect(t, "reset")
	if b.now != heard+resetPace {
		t.Errorf("reset after %s", b.now-heard)
	}
	b.expect(t, "reset", "reset")
	if b.now != heard+3*resetPace {
		t.Errorf("reset after %s", b.now-heard)
	}
}

func TestProbes(t *testing.T) {
	b := newBench(true)
	b.w.direct = []netip.AddrPort{placeA}
	b.expect(t, "ping")
	b.reply(t)
	b.die(t)
	b.relayOpened(b.now, relay1, shimAt)
	if got := b.step(); got != "aim 127.0.0.1:7777, reset, ping" {
		t.Fatal(got)
	}
	b.reply(t)
	var waits []time.Duration
	for last := b.now; len(waits) < 7; {
		did := b.step()
		switch {
		case did == "aim 12.0.0.1:51820, ping":
			waits, last = append(waits, (b.now-last).Round(time.Second)), b.now
			for b.endpoint != shimAt { // nothing comes
				b.step()
			}
			if b.now-last != probePause {
				t.Fatalf("back after %s", b.now-last)
			}
			last = b.now
			b.reply(t)
		case did == "ping":
			b.reply(t)
		}
	}
	want := []time.Duration{5, 10, 20, 40, 60, 60, 60}
	for i := range want {
		if want[i] *= time.Second; waits[i] != want[i] {
			t.Errorf("%v, want %v", waits, want)
			break
		}
	}
	for b.step() != "aim 12.0.0.1:51820, ping" {
		b.reply(t)
	}
	b.reply(t)
	if form, _ := b.form(); form != api.PathDirect {
		t.Error("not direct")
	}
	for closed := false; !closed; {
		did := b.step()
		closed = did == "close"
		if strings.Contains(did, "ping") {
			b.reply(t)
		}
	}
}

// Silence of any length is searched in cycles of the same length, and costs no memory.
func TestMonthOfSilence(t *testing.T) {
	b := newBench(true)
	b.expect(t, "ping")
	b.reply(t)
	b.die(t)
	b.relayOpened(b.now, relay1, shimAt)
	end := b.now + 30*24*time.Hour
	if testing.Short() || raceEnabled {
		end = b.now + 24*time.Hour
	}
	seen := map[string]instant{}
	for b.now < end {
		did := b.step()
		if strings.Contains(did, "open") {
			b.relayOpened(b.now, b.w.relays[did[strings.Index(did, "open ")+5]-'1'], shimAt)
		}
		for _, at := range []string{placeA.String(), placeB.String(), shimAt.String()} {
			if b.endpoint.String() == at {
				seen[at] = b.now
			}
			if last := seen[at]; last != 0 && b.now-last > 10*time.Second {
				t.Fatalf("%s was not tried for %s", at, b.now-last)
			}
		}
	}
	if len(b.history) > maxHistory || len(b.waiting) > maxWaiting || len(seen) != 3 {
		t.Errorf("%d, %d, %v", len(b.history), len(b.waiting), seen)
	}
	b.reply(t)
	if b.phase != up {
		t.Error("not up")
	}
}

// Whatever happens, where the peer was just heard is left alone, unless it goes on saying something without answering.
func TestRoamedEndpointIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(rapid.Bool().Draw(t, "active"))
		places := []netip.AddrPort{placeA, placeB, placeC, elsewhere(4)}
		heardAt, streak, lastTry := instant(-1), 0, instant(0)
		for range rapid.IntRange(10, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // an authenticated packet from somewhere
				b.now += time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond
				from := rapid.SampledFrom(places).Draw(t, "from")
				if heardAt < 0 || b.now-heardAt > 2*passivePace {
					streak = 0
				}
				b.endpoint, b.got, heardAt = from, true, b.now
				t.Logf("%s: heard from %s", b.now, from)
			case 1:
				if len(b.asked) > 0 && rapid.Bool().Draw(t, "answered") {
					b.w.endpoint = b.endpoint
					if _, ok := b.pong(b.now, b.asked[len(b.asked)-1], b.w); ok {
						streak, heardAt = 0, b.now
					}
				}
			case 2:
				b.w.endpoint = b.endpoint
				b.suspect(b.now)
			case 3:
				if b.got && b.endpoint != b.path.endpoint {
					streak = 0
				}
				b.look()
				was, to := b.endpoint, rapid.SampledFrom(places).Draw(t, "hint")
				did := b.do(b.hint(b.now, to))
				if b.endpoint != was && heardAt > lastTry && streak < oneWayAfter && b.phase == down {
					t.Fatalf("a hint turned away from %s", was)
				}
				streak += strings.Count(did, "ping")
				lastTry = b.lastTry
			default:
				relayed, was, at, tried := b.relayed() || b.probe.until != 0 || b.probe.settled != 0, b.endpoint, b.now, lastTry
				if b.got && b.endpoint != b.path.endpoint {
					streak = 0 // the step sees it
				}
				did := b.step()
				t.Logf("%s: %q, phase %d, %d unanswered here, %d as we see it, at %s", b.now, did, b.phase, b.oneWay, streak, b.endpoint)
				if strings.Contains(did, "open") && rapid.Bool().Draw(t, "opens") {
					b.relayOpened(b.now, relay1, shimAt)
				}
				if !relayed && b.endpoint != was && heardAt > tried && heardAt <= at && streak < oneWayAfter {
					t.Fatalf("%q turned away from %s, heard %s ago, tried %s ago", did, was, b.now-heardAt, b.now-tried)
				}
				streak += strings.Count(did, "ping")
				lastTry = b.lastTry
			}
		}
	})
}

// Changes that nothing forces come rarely.
func TestNoFlapping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(true)
		loses := func(what string) int { return rapid.IntRange(0, 100).Draw(t, what) }
		direct, relayed := loses("direct %"), loses("relay %")
		var seen []change
		for b.now < 2*time.Hour {
			did := b.step()
			if strings.Contains(did, "open") {
				b.relayOpened(b.now, relay1, shimAt)
			}
			if lost := rapid.IntRange(0, 99).Draw(t, "loss"); strings.Contains(did, "ping") &&
				(b.endpoint == shimAt && lost >= relayed || b.endpoint == placeA && lost >= direct) {
				b.reply(t)
			}
			if n := len(b.history); n > 0 && (len(seen) == 0 || b.history[n-1] != seen[len(seen)-1]) {
				seen = append(seen, b.history[n-1])
			}
			if b.now > time.Hour+20*time.Minute {
				break
			}
		}
		for i := 1; i < len(seen); i++ {
			if seen[i].path == api.PathDirect && seen[i-1].path == api.PathRelay && seen[i].at-seen[i-1].at < 5*time.Second {
				t.Fatalf("%+v", seen[i-1:i+1])
			}
		}
	})
}

func TestLoss(t *testing.T) {
	var p path
	for i := range 100 {
		p.record(i%4 == 0)
	}
	if p.loss() != 0.25 {
		t.Error(p.loss())
	}
}

func TestBrief(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{400 * time.Microsecond, 20 * time.Millisecond, 3 * time.Second, 100 * time.Second, 5 * time.Minute} {
		got = append(got, brief(d))
	}
	if want := []string{"0.4 ms", "20 ms", "3 s", "100 s", "5 min"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
