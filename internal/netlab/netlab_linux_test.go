package netlab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// count pings a few times and tells how many had no answer.
func count(t *testing.T, from *Namespace, to netip.AddrPort, size, pings int) (lost int) {
	t.Helper()
	const every = 2 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(pings)*every)
	defer cancel()
	p, err := from.Ping(ctx, to, PingOptions{Every: every, Size: size, Grace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if p.Sent() == 0 {
		t.Fatal("nothing was sent")
	}
	if p.Lost() != 0 && p.Lost() != p.Sent() {
		t.Logf("%d of %d were lost", p.Lost(), p.Sent())
	}
	return p.Lost() * pings / p.Sent()
}

func reaches(t *testing.T, from *Namespace, to netip.AddrPort) bool {
	t.Helper()
	return count(t, from, to, 8, 10) == 0
}

func TestHostsReachEachOther(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	port := b.Echo()
	for _, to := range []netip.Addr{b.Address, b.Address6} {
		for _, port := range []uint16{port, 0} {
			for _, size := range []int{8, 9, 1000} {
				if n := count(t, a.Namespace, netip.AddrPortFrom(to, port), size, 10); n != 0 {
					t.Errorf("%v, port %d: %d of 10 pings of %d bytes were lost", to, port, n, size)
				}
			}
		}
	}
	l, err := b.Listen("tcp", netip.AddrPortFrom(b.Address, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := a.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is reached from outside the lab")
	}
}

func TestFaults(t *testing.T) {
	internet := New(t).Internet()
	a, b, c := internet.Host("a"), internet.Host("b"), internet.Host("c")
	toB, toC := netip.AddrPortFrom(b.Address, b.Echo()), netip.AddrPortFrom(c.Address, c.Echo())
	for name, tt := range map[string]struct {
		fault      func() *Fault
		b, c, back bool // whether a reaches b and c, and c reaches b
	}{
		"silence":          {func() *Fault { return internet.Silence(a, b) }, false, true, true},
		"one way":          {func() *Fault { return internet.SilenceOneWay(b, a) }, false, true, true},
		"isolation":        {func() *Fault { return internet.Isolate(b) }, false, true, false},
		"no UDP":           {func() *Fault { return internet.BlockUDP(a) }, false, false, true},
		"all lost":         {func() *Fault { return internet.Lose(a, c, 1) }, true, false, true},
		"none lost":        {func() *Fault { return internet.Lose(a, c, 0) }, true, true, true},
		"small enough":     {func() *Fault { return internet.Shrink(b, 1300) }, true, true, true},
		"nothing is small": {func() *Fault { return internet.Shrink(b, 20) }, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := tt.fault()
			if got := reaches(t, a.Namespace, toB); got != tt.b {
				t.Errorf("a reaches b: %v", got)
			}
			if got := reaches(t, a.Namespace, toC); got != tt.c {
				t.Errorf("a reaches c: %v", got)
			}
			if got := reaches(t, c.Namespace, toB); got != tt.back {
				t.Errorf("c reaches b: %v", got)
			}
			f.Restore()
			f.Restore()
			if !reaches(t, a.Namespace, toB) || !reaches(t, a.Namespace, toC) {
				t.Error("the fault outlives its end")
			}
		})
	}
}

// TestDropOnLoopback has programs of one namespace lose what they send each other, and hear nothing of it.
func TestDropOnLoopback(t *testing.T) {
	n := New(t).Namespace("one")
	lost, kept := netip.AddrPortFrom(loopback, n.Echo()), netip.AddrPortFrom(loopback, n.Echo())
	for name, match := range map[string]string{
		"there": fmt.Sprintf("udp dport %d", lost.Port()), "back": fmt.Sprintf("udp sport %d", lost.Port()),
		"large": fmt.Sprintf("udp dport %d meta length > 35", lost.Port()),
	} {
		f := n.Drop(match)
		if f.Met() != 0 {
			t.Errorf("%s: met %d packets before there were any", name, f.Met())
		}
		if reaches(t, n, lost) || !reaches(t, n, kept) {
			t.Errorf("%s: want one of two lost", name)
		}
		if f.Met() == 0 {
			t.Errorf("%s: nothing was counted", name)
		}
		f.Restore()
		if !reaches(t, n, lost) {
			t.Errorf("%s: the fault outlives its end", name)
		}
	}
	f := n.Drop(fmt.Sprintf("udp dport %d", lost.Port()))
	c, err := n.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(lost)); err != nil {
		t.Errorf("the sender is told: %v", err)
	}
	if f.Met() != 1 {
		t.Errorf("met %d packets, want 1", f.Met())
	}
}

