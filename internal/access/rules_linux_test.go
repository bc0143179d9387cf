package access

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/roster"
)

// eventually is for what must happen and nothing else measures; no test waits for it when all is well.
const eventually = 30 * time.Second

// stand is two namespaces with a device between them that stands for the mesh's. The near one has the filter of one
// member, the far one has none and is everybody else.
type stand struct {
	t         *testing.T
	lab       *netlab.Lab
	r         *roster.Roster
	self      roster.Member
	near, far *netlab.Namespace
}

const stranger = "stranger" // a name that is nobody's

func newStand(t *testing.T, r *roster.Roster, self string) *stand {
	lab := netlab.New(t)
	s := &stand{t: t, lab: lab, r: r, self: member(t, r, self), near: lab.Namespace("near"), far: lab.Namespace("far")}
	lab.Link(s.near, "mesh0", s.far, "mesh0")
	s.ip(s.near, "link set mesh0 address 02:00:00:00:00:01")
	s.ip(s.far, "link set mesh0 address 02:00:00:00:00:02")
	s.ip(s.near, "addr add %s/48 dev mesh0 nodad", s.address(self))
	s.ip(s.far, "neigh replace %s lladdr 02:00:00:00:00:01 dev mesh0 nud permanent", s.address(self))
	for _, name := range []string{"v1", "v2", "s1", "s2", stranger} {
		if name != self { // a tunnel has no neighbours to be discovered, so a filter lets none be
			s.ip(s.far, "addr add %s/48 dev mesh0 nodad", s.address(name))
			s.ip(s.near, "neigh replace %s lladdr 02:00:00:00:00:02 dev mesh0 nud permanent", s.address(name))
		}
	}
	return s
}

// address is where a member is inside the mesh, or would be.
func (s *stand) address(name string) netip.Addr {
	m, _ := s.r.Member(name)
	return s.r.MeshAddress(m.Identity)
}

func (s *stand) command(n *netlab.Namespace, stdin, name string, args ...string) string {
	s.t.Helper()
	c := n.Command(s.t.Context(), name, args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *stand) ip(n *netlab.Namespace, format string, args ...any) {
	s.t.Helper()
	s.command(n, "", "ip", strings.Fields(fmt.Sprintf(format, args...))...)
}

// load gives the near namespace its filter.
func (s *stand) load(r *roster.Roster) {
	s.t.Helper()
	text, err := Rules(r, s.self, "mesh0", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.command(s.near, text, "nft", "-f", "-")
}

var counter = regexp.MustCompile(`counter packets (\d+) `)

// dropped returns how many packets the rules that contain text have dropped.
func (s *stand) dropped(table, chain, text string) (sum int) {
	s.t.Helper()
	found := false
	for line := range strings.Lines(s.command(s.near, "", "nft", "list", "chain", "inet", table, chain)) {
		if m := counter.FindStringSubmatch(line); m != nil && strings.Contains(line, text) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				s.t.Fatal(err)
			}
			sum, found = sum+n, true
		}
	}
	if !found {
		s.t.Fatalf("no rule of %s says %q", chain, text)
	}
	return sum
}

// await waits until a rule has dropped more than before.
func (s *stand) await(table, chain, text string, before int) {
	s.t.Helper()
	for start := time.Now(); s.dropped(table, chain, text) <= before; {
		if time.Since(start) > eventually {
			s.t.Fatalf("no packet was dropped by %q", text)
		}
	}
}

func (s *stand) side(name string) *netlab.Namespace {
	if name == s.self.Name {
		return s.near
	}
	return s.far
}

// dial connects from one address to another.
func (s *stand) dial(ctx context.Context, network string, n *netlab.Namespace, from netip.Addr, to netip.AddrPort) (c net.Conn, err error) {
	err = n.Do(func() error {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		if network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		c, err = d.DialContext(ctx, network, to.String())
		return err
	})
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(eventually))
		s.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// open connects, and returns both ends, of TCP only.
func (s *stand) open(from, to string, port uint16) (near, far net.Conn) {
	s.t.Helper()
	at := netip.AddrPortFrom(s.address(to), port)
	l, err := s.side(to).Listen("tcp", at.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), eventually)
	defer cancel()
	a, err := s.dial(ctx, "tcp", s.side(from), s.address(from), at)
	if err != nil {
		s.t.Fatalf("%s → %s, TCP %d: %v", from, to, port, err)
	}
	b, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	_ = b.SetDeadline(time.Now().Add(eventually))
	s.t.Cleanup(func() { b.Close() })
	return a, b
}

