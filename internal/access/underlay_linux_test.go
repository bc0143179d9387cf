package access

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
)

const tunnelPort = 51820

var (
	nearIP, farIP, otherIP = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	nearIP6, farIP6        = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// newUnderlay is a host with the filter of a member's underlay, and the rest of the world.
func newUnderlay(t *testing.T, self string, open ...uint16) *stand {
	r := deployment("v1", "s1")
	lab := netlab.New(t)
	s := &stand{t: t, lab: lab, r: r, self: member(t, r, self), near: lab.Namespace("near"), far: lab.Namespace("far")}
	lab.Link(s.near, "eth0", s.far, "eth0")
	s.ip(s.near, "addr add %s/24 dev eth0", nearIP)
	s.ip(s.near, "addr add %s/64 dev eth0 nodad", nearIP6)
	s.ip(s.far, "addr add %s/24 dev eth0", farIP)
	s.ip(s.far, "addr add %s/24 dev eth0", otherIP)
	s.ip(s.far, "addr add %s/64 dev eth0 nodad", farIP6)
	text, err := Underlay(s.self.Role, tunnelPort, "mesh0", open...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // in place of the first
		s.command(s.near, text, "nft", "-f", "-")
	}
	return s
}

// listens opens a port of the near side, and returns what waits for the next connection.
func (s *stand) listens(at netip.AddrPort) (accept func() net.Conn) {
	s.t.Helper()
	l, err := s.near.Listen("tcp", at.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	return func() net.Conn {
		s.t.Helper()
		c, err := l.Accept()
		if err != nil {
			s.t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(eventually))
		s.t.Cleanup(func() { c.Close() })
		return c
	}
}

func (s *stand) reach(from netip.Addr, to netip.AddrPort) net.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), eventually)
	defer cancel()
	c, err := s.dial(ctx, "tcp", s.far, from, to)
	if err != nil {
		s.t.Fatalf("%s → %s: %v", from, to, err)
	}
	return c
}

