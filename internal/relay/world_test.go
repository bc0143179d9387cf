package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// deadline is for what must happen and nothing else measures; no test waits for it when all is well.
const deadline = 30 * time.Second

// world is a roster that changes, and what was logged in it.
type world struct {
	mu      sync.Mutex
	members map[string]roster.Member
	logs    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newWorld has members of those names; validators are those whose name begins with v.
func newWorld(t testing.TB, names ...string) *world {
	w := &world{members: map[string]roster.Member{}}
	for _, n := range names {
		m := roster.Member{Name: n, Role: roster.RoleSentry, Identity: identity(n)}
		if strings.HasPrefix(n, "v") {
			m.Role = roster.RoleValidator
		}
		m.Mesh.TLS = roster.KeyOf(tlsKey(n).Public().(ed25519.PublicKey))
		w.members[n] = m
	}
	t.Cleanup(func() {
		for _, address := range []string{"127.0.0.1", "::1", "192.0.2."} {
			if s := w.logs.String(); strings.Contains(s, address) {
				t.Errorf("an underlay address was logged:\n%s", s)
			}
		}
	})
	return w
}

func tlsKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("tls " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func identity(name string) roster.Key { return sha256.Sum256([]byte("identity " + name)) }

func (w *world) member(name string) roster.Member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members[name]
}

func (w *world) change(name string, f func(m *roster.Member)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.members[name]
	f(&m)
	w.members[name] = m
}

func (w *world) remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.members, name)
}

func (w *world) find(match func(roster.Member) bool) (roster.Member, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if match(m) {
			return m, true
		}
	}
	return roster.Member{}, false
}

func (w *world) byTLS(k roster.Key) (roster.Member, bool) {
	return w.find(func(m roster.Member) bool { return m.Mesh.TLS == k })
}

func (w *world) byID(k roster.Key) (roster.Member, bool) {
	return w.find(func(m roster.Member) bool { return m.Identity == k })
}

// linked lets everybody talk but validators with each other.
func linked(a, b roster.Member) bool {
	return a.Role == roster.RoleSentry || b.Role == roster.RoleSentry
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// server returns a relay that does not run.
func (w *world) server(name string) *Server {
	return &Server{
		Key: tlsKey(name), Self: identity(name), Member: w.byTLS, ByID: w.byID, Linked: linked,
		Local: func() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:9") }, Logger: w.logger(),
	}
}

// serve runs s on loopback until the test ends, puts it into the roster, and returns what stops it.
func (w *world) serve(t testing.TB, name string, s *Server) (stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.change(name, func(m *roster.Member) { m.Mesh.Relay = l.Addr().String() })
	return w.serveOn(t, s, l)
}

func (w *world) serveOn(t testing.TB, s *Server, l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// client returns a member's client, its tunnel being a socket of the test's.
func (w *world) client(t *testing.T, name string) (*Client, *net.UDPConn) {
	tunnel := listenUDP(t)
	c := &Client{
		Key: tlsKey(name), Logger: w.logger(),
		Peer: func(k roster.Key) (roster.Member, bool) {
			m, ok := w.byID(k)
			return m, ok && linked(m, w.member(name))
		},
		Local: func() netip.AddrPort { return addrOf(tunnel) },
	}
	t.Cleanup(c.Shutdown)
	return c, tunnel
}

func listenUDP(t *testing.T) *net.UDPConn {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// receive returns the next datagram and where it came from.
func receive(t *testing.T, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(deadline))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n], from
}

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

// message returns a WireGuard message of that type with text in it.
func message(kind byte, text string) []byte {
	length := map[byte]int{initiation: 148, response: 92, cookie: 64, transport: 32 + len(text)}[kind]
	b := make([]byte, length)
	b[0] = kind
	copy(b[16:], text)
	return b
}

// wire is a member's raw link, for what a client would not do.
type wire struct {
	*tls.Conn
	t *testing.T
}

// dialAs opens a link with the key of a name, and returns when the relay has let it in.
func (w *world) dialAs(t *testing.T, name, via string) *wire {
	t.Helper()
	conf, err := config(tlsKey(name), func(roster.Key) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	x, err := dialWith(t, conf, w.member(via).Mesh.Relay)
	if err != nil {
		t.Fatalf("%s was not let in: %v", name, err)
	}
	return x
}

func dialWith(t *testing.T, conf *tls.Config, address string) (*wire, error) {
	conn, err := tls.Dial("tcp", address, conf)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.NetConn().Close() })
	x := &wire{conn, t}
	_, _, err = x.frame()
	return x, err
}

// frame returns the next frame, keepalives too.
func (x *wire) frame() (roster.Key, []byte, error) {
	_ = x.SetReadDeadline(time.Now().Add(deadline))
	return decode(x, make([]byte, MaxDatagram))
}

// next returns the next datagram.
func (x *wire) next() (roster.Key, []byte) {
	x.t.Helper()
	for {
		from, b, err := x.frame()
		if err != nil {
			x.t.Fatal(err)
		}
		if len(b) > 0 {
			return from, b
		}
	}
}

func (x *wire) send(to string, b []byte) {
	x.t.Helper()
	if _, err := x.Write(encode(identity(to), b)); err != nil {
		x.t.Fatal(err)
	}
}

// ended waits until the relay has closed the link.
func (x *wire) ended() {
	x.t.Helper()
	for {
		if _, _, err := x.frame(); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				x.t.Fatal("the link stays open")
			}
			return
		}
	}
}