func (s *stand) say(a, b net.Conn) {
	s.t.Helper()
	got := make([]byte, 5)
	if _, err := a.Write([]byte("hello")); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.ReadFull(b, got); err != nil {
		s.t.Fatal(err)
	}
}

// exchange sends a datagram there and another one back.
func (s *stand) exchange(n *netlab.Namespace, from netip.Addr, m *netlab.Namespace, to netip.AddrPort) {
	s.t.Helper()
	p, err := m.ListenPacket("udp", to.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer p.Close()
	_ = p.SetDeadline(time.Now().Add(eventually))
	c, err := s.dial(s.t.Context(), "udp", n, from, to)
	if err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 100)
	if _, err := c.Write([]byte("question")); err != nil {
		s.t.Fatal(err)
	}
	_, back, err := p.ReadFrom(buf)
	if err != nil {
		s.t.Fatalf("%s → %s: %v", from, to, err)
	}
	if _, err := p.WriteTo([]byte("answer"), back); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Read(buf); err != nil {
		s.t.Fatalf("%s → %s, the answer: %v", from, to, err)
	}
}

// blocked starts something that must be dropped by a certain rule.
func (s *stand) blocked(table, chain, text, network string, n *netlab.Namespace, from netip.Addr, to netip.AddrPort) {
	s.t.Helper()
	before := s.dropped(table, chain, text)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() {
		c, err := s.dial(ctx, network, n, from, to)
		if err == nil && network == "udp" {
			_, err = c.Write([]byte("question"))
			err = errors.Join(err, errors.New("sent"))
		}
		ended <- err
	}()
	s.await(table, chain, text, before)
	cancel()
	if err := <-ended; err == nil {
		s.t.Errorf("%s %s → %s: connected", network, from, to)
	}
}

func TestRulesInTheKernel(t *testing.T) {
	const (
		unknown  = "not a member to talk to"
		unasked  = "not allowed to start"
		anything = ""
	)
	r := deployment("v1", "v2", "s1", "s2")
	for self, flows := range map[string][]struct {
		network, from, to string
		port              uint16
		dropped           string // by which rule
	}{
		"s1": {
			{"tcp", "v1", "s1", P2P.Port(), anything},
			{"tcp", "s2", "s1", P2P.Port(), anything},
			{"tcp", "v2", "s1", Control.Port(), anything},
			{"udp", "v1", "s1", Control.Port(), anything},
			{"udp", "v1", "s1", P2P.Port(), unasked},
			{"tcp", "v1", "s1", 22, unasked},
			{"udp", "s2", "s1", 53, unasked},
			{"tcp", stranger, "s1", P2P.Port(), unknown},
			{"udp", stranger, "s1", Control.Port(), unknown},
			{"tcp", "s1", "s2", P2P.Port(), anything},
			{"udp", "s1", "s2", Control.Port(), anything},
			{"tcp", "s1", "v1", P2P.Port(), unasked},
			{"udp", "s1", "v1", Control.Port(), unasked},
			{"tcp", "s1", "s2", 22, unasked},
			{"tcp", "s1", stranger, P2P.Port(), unknown},
		},
		"v1": {
			{"tcp", "v1", "s1", P2P.Port(), anything},
			{"udp", "v1", "s2", Control.Port(), anything},
			{"tcp", "s1", "v1", P2P.Port(), unasked},
			{"udp", "s1", "v1", Control.Port(), unasked},
			{"tcp", "s1", "v1", 22, unasked},
			{"tcp", "v2", "v1", P2P.Port(), unknown},
			{"tcp", "v1", "v2", P2P.Port(), unknown},
			{"tcp", "v1", "s1", 22, unasked},
		},
	} {
		t.Run(self, func(t *testing.T) {
			s := newStand(t, r, self)
			s.load(r)
			s.load(r) // in place of the first
			for _, f := range flows {
				to := netip.AddrPortFrom(s.address(f.to), f.port)
				switch {
				case f.dropped != anything:
					chain := "output"
					if f.to == self {
						chain = "input"
					}
					l, err := s.side(f.to).Listen("tcp", to.String()) // without the filter it would connect
					if err != nil {
						t.Fatal(err)
					}
					s.blocked("pressenter_mesh", chain, f.dropped, f.network, s.side(f.from), s.address(f.from), to)
					l.Close()
				case f.network == "tcp":
					a, b := s.open(f.from, f.to, f.port)
					s.say(a, b)
					s.say(b, a)
				default:
					s.exchange(s.side(f.from), s.address(f.from), s.side(f.to), to)
				}
			}
		})
	}
}

