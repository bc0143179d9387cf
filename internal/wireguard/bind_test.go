package wireguard

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.zx2c4.com/wireguard/conn"
)

func TestBindOnOneAddress(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(a, func(t *testing.T) {
			b := newBind(netip.MustParseAddr(a))
			receive, port, err := b.Open(0)
			if err != nil {
				t.Skipf("no such address here: %v", err)
			}
			if _, _, err := b.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
				t.Errorf("opened twice: %v", err)
			}
			at := netip.AddrPortFrom(netip.MustParseAddr(a), port)
			to, err := b.ParseEndpoint(at.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Send([][]byte{[]byte("one"), []byte("another")}, to); err != nil {
				t.Fatal(err)
			}
			var from [2]conn.Endpoint
			for i, want := range []string{"one", "another"} {
				packet, sizes := [][]byte{make([]byte, 100)}, []int{0}
				n, err := receive[0](packet, sizes, from[i:i+1])
				if err != nil || n != 1 || string(packet[0][:sizes[0]]) != want {
					t.Fatalf("received %d: %q, %v", n, packet[0][:sizes[0]], err)
				}
			}
			if from[0] != from[1] || from[0].DstToString() != to.DstToString() || from[0].DstIP() != at.Addr().Unmap() ||
				!bytes.Equal(from[0].DstToBytes(), to.DstToBytes()) {
				t.Errorf("received from %v and %v, want %v", from[0], from[1], to)
			}
			if err := errors.Join(b.Close(), b.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := receive[0]([][]byte{nil}, []int{0}, from[:1]); !errors.Is(err, net.ErrClosed) {
				t.Errorf("receive after closing: %v", err)
			}
			if err := b.Send(nil, to); !errors.Is(err, net.ErrClosed) {
				t.Errorf("send after closing: %v", err)
			}
			if _, port, err = b.Open(port); err != nil || port != at.Port() {
				t.Errorf("opened again at %d, %v", port, err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	b := newBind(loopback)
	for _, s := range []string{"", "192.0.2.1", "host:1", "192.0.2.1:70000"} {
		if e, err := b.ParseEndpoint(s); err == nil {
			t.Errorf("%q is endpoint %v", s, e)
		} else if strings.Contains(err.Error(), "192") {
			t.Errorf("the error tells an address: %v", err)
		}
	}
	if err := b.Send(nil, &conn.StdNetEndpoint{}); !errors.Is(err, conn.ErrWrongEndpointType) {
		t.Errorf("another bind's endpoint: %v", err)
	}
}

func TestOverIPv6(t *testing.T) {
	six := netip.IPv6Loopback()
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 here: %v", err)
	} else {
		c.Close()
	}
	a, b := pair(t, func(t testing.TB, n int, change func(*Config)) *end {
		e := onLoopback(t, n, func(c *Config) { c.Listen = netip.AddrPortFrom(six, 0) })
		e.place.address = six
		return e
	})
	reach(t, udpPort(t, a), udpPort(t, b))
}

func TestPortInUse(t *testing.T) {
	e := onLoopback(t, 1, nil)
	private, _ := newKey(t)
	before := runtime.NumGoroutine()
	_, err := Open(t.Context(), Config{Backend: Netstack, PrivateKey: private, Address: meshAddress(2), Network: network, Listen: e.at()})
	if err == nil || !strings.Contains(err.Error(), "in use") || strings.Contains(err.Error(), loopback.String()) {
		t.Errorf("a second on the same port: %v", err)
	}
	waitForGoroutines(t, before)
}

// journal is a log to read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *journal) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *journal) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestLogTellsNoAddress(t *testing.T) {
	var out journal
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := onLoopback(t, 1, func(c *Config) { c.Logger = log })
	b := onLoopback(t, 2, nil)
	_, absent := newKey(t)
	setPeers(t, a, b.peer(b.at()))
	setPeers(t, b, a.peer(a.at()))
	reach(t, udpPort(t, a), udpPort(t, b))
	// A socket on an IPv4 address cannot send there.
	p := b.peer(netip.MustParseAddrPort("[2001:db8::77]:4567"))
	p.Key, p.Address, p.Keepalive = absent, meshAddress(3), 1
	setPeers(t, a, b.peer(b.at()), p)
	eventually(t, "an error is logged", func() bool { return strings.Contains(out.String(), "level=WARN") })
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "127.0.0.1") || strings.Contains(line, "2001:db8") || strings.Contains(line, a.private.String()) {
			t.Errorf("the log tells an address or a key: %s", line)
		}
	}
	if !strings.Contains(out.String(), "level=DEBUG") {
		t.Errorf("nothing was logged:\n%s", &out)
	}
}
