package wireguard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// limit bounds every wait for something that must happen. Nothing is measured with it.
const limit = 20 * time.Second

var (
	network  = netip.MustParsePrefix("fd5e:1234:5678::/48")
	loopback = netip.MustParseAddr("127.0.0.1")
)

// end is a device under test, and what others need to know of it.
type end struct {
	*Device
	private, key tunnel.Key
	config       Config
	place        place
}

// place is where a device is: a network namespace, or this process's own.
type place struct {
	address netip.Addr // underlay
	do      func(func() error) error
}

func here(f func() error) error { return f() }

// at returns where the end listens.
func (e *end) at() netip.AddrPort { return netip.AddrPortFrom(e.place.address, e.ListenPort()) }

// peer returns the end as others are told of it.
func (e *end) peer(endpoint netip.AddrPort) tunnel.Peer {
	return tunnel.Peer{Key: e.key, Address: e.Address(), Endpoint: endpoint}
}

func newKey(t testing.TB) (private, public tunnel.Key) {
	t.Helper()
	private, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err = private.Public()
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

func meshAddress(n int) netip.Addr {
	a := network.Addr().As16()
	a[15] = byte(n)
	return netip.AddrFrom16(a)
}

// openEnd opens the device that config describes, in some place.
func openEnd(t testing.TB, p place, c Config) *end {
	t.Helper()
	e, err := tryEnd(t, p, c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func tryEnd(t testing.TB, p place, c Config) (*end, error) {
	t.Helper()
	if c.PrivateKey.IsZero() {
		c.PrivateKey, _ = newKey(t)
	}
	public, err := c.PrivateKey.Public()
	if err != nil {
		t.Fatal(err)
	}
	c.Network = network
	e := &end{private: c.PrivateKey, key: public, config: c, place: p}
	err = p.do(func() error {
		e.Device, err = Open(t.Context(), c)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := p.do(e.Remove); err != nil {
			t.Errorf("remove device: %v", err)
		}
	})
	return e, nil
}

// opener opens the n-th member of a mesh. Members of one opener reach each other's underlay.
type opener func(t testing.TB, n int, change func(*Config)) *end

// onLoopback opens members with network stacks of their own.
func onLoopback(t testing.TB, n int, change func(*Config)) *end {
	t.Helper()
	c := Config{Backend: Netstack, Address: meshAddress(n), Listen: netip.AddrPortFrom(loopback, 0)}
	if change != nil {
		change(&c)
	}
	return openEnd(t, place{loopback, here}, c)
}

func setPeers(t testing.TB, e *end, peers ...tunnel.Peer) {
	t.Helper()
	if err := e.SetPeers(peers); err != nil {
		t.Fatal(err)
	}
}

// pair opens two ends that know each other and where they are.
func pair(t testing.TB, open opener) (a, b *end) {
	t.Helper()
	a, b = open(t, 1, nil), open(t, 2, nil)
	setPeers(t, a, b.peer(b.at()))
	setPeers(t, b, a.peer(a.at()))
	return a, b
}

// stateOf returns what an end knows of another.
func stateOf(t testing.TB, e *end, key tunnel.Key) tunnel.PeerState {
	t.Helper()
	states, err := e.Peers()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("there is no peer %s", key)
	return tunnel.PeerState{}
}

// connect opens a TCP connection from one end to another and returns both sides of it.
func connect(t testing.TB, from, to *end) (client, server net.Conn) {
	t.Helper()
	l := listenTCP(t, to)
	type accepted struct {
		c   net.Conn
		err error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		got <- accepted{c, err}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := from.place.do(func() (err error) {
		client, err = from.DialTCP(ctx, l.Addr().(*net.TCPAddr).AddrPort())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	t.Cleanup(func() {
		client.Close()
		a.c.Close()
	})
	return client, a.c
}

// listenTCP opens a TCP port of an end.
func listenTCP(t testing.TB, e *end) (l net.Listener) {
	t.Helper()
	err := e.place.do(func() (err error) {
		l, err = e.ListenTCP(0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// say sends a line over a connection and waits for it on the other side.
func say(t testing.TB, from, to net.Conn, what string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	if err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(from, what); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(what))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatalf("waiting for %q: %v", what, err)
	}
	if string(got) != what {
		t.Fatalf("got %q, want %q", got, what)
	}
}

// udpPort opens a UDP port of an end.
func udpPort(t testing.TB, e *end) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := e.place.do(func() (err error) {
		c, err = e.ListenUDP(0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// reach sends datagrams until one gets there: WireGuard may lose some while it shakes hands.
func reach(t testing.TB, from, to net.PacketConn) {
	t.Helper()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			from.WriteTo([]byte("hello"), to.LocalAddr())
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	b := make([]byte, 100)
	if err := to.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	n, sender, err := to.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(b[:n]) != "hello" || sender.String() != from.LocalAddr().String() {
		t.Fatalf("got %q from %s, want \"hello\" from %s", b[:n], sender, from.LocalAddr())
	}
}

// eventually tries until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(limit); !so(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}
