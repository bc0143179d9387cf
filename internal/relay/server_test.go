package relay

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

func expect(t *testing.T, from roster.Key, b []byte, wantFrom string, want []byte) {
	t.Helper()
	if from != identity(wantFrom) || !bytes.Equal(b, want) {
		t.Errorf("got %d bytes from %s, want %d from %s", len(b), from, len(want), wantFrom)
	}
}

func TestDeliverToLink(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1")
	s := w.server("s1")
	w.serve(t, "s1", s)
	v, s2 := w.dialAs(t, "v1", "s1"), w.dialAs(t, "s2", "s1")

	v.send("s2", message(initiation, "hello"))
	from, b := s2.next()
	expect(t, from, b, "v1", message(initiation, "hello"))
	s2.send("v1", message(response, "you too"))
	from, b = v.next()
	expect(t, from, b, "s2", message(response, "you too"))
	if n := s.Members(); n != 2 {
		t.Errorf("%d members have a link, want 2", n)
	}
}

func TestDeliverToOurTunnel(t *testing.T) {
	w := newWorld(t, "s1", "v1", "v2")
	tunnel, s := listenUDP(t), w.server("s1")
	s.Local = func() netip.AddrPort { // as a tunnel says that listens on every address
		return netip.AddrPortFrom(netip.IPv4Unspecified(), addrOf(tunnel).Port())
	}
	w.serve(t, "s1", s)
	v1, v2 := w.dialAs(t, "v1", "s1"), w.dialAs(t, "v2", "s1")

	v1.send("s1", message(initiation, "one"))
	b, from1 := receive(t, tunnel)
	expect(t, identity("v1"), b, "v1", message(initiation, "one"))
	v2.send("s1", message(initiation, "two"))
	_, from2 := receive(t, tunnel)
	if from1 == from2 {
		t.Error("two members share a socket: the tunnel cannot tell them apart")
	}
	send(t, tunnel, from2, []byte("not of WireGuard's"))
	send(t, tunnel, from2, message(response, "two"))
	from, b := v2.next()
	expect(t, from, b, "s1", message(response, "two"))
	send(t, tunnel, from1, message(response, "one"))
	from, b = v1.next()
	expect(t, from, b, "s1", message(response, "one"))
}

func TestDeliverToEndpoint(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1")
	far, stranger := listenUDP(t), listenUDP(t)
	w.change("s2", func(m *roster.Member) { m.Mesh.Endpoint = addrOf(far).String() })
	s := w.server("s1")
	w.serve(t, "s1", s)
	v := w.dialAs(t, "v1", "s1")

	v.send("s2", message(initiation, "hello"))
	b, from := receive(t, far)
	expect(t, identity("v1"), b, "v1", message(initiation, "hello"))
	send(t, stranger, from, message(transport, "forged")) // never passed: the socket is s2's
	send(t, far, from, message(response, "you too"))
	source, b := v.next()
	expect(t, source, b, "s2", message(response, "you too"))

	// A new link of v1's finds the session as it was, so that s2's tunnel has nothing to learn.
	v2 := w.dialAs(t, "v1", "s1")
	v.ended()
	v2.send("s2", message(transport, "again"))
	if _, again := receive(t, far); again != from {
		t.Error("a new link lost the session")
	}
	if st := s.Stats(); st.Members != 1 || st.Sessions != 1 {
		t.Errorf("%+v, want one link and one session", st)
	}
}

// TestNothingElseIsPassed sends what must not be passed, then something that must: only that comes.
func TestNothingElseIsPassed(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1", "v2")
	s := w.server("s1")
	w.serve(t, "s1", s)
	v1, v2, s2 := w.dialAs(t, "v1", "s1"), w.dialAs(t, "v2", "s1"), w.dialAs(t, "s2", "s1")

	refused := [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), message(initiation, "")[:147], bytes.Repeat([]byte{0}, 64)}
	for _, b := range refused {
		v1.send("s2", b)
	}
	v1.send("v2", message(transport, "validators have no tunnel"))
	v1.send("v1", message(transport, "to myself"))
	v1.send("nobody", message(transport, "not a member"))
	v1.send("s3", message(transport, "has neither link nor endpoint"))
	v1.send("s2", message(transport, "this one"))
	from, b := s2.next()
	expect(t, from, b, "v1", message(transport, "this one"))
	s2.send("s2", message(transport, "to myself, of a role that may talk to its own"))
	s2.send("v2", message(transport, "and this"))
	from, b = v2.next()
	expect(t, from, b, "s2", message(transport, "and this"))
	if st := s.Stats(); st.Refused != 7 || st.Unreachable != 1 || st.Overrun != 0 {
		t.Errorf("%+v, want 7 refused and 1 unreachable", st)
	}

	if _, err := v1.Write([]byte{0xff, 0xff}); err != nil { // a frame that is too long
		t.Fatal(err)
	}
	if _, err := v1.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	v1.ended()
}

