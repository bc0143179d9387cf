package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/netlab"
)

// closed is a port of the host on the underlay at which nobody listens.
func (h *meshHost) closed() netip.AddrPort { return netip.AddrPortFrom(h.Address, 9) }

// TestMeshValidatorAnswersNobody looks for the validator from outside the deployment and from a sentry that somebody
// has taken over, on every port.
func TestMeshValidatorAnswersNobody(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1, s2 := m.host("v"), m.host("s1"), m.host("s2")
	outsider := m.Host("outsider")
	for _, address := range []string{":26656", ":22"} { // as a daemon that listens everywhere
		l, err := v.Listen("tcp", address)
		m.must(err)
		defer l.Close()
	}
	out, err := s1.Command(t.Context(), "nft", "delete", "table", "inet", "pressenter_mesh").CombinedOutput()
	if err != nil {
		t.Fatalf("take a sentry over: %v: %s", err, out)
	}
	for _, tt := range []struct {
		from     *netlab.Namespace
		source   netip.Addr
		to       netip.Addr
		answered bool
		why      string
	}{
		{outsider.Namespace, outsider.Address, v.Address, false, "outsider, IPv4"},
		{outsider.Namespace, outsider.Address6, v.Address6, false, "outsider, IPv6"},
		{s1.Namespace, s1.Address, v.Address, false, "sentry, on the underlay"},
		{s1.Namespace, s1.inside(), v.inside(), false, "sentry, in the mesh"},
		{outsider.Namespace, outsider.Address, s2.Address, true, "a sentry's address, IPv4: the scan sees what answers"},
		{outsider.Namespace, outsider.Address6, s2.Address6, true, "a sentry's address, IPv6: the scan sees what answers"},
		{s1.Namespace, s1.inside(), s2.inside(), true, "a sentry in the mesh: the scan sees what answers"},
	} {
		ports, err := scan(tt.from, tt.source, tt.to)
		if err != nil {
			t.Fatalf("%s: %v", tt.why, err)
		}
		if answered := len(ports) > 0; answered != tt.answered {
			t.Errorf("%s: answers from ports %v", tt.why, ports[:min(len(ports), 20)])
		}
	}
	m.must(errors.Join(v.reaches(s1), v.reaches(s2)))
}

// scan sends a SYN and a datagram to every port of a host and returns the TCP ports that sent anything back, and 0 for
// a UDP port or an ICMP message.
func scan(from *netlab.Namespace, source, to netip.Addr) (answers []uint16, err error) {
	tcp, udp, icmp := "ip4:tcp", "udp4", "ip4:icmp"
	if to.Is6() {
		tcp, udp, icmp = "ip6:tcp", "udp6", "ip6:ipv6-icmp"
	}
	var conns [3]net.PacketConn
	for i, network := range []string{tcp, udp, icmp} {
		local := source.String()
		if network == udp {
			local = netip.AddrPortFrom(source, 0).String()
		}
		if conns[i], err = from.ListenPacket(network, local); err != nil {
			return nil, err
		}
		defer conns[i].Close()
	}
	found := make(chan uint16, 1<<18)
	ended := make(chan struct{})
	for i, c := range conns {
		go func() {
			hear(c, to, i == 0, found)
			ended <- struct{}{}
		}()
	}
	for _, port := range scanned() {
		_, _ = conns[0].WriteTo(syn(source, to, port), &net.IPAddr{IP: to.AsSlice()}) // what is not sent is not answered
		_, _ = conns[1].WriteTo(nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)))
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Second)) // for the last answers
	}
	for range conns {
		<-ended
	}
	close(found)
	for port := range found {
		answers = append(answers, port)
	}
	return answers, nil
}

// scanned are all ports, and before the rest those that something of a host may listen on: a tunnel in user space drops
// what comes faster than it can seal, and the first packets meet empty queues.
func scanned() []uint16 {
	ports := []uint16{22, 26656, 26657, access.P2P.Port(), access.Control.Port(), access.RPC.Port(), meshPort, relayPort}
	for port := 1; port <= 65535; port++ {
		ports = append(ports, uint16(port))
	}
	return ports
}

// hear notes everything that comes from a host, until the deadline. Neighbours' discovery of each other is no answer.
func hear(c net.PacketConn, host netip.Addr, tcp bool, found chan<- uint16) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 || !bytes.Equal(addressOf(from), host.AsSlice()) {
			continue
		}
		port := uint16(0)
		if tcp {
			if port = binary.BigEndian.Uint16(buffer); binary.BigEndian.Uint16(buffer[2:]) != scanPort {
				continue // of another connection
			}
		}
		select {
		case found <- port:
		default:
		}
	}
}

func addressOf(a net.Addr) net.IP {
	var ip net.IP
	switch a := a.(type) {
	case *net.IPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}

// scanPort is where the scan's SYNs come from.
const scanPort = 40404

// syn returns a TCP header (RFC 9293, 3.1) that asks for a connection.
func syn(source, to netip.Addr, port uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b[0:], scanPort)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint32(b[4:], 1)
	b[12], b[13] = 5<<4, 2
	binary.BigEndian.PutUint16(b[14:], 1024)
	pseudo := append(source.AsSlice(), to.AsSlice()...)
	pseudo = append(pseudo, 0, 6, 0, byte(len(b)))
	sum := uint32(0)
	for i, v := range append(pseudo, b...) {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[16:], ^uint16(sum))
	return b
}

// TestMeshTellsNobodyWhereTheValidatorIs reads all that sentries have, after the validator has moved and its paths have
// failed and come back.
func TestMeshTellsNobodyWhereTheValidatorIs(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1, s2 := m.host("v"), m.host("s1"), m.host("s2")
	hidden := []netip.Addr{v.Address, v.Address6}
	v.Move()
	hidden = append(hidden, v.Address, v.Address6)
	f := m.Silence(v.Host, s1.Host)
	m.await("a relay to be used", func() error { return v.uses(api.PathRelay, s1) })
	f.Restore()
	m.await("the path to be direct", func() error { return v.uses(api.PathDirect, s1) })
	s2.stop()
	s2.start()
	m.await("everybody to reach everybody", m.whole)
	for _, s := range []*meshHost{s1, s2} {
		st, err := s.status()
		m.must(err)
		said, err := json.Marshal(st)
		m.must(err)
		for _, a := range hidden {
			if bytes.Contains(said, []byte(a.String())) {
				t.Errorf("%s tells %v to who asks", s.name, a)
			}
			for _, path := range naming(t, s.folder, a) {
				t.Errorf("%s has %v in %s", s.name, a, path)
			}
		}
	}
	if len(naming(t, s1.folder, s2.Address)) == 0 {
		t.Error("not even a sentry's address was found in a sentry's files: the search finds nothing")
	}
}

// naming returns the files below a folder that hold an address, as text or as bytes, plain or in base64.
func naming(t *testing.T, folder string, a netip.Addr) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a process replaces its files
		}
		for _, text := range append(decoded(b), b) {
			if bytes.Contains(text, []byte(a.String())) || bytes.Contains(text, a.AsSlice()) {
				paths = append(paths, path)
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

var base64RE = regexp.MustCompile(`[A-Za-z0-9+/]{16,}`)

// decoded returns what stands in base64 in a file.
func decoded(b []byte) (texts [][]byte) {
	for _, run := range base64RE.FindAll(b, -1) {
		if text, err := base64.RawStdEncoding.DecodeString(string(run)); err == nil {
			texts = append(texts, text)
		}
	}
	return texts
}
