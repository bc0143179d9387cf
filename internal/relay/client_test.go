package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

func open(t *testing.T, c *Client, via, to roster.Member) netip.AddrPort {
	t.Helper()
	a, err := c.Open(t.Context(), via, to)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Addr().IsLoopback() {
		t.Fatalf("%s is not on loopback", a)
	}
	return a
}

// uplinks returns how many relays a client uses.
func (c *Client) inUse() (uplinks, shims int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.uplinks), len(c.shims)
}

// TestBlockedMembersMeet has two members that reach only the relay. One opens a way, the other learns of it.
func TestBlockedMembersMeet(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1")
	w.serve(t, "s1", w.server("s1"))
	v, vTunnel := w.client(t, "v1")
	s2, s2Tunnel := w.client(t, "s2")
	open(t, s2, w.member("s1"), w.member("s3")) // s2 is behind the relay for another member's sake

	toS2 := open(t, v, w.member("s1"), w.member("s2"))
	send(t, vTunnel, toS2, []byte("not of WireGuard's"))
	send(t, listenUDP(t), toS2, message(initiation, "of another process"))
	send(t, vTunnel, toS2, message(initiation, "hello"))
	b, toV := receive(t, s2Tunnel)
	expect(t, identity("v1"), b, "v1", message(initiation, "hello"))
	send(t, s2Tunnel, toV, message(response, "you too"))
	b, from := receive(t, vTunnel)
	expect(t, identity("s2"), b, "s2", message(response, "you too"))
	if from != toS2 {
		t.Error("the answer came from another address than the way's: the tunnel would follow it")
	}
	if again := open(t, v, w.member("s1"), w.member("s2")); again != toS2 {
		t.Error("a way that was open got another address")
	}
	if toV != open(t, s2, w.member("s1"), w.member("v1")) {
		t.Error("a way that came by itself got another address when it was opened")
	}
}

func TestOneLinkForAllPeers(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1")
	s := w.server("s1")
	w.serve(t, "s1", s)
	v, _ := w.client(t, "v1")
	a, b := open(t, v, w.member("s1"), w.member("s2")), open(t, v, w.member("s1"), w.member("s3"))
	if a == b {
		t.Error("two peers share a way")
	}
	if u, n := v.inUse(); u != 1 || n != 2 {
		t.Errorf("%d links and %d ways, want 1 and 2", u, n)
	}
	v.Close(identity("s2"))
	v.Close(identity("s2"))
	if u, n := v.inUse(); u != 1 || n != 1 {
		t.Errorf("%d links and %d ways, want 1 and 1", u, n)
	}
	v.Close(identity("s3"))
	if u, n := v.inUse(); u != 0 || n != 0 {
		t.Errorf("%d links and %d ways, want none", u, n)
	}
}

func TestOpenFails(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1")
	s := w.server("s1")
	w.serve(t, "s1", s)
	v, _ := w.client(t, "v1")
	impostor := w.member("s1")
	impostor.Mesh.TLS = roster.Key{1}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.change("s3", func(m *roster.Member) { m.Mesh.Relay = gone.Addr().String() })
	gone.Close()
	stranger, _ := w.client(t, "v9")

	for name, test := range map[string]struct {
		client *Client
		via    roster.Member
		want   string
	}{
		"does not relay": {v, w.member("s2"), "s2 does not relay"},
		"another key":    {v, impostor, "another key than the roster says"},
		"not there":      {v, w.member("s3"), "connection refused"},
		"not a member":   {stranger, w.member("s1"), "through the relay s1 at 127.0.0.1"},
	} {
		if _, err := test.client.Open(t.Context(), test.via, w.member("s2")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if u, n := test.client.inUse(); u != 0 || n != 0 {
			t.Errorf("%s: %d links and %d ways are left", name, u, n)
		}
	}
	v.Shutdown()
	if _, err := v.Open(t.Context(), w.member("s1"), w.member("s2")); err == nil {
		t.Error("a client that was shut down opened a way")
	}
}

// TestOpenWaitsForTheRelay has a relay that never answers.
func TestOpenWaitsForTheRelay(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.change("s1", func(m *roster.Member) { m.Mesh.Relay = l.Addr().String() })
	v, _ := w.client(t, "v1")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			cancel()
			<-t.Context().Done()
		}
	}()
	if _, err := v.Open(ctx, w.member("s1"), w.member("s2")); err == nil {
		t.Error("opened a way through a relay that said nothing")
	}
}

func TestMoveToAnotherRelay(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1")
	far := listenUDP(t)
	w.change("s3", func(m *roster.Member) { m.Mesh.Endpoint = addrOf(far).String() })
	w.serve(t, "s1", w.server("s1"))
	w.serve(t, "s2", w.server("s2"))
	v, tunnel := w.client(t, "v1")
	a := open(t, v, w.member("s1"), w.member("s3"))
	send(t, tunnel, a, message(initiation, "one"))
	_, first := receive(t, far)
	broken := w.member("s2")
	broken.Mesh.TLS = roster.Key{1}
	if _, err := v.Open(t.Context(), broken, w.member("s3")); err == nil {
		t.Fatal("opened a way through an impostor")
	}
	send(t, tunnel, a, message(initiation, "two"))
	if _, from := receive(t, far); from != first {
		t.Error("what failed changed the way")
	}
	if b := open(t, v, w.member("s2"), w.member("s3")); a != b {
		t.Error("the way got another address when it moved")
	}
	send(t, tunnel, a, message(initiation, "three"))
	if _, from := receive(t, far); from == first {
		t.Error("the way did not move")
	}
	if u, _ := v.inUse(); u != 1 {
		t.Errorf("%d links, want 1", u)
	}
}