// TestForgottenConnectionEnds: a host that lost power knows nothing of its connections. The others do, and what they send
// has to end them: a sentry's node turns the validator away as long as it takes it for linked.
func TestForgottenConnectionEnds(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	s := newStand(t, r, "v1")
	s.load(r)
	var raw net.PacketConn
	err := s.far.Do(func() (err error) {
		raw, err = net.ListenPacket("ip6:tcp", s.address("s1").String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn, err := raw.(*net.IPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const checksum = 16 // where TCP has it
	if ctlErr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, checksum)
	}); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	send := func(flags byte, from, to uint16) {
		segment := make([]byte, 20)
		binary.BigEndian.PutUint16(segment, from)
		binary.BigEndian.PutUint16(segment[2:], to)
		segment[4], segment[8], segment[12], segment[13], segment[14] = 1, 1, 5<<4, flags, 255
		if _, err := raw.WriteTo(segment, &net.IPAddr{IP: s.address("v1").AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
	const syn, rst, ack = 2, 4, 16
	send(syn, P2P.Port(), 40000) // must not be answered
	send(ack, P2P.Port(), 40001)
	_ = raw.SetReadDeadline(time.Now().Add(eventually))
	answer := make([]byte, 100)
	n, _, err := raw.ReadFrom(answer)
	if err != nil {
		t.Fatal("nothing ends the connection: ", err)
	}
	if n < 20 || binary.BigEndian.Uint16(answer) != 40001 || answer[13]&rst == 0 {
		t.Errorf("the answer is %x, no reset from port 40001", answer[:n])
	}
}

// TestControlIsForTheMeshProcess: another user of the host must not speak in its name. The chain's own protocol proves who
// speaks by itself.
func TestControlIsForTheMeshProcess(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv of util-linux is not there to be another user with")
	}
	s := newStand(t, deployment("v1", "v2", "s1", "s2"), "v1")
	s.load(s.r)
	const unasked = "not allowed to start"
	for _, service := range []Service{Control, P2P} {
		l, err := s.far.Listen("tcp", netip.AddrPortFrom(s.address("s1"), service.Port()).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		connect := fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", s.address("s1"), service.Port())
		s.command(s.near, "", "bash", "-c", connect)
		before := s.dropped("pressenter_mesh", "output", unasked)
		other := s.near.Command(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "timeout", "2", "bash", "-c", connect)
		err = other.Run()
		if service == P2P && err != nil {
			t.Errorf("another user does not reach %s: %v", service, err)
		}
		if service == Control {
			if err == nil {
				t.Errorf("another user reaches %s", service)
			}
			s.await("pressenter_mesh", "output", unasked, before)
		}
	}
}

// TestRulesAreReplaced cuts a member off in the middle of a connection. Others' go on.
func TestRulesAreReplaced(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	s := newStand(t, r, "s1")
	s.load(r)
	v1, v1Far := s.open("v1", "s1", P2P.Port())
	v2, v2Far := s.open("v2", "s1", P2P.Port())
	s.say(v1, v1Far)
	s.load(deployment("v2", "s1", "s2"))
	if _, err := v1.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	s.await("pressenter_mesh", "input", "not a member to talk to", 0)
	s.say(v2, v2Far)
	s.say(v2Far, v2)
}

// TestMeshHasOneDevice reaches for a host's mesh address over its underlay, which it would answer without a filter.
func TestMeshHasOneDevice(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	s := newStand(t, r, "s1")
	s.lab.Link(s.near, "eth0", s.far, "eth0")
	s.ip(s.near, "addr add 2001:db8::1/64 dev eth0 nodad")
	s.ip(s.far, "addr add 2001:db8::2/64 dev eth0 nodad")
	s.ip(s.far, "route replace %s via 2001:db8::1 dev eth0", s.address("s1"))
	to := netip.AddrPortFrom(s.address("s1"), Control.Port())
	s.exchange(s.far, netip.MustParseAddr("2001:db8::2"), s.near, to) // as it is without the filter
	s.load(r)
	const other = "the mesh has one device"
	s.blocked("pressenter_mesh", "input", other, "udp", s.far, netip.MustParseAddr("2001:db8::2"), to)
	s.blocked("pressenter_mesh", "input", other, "udp", s.far, s.address("v1"), to)

	// Nor does anything leave there for the mesh, as when the tunnel is down.
	s.ip(s.near, "route replace %s via 2001:db8::2 dev eth0", s.address("s2"))
	s.blocked("pressenter_mesh", "output", other, "udp", s.near, s.address("s1"), netip.AddrPortFrom(s.address("s2"), Control.Port()))

	// The host's own programs reach it.
	s.exchange(s.near, s.address("s1"), s.near, to)
}

func TestNothingIsForwarded(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	s := newStand(t, r, "s1")
	s.lab.Link(s.near, "eth0", s.far, "eth0")
	s.ip(s.near, "addr add 2001:db8::1/64 dev eth0 nodad")
	s.ip(s.near, "neigh replace 2001:db8::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent")
	s.ip(s.far, "route replace 2001:db8::9 via %s dev mesh0", s.address("s1"))
	if err := s.near.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	s.load(r)
	s.blocked("pressenter_mesh", "forward", "iifname", "udp", s.far, s.address("v1"), netip.MustParseAddrPort("[2001:db8::9]:53"))
	s.ip(s.far, "addr add 2001:db8::2/64 dev eth0 nodad")
	s.ip(s.far, "route replace %s via 2001:db8::1 dev eth0", s.address("v1"))
	if err := s.far.Do(func() error { // v1 is not here for this one
		return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("0"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	s.ip(s.far, "addr del %s/48 dev mesh0", s.address("v1"))
	s.blocked("pressenter_mesh", "forward", "oifname", "udp", s.far, netip.MustParseAddr("2001:db8::2"), netip.AddrPortFrom(s.address("v1"), 53))
}

// TestPathMTUIsHeard tells a host that a packet of its was too big.
func TestPathMTUIsHeard(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	s := newStand(t, r, "v1")
	s.load(r)
	to := netip.AddrPortFrom(s.address("s1"), Control.Port())
	c, err := s.dial(t.Context(), "udp", s.near, s.address("v1"), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	var icmp net.PacketConn
	if err := s.far.Do(func() error {
		icmp, err = net.ListenPacket("ip6:ipv6-icmp", s.address("s1").String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer icmp.Close()
	tooBig := packetTooBig(1300, c.LocalAddr().(*net.UDPAddr).AddrPort(), to)
	if _, err := icmp.WriteTo(tooBig, &net.IPAddr{IP: s.address("v1").AsSlice()}); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); !strings.Contains(s.command(s.near, "", "ip", "-6", "route", "get", s.address("s1").String()), "mtu 1300"); {
		if time.Since(start) > eventually {
			t.Fatal("the path's MTU was not heard of")
		}
	}
}

// packetTooBig quotes a UDP datagram (RFC 4443, 3.2). The kernel fills in the checksum.
func packetTooBig(mtu uint32, from, to netip.AddrPort) []byte {
	b := []byte{2, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, mtu)
	b = append(b, 0x60, 0, 0, 0, 0, 16, 17, 64) // IPv6 with 16 bytes of UDP
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	return append(b, 0, 16, 0, 0, 'q', 'u', 'e', 's', 't', 'i', 'o', 'n')
}

// TestRulesOfManyMembersLoad loads the largest roster, twice.
func TestRulesOfManyMembersLoad(t *testing.T) {
	var names []string
	for i := range roster.MaxMembers / 2 {
		names = append(names, fmt.Sprintf("v%d", i), fmt.Sprintf("s%d", i))
	}
	r := deployment(names...)
	s := newStand(t, r, "s1")
	for range 2 {
		start := time.Now()
		s.load(r)
		t.Logf("loaded %d members in %v", len(names), time.Since(start))
	}
	a, b := s.open("v2", "s1", P2P.Port())
	s.say(a, b)
}

// TestShutDeviceIsSilent lets nobody through, in neither direction, and gives way to a member's filter.
func TestShutDeviceIsSilent(t *testing.T) {
	s := newStand(t, deployment("v1", "v2", "s1", "s2"), "s1")
	text, err := Shut("mesh0")
	if err != nil {
		t.Fatal(err)
	}
	s.command(s.near, text, "nft", "-f", "-")
	for _, c := range []struct {
		chain    string
		from     *netlab.Namespace
		to, mine string
	}{{"input", s.far, "s1", "s2"}, {"output", s.near, "s2", "s1"}} {
		before := s.dropped("pressenter_mesh", c.chain, "not in the mesh")
		err := c.from.Do(func() error {
			conn, err := net.DialUDP("udp6", &net.UDPAddr{IP: s.address(c.mine).AsSlice()}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.address(c.to), Control.Port())))
			if err != nil {
				return err
			}
			_, _ = conn.Write([]byte("x")) // the output filter says so to the sender
			return conn.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		s.await("pressenter_mesh", c.chain, "not in the mesh", before)
	}
	s.load(s.r)
}
