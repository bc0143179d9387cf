package wire

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A relay told to listen on loopback listens there and nowhere else. croc's own listens on all addresses then.
func TestRelayListensWhereItIsTold(t *testing.T) {
	_, port, err := net.SplitHostPort(newRelay(t, &Relay{}))
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"::1"}
	if runtime.GOOS == "linux" {
		others = append(others, "127.0.0.2") // answers what listens on all addresses
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			others = append(others, p.Addr().String())
		}
	}
	for _, host := range others {
		if c, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			c.Close()
			t.Errorf("the relay on 127.0.0.1 also answers on %s", host)
		}
	}
}

func TestRelayOnIPv6Loopback(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this computer has no IPv6 loopback:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- new(Relay).Serve(ctx, l) }()
	conn, err := dial(ctx, l.Addr().String(), DefaultPassword, "room")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := conn.contentAddresses(); err != nil || len(a) != 1 || a[0] != l.Addr().String() {
		t.Errorf("content links go to %q, %v", a, err)
	}
	cancel() // breaks the link too
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// slow is the relay's side of a link that is slow to say its third word, the "ok" that it is in the room, until the relay wants to
// wake who waits there.
type slow struct {
	net.Conn
	writes int
	woken  chan struct{}
	once   sync.Once
}

func (s *slow) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b) // the other side may go on
	if s.writes++; s.writes == 3 {
		<-s.woken
	}
	return n, err
}

func (s *slow) SetReadDeadline(t time.Time) error {
	defer s.once.Do(func() { close(s.woken) })
	return s.Conn.SetReadDeadline(t)
}

// slowFirst makes the first link of a listener a slow one.
type slowFirst struct {
	net.Listener
	accepted int
}

func (l *slowFirst) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if l.accepted++; err == nil && l.accepted == 1 {
		conn = &slow{Conn: conn, woken: make(chan struct{})}
	}
	return conn, err
}

// One who is joined before he waits is joined all the same.
func TestRelayJoinsBeforeTheFirstWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- new(Relay).Serve(ctx, &slowFirst{Listener: l}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	first, err := dial(ctx, l.Addr().String(), DefaultPassword, "room")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := dial(ctx, l.Addr().String(), DefaultPassword, "room")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := writeFrame(first, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	second.SetDeadline(time.Now().Add(relayPatience))
	if b, err := readSpoken(second, maxStranger); err != nil || string(b) != "hello" {
		t.Errorf("the second hears %q, %v", b, err)
	}
}

func TestRelayLimits(t *testing.T) {
	r := &Relay{rooms: map[string]*seat{}, sources: map[netip.Prefix]int{}}
	one, two := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/64")
	n := 0
	for r.admit(one) {
		n++
		r.greeting-- // as if it had named its room
	}
	if n != maxPerSource {
		t.Errorf("%d links from one source, want %d", n, maxPerSource)
	}
	if !r.admit(two) {
		t.Error("one source keeps out another")
	}
	r.greeting = maxGreeting
	if r.admit(two) {
		t.Error("more links than may greet")
	}
	r.greeting, r.links = 0, maxLinks
	if r.admit(two) {
		t.Error("more links than there may be")
	}
	for range n {
		r.release(one)
	}
	r.release(two)
	if len(r.sources) != 0 {
		t.Errorf("sources are kept: %v", r.sources)
	}
}

type addressed struct {
	net.Conn
	from string
}

func (a addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.from))
}

func TestSourceOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7:1":          "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1": "192.0.2.7/32",
		"[2001:db8::1:2:3]:1":  "2001:db8::/64",
		"[fe80::1%lo]:1":       "fe80::/64",
	} {
		if got := sourceOf(addressed{from: from}).String(); got != want {
			t.Errorf("source of %s is %s, want %s", from, got, want)
		}
	}
}

// What a stranger says to a relay is refused, and the relay lives on.
func TestRelaySurvivesStrangers(t *testing.T) {
	relay := newRelay(t, &Relay{})
	for _, hello := range []string{"null", `{"Role":0}`, `{"Role":1}`, `{"Role":0,"Xᵤ":1,"Xᵥ":2}`, "", "GET", strings.Repeat("9", maxStranger+1)} {
		conn, err := net.Dial("tcp", relay)
		if err != nil {
			t.Fatal(err)
		}
		writeFrame(conn, []byte(hello))
		if b, err := readFrame(conn, maxStranger); err == nil {
			t.Errorf("%.20q is answered: %q", hello, b)
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", relay)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	writeFrame(conn, []byte("ping"))
	if b, err := readFrame(conn, maxStranger); err != nil || string(b) != "pong" {
		t.Errorf("ping: %q, %v", b, err)
	}
	if _, err := dial(t.Context(), relay, DefaultPassword, strings.Repeat("r", maxRoomName+1)); err == nil {
		t.Error("a room's name is too long, and is taken")
	}
}
