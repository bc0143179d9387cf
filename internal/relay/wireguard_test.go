package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// host is a member with a tunnel of its own.
type host struct {
	name   string
	device *wireguard.Device
	key    tunnel.Key
	client *Client
}

func (h *host) local() netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), h.device.ListenPort())
}

func inside(name string) netip.Addr {
	a := [16]byte{0: 0xfd}
	id := identity(name)
	copy(a[8:], id[:8])
	return netip.AddrFrom16(a)
}

func (w *world) host(t testing.TB, name string) *host {
	private := tunnel.Key(sha256.Sum256([]byte("tunnel " + name)))
	public, err := private.Public()
	if err != nil {
		t.Fatal(err)
	}
	device, err := wireguard.Open(t.Context(), wireguard.Config{
		Backend: wireguard.Netstack, PrivateKey: private, Address: inside(name),
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Network: netip.MustParsePrefix("fd00::/48"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = device.Close() })
	h := &host{name: name, device: device, key: public}
	h.client = &Client{
		Key: tlsKey(name), Logger: w.logger(), Local: h.local,
		Peer: func(k roster.Key) (roster.Member, bool) { return w.byID(k) },
	}
	t.Cleanup(h.client.Shutdown)
	return h
}

// knows makes other the only peer, at an endpoint that may be unknown.
func (h *host) knows(t testing.TB, other *host, endpoint netip.AddrPort) {
	peer := tunnel.Peer{Key: other.key, Address: inside(other.name), Endpoint: endpoint}
	if err := h.device.SetPeers([]tunnel.Peer{peer}); err != nil {
		t.Fatal(err)
	}
}

// TestTunnels has two tunnels talk through the relay in all three ways.
func TestTunnels(t *testing.T) {
	for name, join := range map[string]func(t testing.TB, w *world, s *Server) *host{
		"to the relay itself": func(t testing.TB, w *world, s *Server) *host {
			h := w.host(t, "s1")
			s.Local = h.local
			return h
		},
		"to a link": func(t testing.TB, w *world, _ *Server) *host {
			h := w.host(t, "s2")
			if _, err := h.client.Open(t.Context(), w.member("s1"), w.member("s3")); err != nil {
				t.Fatal(err)
			}
			return h
		},
		"to an endpoint": func(t testing.TB, w *world, _ *Server) *host {
			h := w.host(t, "s2")
			w.change("s2", func(m *roster.Member) {
				m.Mesh.Endpoint = netip.AddrPortFrom(loopback(netip.IPv4Unspecified()), h.device.ListenPort()).String()
			})
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "s1", "s2", "s3", "v1")
			s := w.server("s1")
			w.serve(t, "s1", s)
			b := join(t, w, s)
			a := w.host(t, "v1")
			b.knows(t, a, netip.AddrPort{})
			address, err := a.client.Open(t.Context(), w.member("s1"), w.member(b.name))
			if err != nil {
				t.Fatal(err)
			}
			a.knows(t, b, address)
			defer func() {
				if t.Failed() {
					t.Logf("%+v\n%s", s.Stats(), w.logs.String())
				}
			}()
			echo(t, a, b, 1<<19)
			if st := s.Stats(); st.Delivered < 2*(1<<19)/1280 {
				t.Errorf("%+v: it went another way", st)
			}
		})
	}
}

// echo sends that many bytes to and fro, inside.
func echo(t testing.TB, a, b *host, size int) {
	t.Helper()
	l, err := b.device.ListenTCP(26656)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		_, err = io.Copy(conn, conn)
		done <- errors.Join(err, conn.Close())
	}()
	conn, err := a.device.DialTCP(t.Context(), netip.AddrPortFrom(inside(b.name), 26656))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(deadline))
	sent := bytes.Repeat([]byte("pressenter"), size/10)
	go func() {
		_, err := conn.Write(sent)
		if err == nil {
			err = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		if err != nil {
			t.Errorf("send: %v", err)
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d", len(got), len(sent))
	}
	if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// BenchmarkTunnels measures TCP to and fro inside two tunnels that meet at a relay.
func BenchmarkTunnels(b *testing.B) {
	w := newWorld(b, "s1", "s2", "s3", "v1")
	s := w.server("s1")
	s.Bandwidth = 100_000_000_000
	w.serve(b, "s1", s)
	near, far := w.host(b, "v1"), w.host(b, "s2")
	if _, err := far.client.Open(b.Context(), w.member("s1"), w.member("s3")); err != nil {
		b.Fatal(err)
	}
	far.knows(b, near, netip.AddrPort{})
	address, err := near.client.Open(b.Context(), w.member("s1"), w.member("s2"))
	if err != nil {
		b.Fatal(err)
	}
	near.knows(b, far, address)
	const size = 10 << 20
	b.SetBytes(2 * size)
	for b.Loop() {
		echo(b, near, far, size)
	}
	b.Logf("%+v", s.Stats())
}