func TestHiddenHost(t *testing.T) {
	s := newUnderlay(t, "v1", 22)
	const table, tunnel = "pressenter_underlay", "the tunnel dials out only"
	for _, a := range []struct{ near, far netip.Addr }{{nearIP, farIP}, {nearIP6, farIP6}} {
		s.blocked(table, "input", tunnel, "udp", s.far, a.far, netip.AddrPortFrom(a.near, tunnelPort))

		// SSH is open; an IPv6 host also has to be found by its neighbours for that.
		accept := s.listens(netip.AddrPortFrom(a.near, 22))
		c := s.reach(a.far, netip.AddrPortFrom(a.near, 22))
		s.say(c, accept())
		for _, port := range []uint16{80, 26656} {
			s.listens(netip.AddrPortFrom(a.near, port))
			s.blocked(table, "input", "counter", "tcp", s.far, a.far, netip.AddrPortFrom(a.near, port))
		}
		s.blocked(table, "input", "counter", "udp", s.far, a.far, netip.AddrPortFrom(a.near, 53))

		// What the host asks for comes back, to TCP and UDP.
		s.exchange(s.near, a.near, s.far, netip.AddrPortFrom(a.far, tunnelPort))
		l, err := s.far.Listen("tcp", netip.AddrPortFrom(a.far, 26656).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, err := s.dial(t.Context(), "tcp", s.near, a.near, netip.AddrPortFrom(a.far, 26656))
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		s.say(in, out)
	}
}

// TestTunnelOfAHiddenHost has a hidden host's tunnel speak to one peer: that peer's answers come in, through the same
// port nobody else's, and not another port's of the same peer.
func TestTunnelOfAHiddenHost(t *testing.T) {
	s := newUnderlay(t, "v1")
	near, err := s.near.ListenPacket("udp", netip.AddrPortFrom(nearIP, tunnelPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := s.far.ListenPacket("udp", netip.AddrPortFrom(farIP, tunnelPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	for _, c := range []net.PacketConn{near, far} {
		_ = c.SetDeadline(time.Now().Add(eventually))
	}
	if _, err := near.WriteTo([]byte("handshake"), far.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if _, _, err := far.ReadFrom(buf); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(nearIP, tunnelPort)
	s.blocked("pressenter_underlay", "input", "the tunnel dials out only", "udp", s.far, farIP, to)
	s.blocked("pressenter_underlay", "input", "the tunnel dials out only", "udp", s.far, otherIP, to)
	if _, err := far.WriteTo([]byte("answer"), near.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	n, from, err := near.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "answer" {
		t.Errorf("%q came from %s, %v, want the answer only", buf[:n], from, err)
	}
}

// TestHiddenHostIsSilent pings a hidden host.
func TestHiddenHostIsSilent(t *testing.T) {
	s := newUnderlay(t, "v1")
	before := s.dropped("pressenter_underlay", "input", "counter")
	var icmp net.PacketConn
	if err := s.far.Do(func() (err error) {
		icmp, err = net.ListenPacket("ip4:icmp", farIP.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer icmp.Close()
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	if _, err := icmp.WriteTo(echo, &net.IPAddr{IP: nearIP.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	s.await("pressenter_underlay", "input", "counter", before)
}

func TestHiddenHostGetsAnAddress(t *testing.T) {
	s := newUnderlay(t, "v1")
	client, err := s.near.ListenPacket("udp", netip.AddrPortFrom(nearIP, 68).String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := s.far.ListenPacket("udp", netip.AddrPortFrom(farIP, 67).String())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.WriteTo([]byte("offer"), client.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(eventually))
	buf := make([]byte, 100)
	if n, _, err := client.ReadFrom(buf); err != nil || string(buf[:n]) != "offer" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestSentryIsNotFlooded has one address start many exchanges with the tunnel. Another one still can.
func TestSentryIsNotFlooded(t *testing.T) {
	s := newUnderlay(t, "s1", 26656)
	to := netip.AddrPortFrom(nearIP, tunnelPort)
	tunnel, err := s.near.ListenPacket("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	_ = tunnel.SetDeadline(time.Now().Add(eventually))
	came := func(text string) {
		t.Helper()
		for buf := make([]byte, 100); ; {
			n, _, err := tunnel.ReadFrom(buf)
			if err != nil {
				t.Fatalf("%q did not come: %v", text, err)
			}
			if string(buf[:n]) == text {
				return
			}
		}
	}
	send := func(from netip.Addr, text string) {
		t.Helper()
		c, err := s.dial(t.Context(), "udp", s.far, from, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send(farIP, "first")
	came("first")
	for sent := 0; s.dropped("pressenter_underlay", "input", "new4") == 0; sent += 1000 {
		if sent == 100_000 {
			t.Fatal("one address is not held back")
		}
		for range 1000 {
			send(farIP, strings.Repeat("x", 10))
		}
	}
	send(otherIP, "another")
	came("another")

	// What is open is not concerned, and what is not is closed.
	accept := s.listens(netip.AddrPortFrom(nearIP, 26656))
	c := s.reach(farIP, netip.AddrPortFrom(nearIP, 26656))
	in := accept()
	s.say(c, in)
	c.Close()
	if _, err := io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct{ near, far netip.Addr }{{nearIP, farIP}, {nearIP6, farIP6}} {
		s.listens(netip.AddrPortFrom(a.near, 26657))
		s.blocked("pressenter_underlay", "input", "counter", "tcp", s.far, a.far, netip.AddrPortFrom(a.near, 26657))
		s.blocked("pressenter_underlay", "input", "counter", "udp", s.far, a.far, netip.AddrPortFrom(a.near, 53))
		s.exchange(s.near, a.near, s.far, netip.AddrPortFrom(a.far, tunnelPort))
	}
}