// TestRelayRestarts ends a relay and starts it again in the same place: the way goes on without another call of Open.
func TestRelayRestarts(t *testing.T) {
	w := newWorld(t, "s1", "v1")
	relayTunnel := listenUDP(t)
	server := func() *Server {
		s := w.server("s1")
		s.Local = func() netip.AddrPort { return addrOf(relayTunnel) }
		return s
	}
	stop := w.serve(t, "s1", server())
	v, tunnel := w.client(t, "v1")
	a := open(t, v, w.member("s1"), w.member("s1"))
	send(t, tunnel, a, message(initiation, "before"))
	receive(t, relayTunnel)
	stop()
	l, err := net.Listen("tcp", w.member("s1").Mesh.Relay)
	if err != nil {
		t.Fatal(err)
	}
	w.serveOn(t, server(), l)
	got := make(chan []byte)
	go func() {
		b := make([]byte, MaxDatagram)
		n, _, _ := relayTunnel.ReadFromUDPAddrPort(b)
		got <- b[:n]
	}()
	again := time.NewTicker(holdOff / 10) // as a tunnel repeats what gets lost
	defer again.Stop()
	for {
		send(t, tunnel, a, message(initiation, "after"))
		select {
		case b := <-got:
			expect(t, identity("v1"), b, "v1", message(initiation, "after"))
			return
		case <-again.C:
		}
	}
}

func TestClientCut(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "s4", "v1")
	s := w.server("s1")
	w.serve(t, "s1", s)
	w.serve(t, "s2", w.server("s2"))
	v, _ := w.client(t, "v1")
	open(t, v, w.member("s1"), w.member("s3"))
	open(t, v, w.member("s1"), w.member("s4"))
	open(t, v, w.member("s2"), w.member("s2"))
	w.remove("s3")
	v.Cut()
	if u, n := v.inUse(); u != 2 || n != 2 {
		t.Errorf("%d links and %d ways after a peer left, want 2 and 2", u, n)
	}
	w.remove("s2")
	v.Cut()
	if u, n := v.inUse(); u != 1 || n != 1 {
		t.Errorf("%d links and %d ways after a relay left, want 1 and 1", u, n)
	}
	w.change("s1", func(m *roster.Member) { m.Mesh.Relay = "" })
	v.Cut()
	if u, n := v.inUse(); u != 0 || n != 0 {
		t.Errorf("%d links and %d ways after a relay ceased to be one, want none", u, n)
	}
}

// TestOthersDoNotMoveAWay has a relay that hands on what claims to be from a peer whose way goes through another relay.
func TestOthersDoNotMoveAWay(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "s4", "v1")
	w.serve(t, "s1", w.server("s1"))
	w.serve(t, "s2", w.server("s2"))
	v, tunnel := w.client(t, "v1")
	a := open(t, v, w.member("s1"), w.member("s3"))
	open(t, v, w.member("s2"), w.member("s4"))
	honest, other := w.dialAs(t, "s3", "s1"), w.dialAs(t, "s3", "s2")
	other.send("v1", message(transport, "by another relay"))
	if _, from := receive(t, tunnel); from != a {
		t.Error("one peer has two ways")
	}
	send(t, tunnel, a, message(transport, "answer"))
	from, b := honest.next()
	expect(t, from, b, "v1", message(transport, "answer"))
	other.send("v1", message(transport, "that is all"))
	receive(t, tunnel)
}

// TestLateDatagram has one come through a link that was closed meanwhile: it must not bring the link back.
func TestLateDatagram(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1")
	w.serve(t, "s1", w.server("s1"))
	v, _ := w.client(t, "v1")
	open(t, v, w.member("s1"), w.member("s2"))
	v.mu.Lock()
	late := v.uplinks[identity("s1")]
	v.mu.Unlock()
	v.Close(identity("s2"))
	v.arrive(late, identity("s2"), message(transport, "late"))
	if u, n := v.inUse(); u != 0 || n != 0 {
		t.Errorf("%d links and %d ways, want none", u, n)
	}
}

// TestReasonsHaveNoAddresses goes through the errors that the net package makes of addresses.
func TestReasonsHaveNoAddresses(t *testing.T) {
	here, there := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2}
	read := &net.OpError{Op: "read", Net: "tcp", Source: here, Addr: there, Err: syscall.ECONNRESET}
	for want, err := range map[string]error{
		"connection reset by peer":              read,
		"connection reset by peer ":             fmt.Errorf("flush: %w", &net.OpError{Op: "write", Source: here, Err: read}),
		"look up s1.example: no answer in time": &net.DNSError{Err: read.Error(), Name: "s1.example", Server: "192.0.2.3:53", IsTimeout: true},
		"look up s1.example: no such host":      fmt.Errorf("x: %w", &net.DNSError{Err: "no such host", Name: "s1.example", Server: "192.0.2.3:53", IsNotFound: true}),
		"look up s1.example: no answer":         &net.DNSError{Err: read.Error(), Name: "s1.example"},
	} {
		if got := reason(err).Error(); got != strings.TrimSpace(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