// TestTranslate has a peer see a socket at a port that it does not have, and then at another one.
func TestTranslate(t *testing.T) {
	n := New(t).Namespace("one")
	var ends [2]net.PacketConn
	for i := range ends {
		var err error
		if ends[i], err = n.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		defer ends[i].Close()
	}
	client, peer := ends[0], ends[1]
	was := uint16(client.LocalAddr().(*net.UDPAddr).Port)
	send := func(from net.PacketConn, to net.Addr) {
		t.Helper()
		if _, err := from.WriteTo([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(at net.PacketConn, wait time.Duration) (from net.Addr, err error) {
		t.Helper()
		_ = at.SetReadDeadline(time.Now().Add(wait))
		_, from, err = at.ReadFrom(make([]byte, 10))
		return from, err
	}
	var old net.Addr
	for _, now := range []uint16{was + 1, was + 2} {
		f := n.Translate(was, now, uint16(peer.LocalAddr().(*net.UDPAddr).Port))
		send(client, peer.LocalAddr())
		seen, err := hear(peer, time.Minute)
		if err != nil || seen.(*net.UDPAddr).Port != int(now) {
			t.Fatalf("the peer sees %v, %v; want port %d", seen, err, now)
		}
		if old != nil {
			send(peer, old)
		}
		send(peer, client.LocalAddr())
		if from, err := hear(client, 50*time.Millisecond); err == nil {
			t.Errorf("what %v sent to a port of old came", from)
		}
		if f.Met() != 1 {
			t.Errorf("met %d packets, want the one that was dropped", f.Met())
		}
		send(peer, seen)
		if from, err := hear(client, time.Minute); err != nil || from.String() != peer.LocalAddr().String() {
			t.Errorf("the client hears from %v, %v", from, err)
		}
		old = seen
		f.Restore()
	}
	send(peer, client.LocalAddr())
	if _, err := hear(client, time.Minute); err != nil {
		t.Errorf("the translation outlives its end: %v", err)
	}
}

var loopback = netip.MustParseAddr("127.0.0.1")

func TestBlackHoleSwallowsLargePacketsOnly(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	to := netip.AddrPortFrom(b.Address, b.Echo())
	const headers = 20 + 8
	internet.Shrink(b, 1300)
	if n := count(t, a.Namespace, to, 1300-headers, 10); n != 0 {
		t.Errorf("%d of the largest packets that fit were lost", n)
	}
	if n := count(t, a.Namespace, to, 1301-headers, 10); n != 10 {
		t.Errorf("%d of 10 packets that do not fit were lost", n)
	}
	// A stream's segments are on the wire as they are, not in bundles of 64 KiB that the rule would take for large ones.
	l, err := b.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan int64, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			received <- -1
			return
		}
		n, _ := io.Copy(io.Discard, conn)
		received <- n
	}()
	b.batch("route replace default via " + b.subnet4.Addr().Next().String() + " advmss 1200")
	conn, err := a.Dial(t.Context(), "tcp", netip.AddrPortFrom(b.Address, uint16(l.Addr().(*net.TCPAddr).Port)).String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if n := <-received; n != 1<<20 {
		t.Errorf("%d bytes came", n)
	}
}

func TestLossIsPartial(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	internet.Lose(a, b, 0.5)
	if n := count(t, a.Namespace, netip.AddrPortFrom(b.Address, b.Echo()), 8, 300); n < 60 || n > 240 {
		t.Errorf("%d of 300 were lost", n) // never in a lifetime of runs
	}
}

func TestMove(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	before := netip.AddrPortFrom(b.Address, b.Echo())
	toA := netip.AddrPortFrom(a.Address, a.Echo())
	b.Move()
	if b.Address == before.Addr() {
		t.Fatal("the address is the old one")
	}
	if reaches(t, a.Namespace, before) {
		t.Error("the old address answers")
	}
	for _, to := range []netip.Addr{b.Address, b.Address6} {
		if !reaches(t, a.Namespace, netip.AddrPortFrom(to, before.Port())) {
			t.Errorf("the new address %v does not answer", to)
		}
	}
	if !reaches(t, b.Namespace, toA) {
		t.Error("the moved host reaches nobody")
	}
}

func TestWireDelays(t *testing.T) {
	internet := New(t).Internet()
	a := internet.HostBehind("a", WireOptions{Delay: 20 * time.Millisecond})
	b := internet.HostBehind("b", WireOptions{Delay: 10 * time.Millisecond, Rate: 10_000_000})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p, err := a.Ping(ctx, netip.AddrPortFrom(b.Address, b.Echo()), PingOptions{Every: 10 * time.Millisecond, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if p.Lost() != 0 {
		t.Errorf("%d of %d were lost", p.Lost(), p.Sent())
	}
	if _, shortest := p.Trip(); shortest < 60*time.Millisecond {
		t.Errorf("the shortest of the round trips through 2×30 ms took %v", shortest)
	}
}

func TestKnock(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	l, err := b.Listen("tcp", netip.AddrPortFrom(b.Address, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	open := l.Addr().(*net.TCPAddr).AddrPort()
	once, cancel := context.WithCancel(t.Context())
	cancel()
	if p := a.Knock(once, open, PingOptions{Every: time.Second}); p.Sent() != 1 || p.Lost() != 0 {
		t.Errorf("open port: %d of %d were lost", p.Lost(), p.Sent())
	}
	_ = l.Close()
	if p := a.Knock(once, open, PingOptions{Every: time.Second}); p.Lost() != 0 {
		t.Error("a refusal is no answer")
	}
	internet.Silence(a, b)
	if p := a.Knock(once, open, PingOptions{Every: time.Second}); p.Lost() != 1 {
		t.Error("there is an answer through a dead link")
	}
}

func TestShapeAcceptsRates(t *testing.T) {
	internet := New(t).Internet()
	a, b := internet.Host("a"), internet.Host("b")
	a.Shape(500_000_000)
	a.Shape(1_000_000)
	if out := a.run("", "tc", "qdisc", "show", "dev", a.Device); !strings.Contains(out, "tbf") || !strings.Contains(out, "rate 1Mbit") {
		t.Errorf("the link is not shaped: %s", out)
	}
	if !reaches(t, a.Namespace, netip.AddrPortFrom(b.Address, b.Echo())) {
		t.Error("nothing gets through")
	}
}

func TestCommandRunsInside(t *testing.T) {
	lab := New(t)
	n := lab.Namespace("lonely")
	out, err := n.Command(t.Context(), "ip", "-brief", "address").Output()
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(out, []byte("\n")); lines != 1 || !bytes.HasPrefix(out, []byte("lo")) {
		t.Errorf("a new namespace has more than loopback:\n%s", out)
	}
}

// TestNothingIsLeft runs a lab to its end, with a process in it.
func TestNothingIsLeft(t *testing.T) {
	var name string
	var child *exec.Cmd
	t.Run("lab", func(t *testing.T) {
		n := New(t).Namespace("gone")
		name = n.Name
		child = n.Command(context.Background(), "sleep", "600")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
	})
	if t.Skipped() || name == "" {
		t.Skip("no lab was made")
	}
	if _, err := os.Stat(filepath.Join(namespaceFolder, name)); !os.IsNotExist(err) {
		t.Errorf("namespace %q is left: %v", name, err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the process was not ended")
	}
}

func TestSweepTakesWhatDeadOwnersLeft(t *testing.T) {
	Skip(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	orphan := fmt.Sprintf("%s-%d-1-1-1-orphan", namePrefix, dead.Process.Pid)
	if _, err := output("ip", "netns", "add", orphan); err != nil {
		t.Fatal(err)
	}
	alive := New(t).Namespace("alive")
	New(t) // sweeps again
	if _, err := os.Stat(filepath.Join(namespaceFolder, orphan)); !os.IsNotExist(err) {
		t.Errorf("the orphan is left: %v", err)
		_ = remove(orphan)
	}
	if _, err := os.Stat(filepath.Join(namespaceFolder, alive.Name)); err != nil {
		t.Errorf("a namespace with a living owner is gone: %v", err)
	}
}

func TestOrphanLeavesOthersAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`(pe|other)-[0-9a-z]*(-[0-9a-z]+){0,3}`)).Draw(t, "name")
		if orphan(name) {
			t.Fatalf("%q would be removed", name)
		}
	})
}

func TestSubnetsDoNotMeet(t *testing.T) {
	var all []netip.Prefix
	for i := 0; ; i++ {
		v4, v6, err := subnets(i)
		if err != nil {
			break
		}
		if v4 != v4.Masked() || v6 != v6.Masked() {
			t.Fatalf("%v or %v is not a network", v4, v6)
		}
		for _, o := range all {
			if v4.Overlaps(o) || v6.Overlaps(o) {
				t.Fatalf("%v or %v meets %v", v4, v6, o)
			}
		}
		all = append(all, v4, v6)
	}
	if len(all) != 2*96 {
		t.Errorf("%d subnets", len(all))
	}
}

func TestSilenceIsTheLongestGap(t *testing.T) {
	start := time.Now()
	p := Pings{}
	for i, answered := range []bool{true, true, false, false, true, false} {
		p.sent = append(p.sent, start.Add(time.Duration(i)*time.Second))
		trip := time.Duration(0)
		if answered {
			trip = time.Duration(i+1) * time.Millisecond
		}
		p.trips = append(p.trips, trip)
	}
	if p.Sent() != 6 || p.Lost() != 3 || p.Silence() != 3*time.Second {
		t.Errorf("sent %d, lost %d, silence %v", p.Sent(), p.Lost(), p.Silence())
	}
	if m, s := p.Trip(); m != 2*time.Millisecond || s != time.Millisecond {
		t.Errorf("median %v, shortest %v", m, s)
	}
}
