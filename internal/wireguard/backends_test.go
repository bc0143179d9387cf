package wireguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// behaviour is what every backend does alike.
var behaviour = map[string]func(*testing.T, opener){
	"carries TCP and UDP":                      carries,
	"cuts off who is removed at once":          cutsOff,
	"sends elsewhere and the session goes on":  moves,
	"keeps what roamed when peers change":      keepsRoamed,
	"recovers a peer that lost its session":    recovers,
	"changes its own key":                      rekeys,
	"limits segments":                          limitsSegments,
	"knows no peer that it was not told":       refusesUnknown,
	"takes changes from several goroutines":    takesConcurrentChanges,
	"keeps a key without address from talking": keepsSilent,
	"takes a peer back whose clock went back":  takesBackOldClock,
}

// What goes with every datagram, in bytes.
const (
	ipv6UDP   = 40 + 8
	wireGuard = 16 + 16 // and up to 15 to make it a multiple of 16
)

func testBackend(t *testing.T, open func(t *testing.T) opener) {
	for name, f := range behaviour {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func TestNetstack(t *testing.T) { testBackend(t, func(*testing.T) opener { return onLoopback }) }

func carries(t *testing.T, open opener) {
	a, b := pair(t, open)
	client, server := connect(t, a, b)
	say(t, client, server, "there")
	say(t, server, client, "and back")
	if got, want := server.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), a.Address(); got != want {
		t.Errorf("the server saw %s, want %s", got, want)
	}
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	reach(t, ub, ua)
	s := stateOf(t, a, b.key)
	if s.Handshake.IsZero() || s.Received == 0 || s.Sent == 0 || s.Endpoint != b.at() {
		t.Errorf("state of the peer is %+v", s)
	}
}

func cutsOff(t *testing.T, open opener) {
	a, b := pair(t, open)
	client, server := connect(t, a, b)
	say(t, client, server, "before")
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	setPeers(t, b)
	if states, err := b.Peers(); err != nil || len(states) != 0 {
		t.Fatalf("peers after removing all: %v, %v", states, err)
	}
	const lost = "while cut off"
	already := stateOf(t, a, b.key).Sent
	for range 10 {
		if _, err := ua.WriteTo([]byte(lost), ub.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is on its way", func() bool { return stateOf(t, a, b.key).Sent >= already+10*uint64(len(lost)+ipv6UDP+wireGuard) })
	if err := client.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	// What was on its way comes before what follows, if at all.
	setPeers(t, b, a.peer(a.at()))
	if err := a.Reset(b.key); err != nil {
		t.Fatal(err)
	}
	drainHellos(t, ua, ub)
	if err := server.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := server.Read(got); err != nil || string(got[:n]) != "after" {
		t.Errorf("the connection did not go on when the peer was back: %q, %v", got[:n], err)
	}
}

// drainHellos says hello until it is heard, and fails if anything else is.
func drainHellos(t *testing.T, from, to net.PacketConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	sending.Go(func() {
		for ctx.Err() == nil {
			from.WriteTo([]byte("last"), to.LocalAddr())
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	if err := to.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 100); ; {
		n, _, err := to.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		switch string(b[:n]) {
		case "hello": // from before the cut
		case "last":
			return
		default:
			t.Fatalf("%q came through", b[:n])
		}
	}
}

// wire is a UDP port between two ends: what one sends there goes to the other. It notes how large packets are.
type wire struct {
	socket *net.UDPConn
	at     netip.AddrPort

	mu      sync.Mutex
	largest map[netip.AddrPort]int // by sender, since the last reset
}

// newWire makes a wire in the first end's place.
func newWire(t *testing.T, a, b *end) *wire {
	t.Helper()
	w := &wire{largest: map[netip.AddrPort]int{}}
	err := a.place.do(func() (err error) {
		w.socket, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.place.address, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.at = w.socket.LocalAddr().(*net.UDPAddr).AddrPort()
	var running sync.WaitGroup
	t.Cleanup(func() {
		w.socket.Close()
		running.Wait()
	})
	ends := [2]netip.AddrPort{a.at(), b.at()}
	running.Go(func() {
		for packet := make([]byte, 1<<16); ; {
			n, from, err := w.socket.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			i := slices.Index(ends[:], from)
			if i < 0 {
				continue
			}
			w.mu.Lock()
			w.largest[from] = max(w.largest[from], n)
			w.mu.Unlock()
			w.socket.WriteToUDPAddrPort(packet[:n], ends[1-i])
		}
	})
	return w
}

// take makes two ends talk over the wire. What was on its way to a by the old one takes a back there, as WireGuard
// believes whatever is authentic, so it may need another try.
func (w *wire) take(t *testing.T, a, b *end, client, server net.Conn) {
	t.Helper()
	eventually(t, "both ends use the wire", func() bool {
		if err := a.SetEndpoint(b.key, w.at); err != nil {
			t.Fatal(err)
		}
		say(t, client, server, "by the wire")
		say(t, server, client, "and back")
		return stateOf(t, a, b.key).Endpoint == w.at && stateOf(t, b, a.key).Endpoint == w.at
	})
}

// seen returns the largest packets that each of two ends sent since the last call.
func (w *wire) seen(a, b *end) (fromA, fromB int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fromA, fromB = w.largest[a.at()], w.largest[b.at()]
	clear(w.largest)
	return fromA, fromB
}

func moves(t *testing.T, open opener) {
	a, b := pair(t, open)
	client, server := connect(t, a, b)
	say(t, client, server, "directly")
	before := stateOf(t, a, b.key)
	w := newWire(t, a, b)
	w.take(t, a, b, client, server)
	if fromA, fromB := w.seen(a, b); fromA == 0 || fromB == 0 {
		t.Errorf("the wire saw packets of %d and %d bytes, want some from both", fromA, fromB)
	}
	after := stateOf(t, a, b.key)
	if !after.Handshake.Equal(before.Handshake) || after.Endpoint != w.at {
		t.Errorf("before %+v, after %+v: want the same session at another endpoint", before, after)
	}
	if err := a.SetEndpoint(a.key, w.at); err == nil {
		t.Error("an endpoint was set of a peer that there is not")
	}
	if err := a.SetEndpoint(b.key, netip.AddrPort{}); err == nil {
		t.Error("no endpoint was taken for one")
	}
}

func keepsRoamed(t *testing.T, open opener) {
	a, b := pair(t, open)
	client, server := connect(t, a, b)
	w := newWire(t, a, b)
	w.take(t, a, b, client, server)
	before := stateOf(t, b, a.key)
	_, stranger := newKey(t)
	setPeers(t, b, a.peer(a.at()), tunnel.Peer{Key: stranger, Address: meshAddress(7), Keepalive: 20 * time.Second})
	changed := a.peer(a.at())
	changed.Keepalive = 10 * time.Second
	setPeers(t, b, changed)
	after := stateOf(t, b, a.key)
	if after.Endpoint != w.at || !after.Handshake.Equal(before.Handshake) {
		t.Errorf("before %+v, after other peers came and went %+v", before, after)
	}
	w.seen(a, b)
	say(t, server, client, "it still works")
	if _, fromB := w.seen(a, b); fromB == 0 {
		t.Error("it was not sent to where the peer roamed to")
	}
}

func recovers(t *testing.T, open opener) {
	a, b := pair(t, open)
	reach(t, udpPort(t, a), udpPort(t, b))
	port := b.ListenPort()
	if err := b.place.do(b.Remove); err != nil {
		t.Fatal(err)
	}
	again := open(t, 2, func(c *Config) {
		c.PrivateKey, c.Listen = b.private, netip.AddrPortFrom(c.Listen.Addr(), port)
	})
	if again.ListenPort() != port {
		t.Fatalf("it listens on %d, want %d", again.ListenPort(), port)
	}
	setPeers(t, again, a.peer(netip.AddrPort{})) // it cannot shake hands by itself
	before := stateOf(t, a, b.key)
	if err := a.Reset(b.key); err != nil {
		t.Fatal(err)
	}
	reach(t, udpPort(t, a), udpPort(t, again))
	if after := stateOf(t, a, b.key); after.Endpoint != before.Endpoint || !after.Handshake.After(before.Handshake) {
		t.Errorf("before %+v, after %+v: want a new session at the same endpoint", before, after)
	}
	if err := a.Reset(a.key); !errors.Is(err, errNoPeer) {
		t.Errorf("reset of a peer that there is not: %v", err)
	}
}

func rekeys(t *testing.T, open opener) {
	a, b := pair(t, open)
	reach(t, udpPort(t, a), udpPort(t, b))
	private, next := newKey(t)
	setPeers(t, b, a.peer(a.at()), tunnel.Peer{Key: next, Endpoint: a.at()})
	if err := a.Rekey(private); err != nil {
		t.Fatal(err)
	}
	setPeers(t, b, tunnel.Peer{Key: a.key}, tunnel.Peer{Key: next, Address: a.Address(), Endpoint: a.at()})
	reach(t, udpPort(t, a), udpPort(t, b))
	if s := stateOf(t, b, next); s.Handshake.IsZero() {
		t.Error("there was no handshake with the new key")
	}
	if s := stateOf(t, a, b.key); s.Endpoint != b.at() {
		t.Errorf("the peer is at %s, want %s", s.Endpoint, b.at())
	}
	setPeers(t, b, tunnel.Peer{Key: next, Address: a.Address()})
	reach(t, udpPort(t, a), udpPort(t, b))
}

func limitsSegments(t *testing.T, open opener) {
	const segment, overhead = 1300, wireGuard
	wide := func(c *Config) { c.MTU = defaultMTU }
	a, b := open(t, 1, wide), open(t, 2, wide)
	w := newWire(t, a, b)
	setPeers(t, a, b.peer(w.at))
	setPeers(t, b, a.peer(netip.AddrPort{}))
	transfer := func() (fromA, fromB int) {
		t.Helper()
		client, server := connect(t, a, b)
		w.seen(a, b)
		much := string(make([]byte, 20_000))
		say(t, client, server, much)
		say(t, server, client, much)
		return w.seen(a, b)
	}
	if fromA, fromB := transfer(); fromA <= segment+overhead+16 || fromB <= segment+overhead+16 {
		t.Errorf("without a limit the largest packets are %d and %d bytes, too small to tell", fromA, fromB)
	}
	if err := a.place.do(func() error { return a.SetSegment(b.Address(), segment) }); err != nil {
		t.Fatal(err)
	}
	// WireGuard pads to 16 bytes.
	if fromA, fromB := transfer(); fromA > segment+overhead+16 || fromB > segment+overhead+16 {
		t.Errorf("packets of %d and %d bytes with segments of %d", fromA, fromB, segment)
	}
	if err := a.SetSegment(b.Address(), 0); err != nil {
		t.Fatal(err)
	}
	if fromA, _ := transfer(); fromA <= segment+overhead+16 {
		t.Errorf("the limit was not lifted: %d bytes", fromA)
	}
	if err := a.SetSegment(b.Address(), 100); err == nil {
		t.Error("segments of 100 bytes were taken")
	}
	if err := a.SetSegment(b.Address(), segment); err != nil {
		t.Fatal(err)
	}
	setPeers(t, a)
	setPeers(t, a, b.peer(w.at))
	setPeers(t, b, a.peer(netip.AddrPort{}))
	if err := a.Reset(b.key); err != nil {
		t.Fatal(err)
	}
	if fromA, _ := transfer(); fromA <= segment+overhead+16 {
		t.Errorf("the limit outlived the peer: %d bytes", fromA)
	}
}

func refusesUnknown(t *testing.T, open opener) {
	a, b := pair(t, open)
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	stranger := open(t, 3, nil)
	setPeers(t, stranger, b.peer(b.at()))
	us := udpPort(t, stranger)
	for range 10 {
		us.WriteTo([]byte("from a stranger"), ub.LocalAddr())
	}
	drainHellos(t, ua, ub)
	if s := stateOf(t, stranger, b.key); !s.Handshake.IsZero() {
		t.Error("it shook hands with a stranger")
	}
}

func takesConcurrentChanges(t *testing.T, open opener) {
	a, b := pair(t, open)
	var changing sync.WaitGroup
	_, other := newKey(t)
	for i := range 4 {
		changing.Go(func() {
			for range 20 {
				var err error
				switch i {
				case 0:
					err = a.Reset(b.key)
				case 1:
					err = a.SetPeers([]tunnel.Peer{b.peer(b.at()), {Key: other, Address: meshAddress(9)}})
				case 2:
					err = a.SetPeers([]tunnel.Peer{b.peer(b.at())})
				case 3:
					err = a.SetEndpoint(b.key, b.at())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	changing.Wait()
	setPeers(t, a, b.peer(b.at()))
	reach(t, udpPort(t, a), udpPort(t, b))
	states, err := a.Peers()
	if err != nil || len(states) != 1 {
		t.Errorf("peers at the end: %+v, %v", states, err)
	}
}

func keepsSilent(t *testing.T, open opener) {
	a, b := pair(t, open)
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	mute := open(t, 3, nil)
	setPeers(t, b, a.peer(a.at()), tunnel.Peer{Key: mute.key})
	setPeers(t, mute, b.peer(b.at()))
	um := udpPort(t, mute)
	eventually(t, "a key without address shakes hands", func() bool {
		um.WriteTo([]byte("without an address"), ub.LocalAddr())
		return !stateOf(t, mute, b.key).Handshake.IsZero()
	})
	um.WriteTo([]byte("without an address"), ub.LocalAddr())
	drainHellos(t, ua, ub)
}