func TestStrangersAreRefused(t *testing.T) {
	w := newWorld(t, "s1", "v1")
	s := w.server("s1")
	w.serve(t, "s1", s)
	stranger := func(change func(*tls.Config)) *tls.Config {
		c, err := config(tlsKey("v1"), func(roster.Key) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		return c
	}
	certify := func(c *tls.Config, key any, public any) {
		dates := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
		der, err := x509.CreateCertificate(rand.Reader, dates, dates, public, key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		conf *tls.Config
		in   bool
	}{
		"a member":           {stranger(func(*tls.Config) {}), true},
		"out of date":        {stranger(func(c *tls.Config) { certify(c, tlsKey("v1"), tlsKey("v1").Public()) }), true},
		"another key":        {stranger(func(c *tls.Config) { certify(c, tlsKey("x"), tlsKey("x").Public()) }), false},
		"another kind":       {stranger(func(c *tls.Config) { certify(c, ec, ec.Public()) }), false},
		"no key":             {stranger(func(c *tls.Config) { c.Certificates = nil }), false},
		"an older TLS":       {stranger(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), false},
		"no protocol":        {stranger(func(c *tls.Config) { c.NextProtos = nil }), false},
		"another protocol":   {stranger(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), false},
		"a key not its own":  {stranger(func(c *tls.Config) { certifyOther(t, c) }), false},
		"a stranger's clock": {stranger(func(c *tls.Config) { c.Time = func() time.Time { return time.Unix(1, 0) } }), true},
	} {
		x, err := dialWith(t, test.conf, w.member("s1").Mesh.Relay)
		if (err == nil) != test.in {
			t.Errorf("%s: let in: %v, want %v (%v)", name, err == nil, test.in, err)
		}
		if x != nil {
			x.NetConn().Close()
		}
	}
}

// certifyOther shows the certificate of a member without its private key.
func certifyOther(t *testing.T, c *tls.Config) {
	cert, err := certificate(tlsKey("v1"))
	if err != nil {
		t.Fatal(err)
	}
	_, cert.PrivateKey, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{cert}
}

func TestCutEndsLinksAtOnce(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1", "v2")
	far := listenUDP(t)
	w.change("s2", func(m *roster.Member) { m.Mesh.Endpoint = addrOf(far).String() })
	s := w.server("s1")
	w.serve(t, "s1", s)
	v1, v2 := w.dialAs(t, "v1", "s1"), w.dialAs(t, "v2", "s1")
	v1.send("s2", message(initiation, "hello"))
	receive(t, far)
	v2.send("s2", message(initiation, "hello"))
	receive(t, far)

	w.remove("v1")
	s.Cut()
	if st := s.Stats(); st.Members != 1 || st.Sessions != 1 {
		t.Errorf("%+v after Cut, want the link and the session of v2 only", st)
	}
	v1.ended()
	v2.send("s2", message(transport, "still here"))
	receive(t, far)

	// A key that changes ends the link that was opened with the old one.
	w.change("v2", func(m *roster.Member) { m.Mesh.TLS = roster.Key{1} })
	s.Cut()
	if n := s.Members(); n != 0 {
		t.Errorf("%d members have a link, want 0", n)
	}
	v2.ended()

	// Nobody is left of who left, also where the destination did.
	w.remove("s2")
	s.Cut()
	if st := s.Stats(); st.Sessions != 0 {
		t.Errorf("%+v, want no session", st)
	}
}

func TestEndpointMoves(t *testing.T) {
	w := newWorld(t, "s1", "s2", "v1")
	before, after := listenUDP(t), listenUDP(t)
	w.change("s2", func(m *roster.Member) { m.Mesh.Endpoint = addrOf(before).String() })
	s := w.server("s1")
	w.serve(t, "s1", s)
	v := w.dialAs(t, "v1", "s1")
	v.send("s2", message(initiation, "hello"))
	receive(t, before)
	w.change("s2", func(m *roster.Member) { m.Mesh.Endpoint = addrOf(after).String() })
	v.send("s2", message(initiation, "hello"))
	receive(t, after)
	if st := s.Stats(); st.Sessions != 1 {
		t.Errorf("%+v, want one session", st)
	}
	w.change("s2", func(m *roster.Member) { m.Mesh.Endpoint = "" })
	s.Cut()
	if st := s.Stats(); st.Sessions != 0 {
		t.Errorf("%+v, want no session to where nobody is", st)
	}
}
