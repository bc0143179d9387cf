package mesh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
)

// signedByNobody is an envelope around any payload, with a good signature by a key that no admin has.
func signedByNobody(payload []byte) []byte {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	message := append([]byte("pressenter/roster/v1\x00"), payload...)
	return roster.EncodeEnvelope(roster.Envelope{
		Payload:    payload,
		Signatures: []roster.Signature{{Key: roster.KeyOf(key.Public().(ed25519.PublicKey)), Sig: ed25519.Sign(key, message)}},
	})
}

// A list of a million nothings is two megabytes on the wire and hundreds of them in memory: it is refused unread.
func TestHugeListsAreNotRead(t *testing.T) {
	for name, frame := range map[string][]byte{
		"members":    signedByNobody([]byte(`{"format":1,"members":[` + strings.Repeat("{},", 690_000) + `{}]}`)),
		"nulls":      signedByNobody([]byte(`{"format":1,"members":[` + strings.Repeat("null,", 415_000) + `{}]}`)),
		"signatures": []byte(`{"format":1,"payload":"","signatures":[` + strings.Repeat("{},", 1_000_000) + `{}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			var wire bytes.Buffer
			if err := errors.Join(writeFrame(&wire, frame), writeFrame(&wire, nil)); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			envs, err := readEnvelopes(&wire)
			err = errors.Join(err, newMemory(roster.Hash{1}).Learn(envs))
			runtime.ReadMemStats(&after)
			if !unruly(err) {
				t.Errorf("%d envelopes, error %v", len(envs), err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 48<<20 {
				t.Errorf("a frame of %d bytes made us allocate %d MiB", len(frame), used>>20)
			}
		})
	}
}

// Verifying what a stranger signed costs seconds; who sends that exchanges no rosters with us for a while, and a person
// is told.
func TestWhoForgesRostersHasToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, 1, 2, 0))
		h, now := l.hosts["s1"], instant(0)
		h.mu.Lock()
		h.started = true
		h.obey()
		p := h.peers[keyOf("identity", "s0")]
		h.mu.Unlock()
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_ = writeHello(theirs, hello{Version: messageVersion})
			_, _ = readHello(theirs)
			_, _ = readEnvelopes(theirs)
			stranger := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.Key{1}, Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "hub-1"})
			_ = writeFrame(theirs, signedByNobody(stranger.Bytes()))
			_ = writeFrame(theirs, nil)
			_, _ = readTaken(theirs)
		}()
		h.fetched(p, outcome{}, h.answerExchange(p, ours))
		if _, ok := h.enter(p.addr); ok {
			t.Error("it may exchange rosters again at once")
		}
		h.fetchFrom(p, now)
		if p.fetch.busy {
			t.Error("it is asked again at once")
		}
		if notes := h.notes.list(); len(notes) != 1 || !strings.Contains(notes[0], "s0") {
			t.Errorf("notes %q", notes)
		}
		time.Sleep(unrulyPause)
		if _, ok := h.enter(p.addr); !ok {
			t.Error("it may never exchange rosters again")
		}
	})
}

// Who is 600 generations behind gets them in two exchanges, and after the first one it is not at the newest.
func TestNotLearnedWithHalfTheRosters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t, 1, 1, 0)
		old := d.envs[:1:1]
		for range maxSent + 20 {
			d.next(t, func(*roster.Roster) {})
		}
		l := newLab(t, d)
		l.hosts["v0"].store = newMemory(d.id, old...)
		l.hosts["v0"].make(l.hosts["v0"].c.Self)
		l.runAll()
		l.within(time.Minute, "the validator to learn", func() bool {
			st := l.hosts["v0"].Status()
			if st.Learned && st.Generation != d.head.Generation {
				t.Fatalf("generation %d of %d is said to be the newest", st.Generation, d.head.Generation)
			}
			return st.Learned
		})
	})
}

// Nobody may start anything with a hidden host: not even a connection that is closed at once.
func TestHiddenHostDoesNotListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, 1, 2, 0))
		l.runAll()
		l.within(time.Minute, "everybody to be up", l.allUp)
		for name, want := range map[string]bool{"v0": false, "s0": true} {
			tunnel := l.hosts[name].tunnel
			tunnel.mu.Lock()
			listens := tunnel.tcp != nil
			tunnel.mu.Unlock()
			if listens != want {
				t.Errorf("%s listens: %v", name, listens)
			}
		}
	})
}

// A look-up's error names the address that we asked from.
func TestLookUpsTellNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDeployment(t, 1, 0, 0)
		d.next(t, func(r *roster.Roster) {
			m := newMember(roster.RoleSentry, 0, r.Generation)
			m.Mesh.Endpoint = "s0.example.org:51820"
			r.Members = append(r.Members, m)
		})
		l := newLab(t, d)
		h := l.hosts["v0"]
		h.c.Resolve = func(context.Context, string) ([]netip.AddrPort, error) {
			return nil, &net.DNSError{Err: "read udp 192.0.2.77:4242->192.0.2.1:53: i/o timeout", Server: "192.0.2.1:53", IsTimeout: true}
		}
		h.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		l.runAll()
		time.Sleep(time.Minute)
		l.stopAll()
		if !strings.Contains(log.String(), "s0.example.org") || strings.Contains(log.String(), "192.0.2.") {
			t.Errorf("log:\n%s", &log)
		}
	})
}

// One member that tells many places of another does not drown what others tell.
func TestOneTellerIsOneVoice(t *testing.T) {
	l := newLab(t, newDeployment(t, 1, 3, 0))
	h := l.hosts["v0"]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.obey()
	honest, liar, lost := h.peers[keyOf("identity", "s0")], h.peers[keyOf("identity", "s1")], h.peers[keyOf("identity", "s2")]
	truth := netip.MustParseAddrPort("198.51.100.1:51820")
	h.hinted(honest, sighting{Identity: lost.member.Identity, Address: truth, Age: 5}, h.now())
	lies := []netip.AddrPort{truth}
	for i := range maxMoved {
		lies = append(lies, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), 51820))
	}
	for _, lie := range lies {
		h.hinted(liar, sighting{Identity: lost.member.Identity, Address: lie}, h.now())
	}
	if places := h.direct(lost); !slices.Contains(places, truth) {
		t.Errorf("it is looked for at %v", places)
	}
}

// torrent is a socket on which one peer says the same thing again and again, then another one says something once.
type torrent struct {
	net.PacketConn
	from, last netip.Addr
	what       []byte
	left       int
}

func (c *torrent) ReadFrom(b []byte) (int, net.Addr, error) {
	c.left--
	from := c.from
	switch {
	case c.left == 0:
		from = c.last
	case c.left < 0:
		return 0, nil, os.ErrClosed
	}
	return copy(b, c.what), net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, access.Control.Port())), nil
}

// Who floods us with datagrams is not listened to: most are dropped before they cost anything, and others are heard.
func TestFloodIsDroppedUnread(t *testing.T) {
	m := New(Config{})
	what := message{Version: messageVersion, Kind: ping, Nonce: 1}.encode()
	flood := &torrent{from: netip.MustParseAddr("fd00::1"), last: netip.MustParseAddr("fd00::2"), what: what, left: 20_000}
	taken, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for range m.inbox {
			taken++
		}
	}()
	m.read(t.Context(), flood)
	close(m.inbox)
	<-done
	if limit := 10 * answersAtOnce; taken < answersAtOnce || taken > limit {
		t.Errorf("%d of 20000 datagrams were taken, want %d to %d", taken, answersAtOnce, limit)
	}
}
