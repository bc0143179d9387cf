package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
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
}

// at returns where the end listens, on loopback.
func (e *end) at() netip.AddrPort { return netip.AddrPortFrom(loopback, e.ListenPort()) }

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

// openEnd opens the device that config describes.
func openEnd(t testing.TB, c Config) *end {
	t.Helper()
	if c.PrivateKey.IsZero() {
		c.PrivateKey, _ = newKey(t)
	}
	public, err := c.PrivateKey.Public()
	if err != nil {
		t.Fatal(err)
	}
	c.Network = network
	d, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Errorf("remove device: %v", err)
		}
	})
	return &end{Device: d, private: c.PrivateKey, key: public, config: c}
}

// onLoopback opens the n-th member with a network stack of its own.
func onLoopback(t testing.TB, n int) *end {
	t.Helper()
	return openEnd(t, Config{Backend: Netstack, Address: meshAddress(n), Listen: netip.AddrPortFrom(loopback, 0)})
}

func setPeers(t testing.TB, e *end, peers ...tunnel.Peer) {
	t.Helper()
	if err := e.SetPeers(peers); err != nil {
		t.Fatal(err)
	}
}

// pair opens two ends that know each other and where they are.
func pair(t testing.TB) (a, b *end) {
	t.Helper()
	a, b = onLoopback(t, 1), onLoopback(t, 2)
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
	l, err := to.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
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
	client, err = from.DialTCP(ctx, netip.AddrPortFrom(to.Address(), uint16(l.Addr().(*net.TCPAddr).Port)))
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
	c, err := e.ListenUDP(0)
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

func TestTCPAndUDP(t *testing.T) {
	a, b := pair(t)
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

func TestOpenSaysWhy(t *testing.T) {
	e := openEnd(t, Config{Address: meshAddress(1), Listen: netip.AddrPortFrom(loopback, 0)})
	if e.Backend() != Netstack || e.ListenPort() == 0 || e.MTU() != netstackMTU || e.Address() != meshAddress(1) {
		t.Errorf("without an interface name it opened %s, port %d, MTU %d", e.Backend(), e.ListenPort(), e.MTU())
	}
	t.Logf("reason: %s", e.Reason())
	if !strings.Contains(e.Reason(), "kernel") {
		t.Errorf("reason %q does not say what is missing", e.Reason())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	a, b := onLoopback(t, 1), onLoopback(t, 2)
	setPeers(t, a, b.peer(b.at()))
	setPeers(t, b, a.peer(a.at()))
	client, _ := connect(t, a, b)
	l, err := a.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 4)
	go func() { _, err := l.Accept(); ended <- fmt.Errorf("accept: %w", err) }()
	go func() { _, _, err := u.ReadFrom(make([]byte, 10)); ended <- fmt.Errorf("receive: %w", err) }()
	go func() { _, err := client.Read(make([]byte, 10)); ended <- fmt.Errorf("read: %w", err) }()
	go func() {
		_, err := a.DialTCP(context.Background(), netip.AddrPortFrom(meshAddress(9), 1))
		ended <- fmt.Errorf("dial: %w", err)
	}()
	runtime.Gosched()
	if err := errors.Join(a.Close(), a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			t.Log(err)
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("want net.ErrClosed after Close: %v", err)
			}
		case <-time.After(limit):
			t.Fatal("something goes on after Close")
		}
	}
	for name, f := range map[string]func() error{
		"SetPeers":    func() error { return a.SetPeers(nil) },
		"SetEndpoint": func() error { return a.SetEndpoint(b.key, b.at()) },
		"Reset":       func() error { return a.Reset(b.key) },
		"Rekey":       func() error { return a.Rekey(b.private) },
		"Peers":       func() error { _, err := a.Peers(); return err },
		"SetSegment":  func() error { return a.SetSegment(b.Address(), 0) },
		"DialTCP":     func() error { _, err := a.DialTCP(t.Context(), netip.AddrPortFrom(b.Address(), 1)); return err },
	} {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
		}
	}
	waitForGoroutines(t, before)
}

// waitForGoroutines waits until there are no more goroutines than before.
func waitForGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(limit); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
	}
}

func TestSocketsKeepTheUsualPromises(t *testing.T) {
	a, b := pair(t)
	client, server := connect(t, a, b)
	past := time.Now().Add(-time.Second)
	if err := client.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %v", err)
	}
	u := udpPort(t, a)
	if err := u.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("receive after the deadline: %v", err)
	}
	if err := u.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	l, err := a.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { _, err := l.Accept(); ended <- err }()
	go func() { _, _, err := u.ReadFrom(make([]byte, 1)); ended <- err }()
	if err := errors.Join(l.Close(), l.Close(), u.Close()); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after closing: %v, want net.ErrClosed", err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the other side closed: %v, want EOF", err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after closing: %v, want net.ErrClosed", err)
	}
}
