package roster

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// full returns a roster that uses every field of the format.
func full() *Roster {
	_, _, g3 := deployment()
	r := next(g3, func(r *Roster) {
		r.Remove("s2")
		r.at("s1").Mesh.Next, r.at("s1").Mesh.Relay = pub("wg s1 next"), "192.0.2.1:443"
		r.at("s1").PrivatePeers = []string{nodeID("p4") + "@192.0.2.4:26656", nodeID("p3") + "@p3.example.org:26656"}
		r.at("s1").Restart = 4
		r.at("s1").Endpoint = "[2001:db8::1]:26656"
		r.Members = append(r.Members, Member{Name: "g1", Role: RoleGenesisValidator, Identity: pub("host g1"), Since: 4})
		r.Peers = []string{nodeID("p2") + "@192.0.2.2:26656", nodeID("p1") + "@p1.example.org:26656"}
		r.Chain.Binaries = append(r.Chain.Binaries, Binary{"darwin/arm64", Hash{2}})
		r.Chain.MinGasPrice = "0.1stake,0.002ibc/ABC"
		r.Parents = append(r.Parents, Hash{9})
	})
	return r
}

// The format is frozen: hosts out there hold these bytes. If this test fails,
// the change needs a new FormatVersion.
func TestGolden(t *testing.T) {
	r := full()
	e := sign(t, r, "alice", "bob")
	for name, got := range map[string][]byte{
		"roster-v1.json":       r.Bytes(),
		"roster-v1.hash":       []byte(r.Hash().String() + "\n"),
		"envelope-v1.json":     EncodeEnvelope(e),
		"generation-1-v1.json": first().Bytes(),
		"generation-1-v1.hash": []byte(first().Hash().String() + "\n"),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	back, err := Parse(r.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.Clone(), back); diff != "" {
		t.Errorf("Parse: %s", diff)
	}
	opened, err := DecodeEnvelope(EncodeEnvelope(e))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, opened); diff != "" {
		t.Errorf("DecodeEnvelope: %s", diff)
	}
}

// There is one spelling of a roster.
func TestParseStrict(t *testing.T) {
	good := string(full().Bytes())
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":           "",
		"null":            "null",
		"list":            "[]",
		"trailing line":   good + "\n",
		"trailing value":  good + "{}",
		"leading space":   " " + good,
		"inner space":     strings.Replace(good, ":", ": ", 1),
		"unknown field":   strings.Replace(good, `{"format":1,`, `{"format":1,"x":1,`, 1),
		"repeated field":  strings.Replace(good, `{"format":1,`, `{"format":1,"format":1,`, 1),
		"other case":      strings.Replace(good, `"deployment"`, `"Deployment"`, 1),
		"other order":     strings.Replace(good, `"format":1,"deployment":"hub-1"`, `"deployment":"hub-1","format":1`, 1),
		"escaped":         strings.Replace(good, `hub-1`, `hub\u002d1`, 1),
		"float":           strings.Replace(good, `"generation":4`, `"generation":4.0`, 1),
		"exponent":        strings.Replace(good, `"generation":4`, `"generation":4e0`, 1),
		"negative":        strings.Replace(good, `"generation":4`, `"generation":-4`, 1),
		"too large":       strings.Replace(good, `"generation":4`, `"generation":18446744073709551616`, 1),
		"upper-case hex":  strings.Replace(good, `"sha256":"01`, `"sha256":"0A`, 1),
		"null list":       strings.Replace(good, `"peers":[`, `"peers":null,"x":[`, 1),
		"format missing":  strings.Replace(good, `"format":1,`, ``, 1),
		"format 0":        strings.Replace(good, `"format":1,`, `"format":0,`, 1),
		"format -1":       strings.Replace(good, `"format":1,`, `"format":-1,`, 1),
		"explicit zero":   strings.Replace(good, `"restart":4`, `"restart":0`, 1),
		"deep":            strings.Repeat("[", 100_000),
		"huge":            strings.Repeat(" ", MaxPayload+1),
		"invalid unicode": strings.Replace(good, "hub-1", "hub\xff1", 1),
	} {
		if bad == good {
			t.Errorf("%s: the case changes nothing", name)
		}
		_, err := Parse([]byte(bad))
		if err == nil {
			t.Errorf("%s: Parse succeeds", name)
		}
		if errors.Is(err, ErrNewerFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, newer := range []string{
		strings.Replace(good, `"format":1,`, `"format":2,`, 1),
		`{"format":7,"what":["ever"]}`,
	} {
		if _, err := Parse([]byte(newer)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("Parse(%.30q): %v, want ErrNewerFormat", newer, err)
		}
	}
	if _, err := DecodeEnvelope([]byte(`{"format":2}`)); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("DecodeEnvelope: %v, want ErrNewerFormat", err)
	}
}

// The order of lists in memory does not matter.
func TestBytesSorts(t *testing.T) {
	a, b := full(), full()
	for _, swap := range []func(){
		func() { b.Members[0], b.Members[2] = b.Members[2], b.Members[0] },
		func() { b.Admins[0], b.Admins[1] = b.Admins[1], b.Admins[0] },
		func() { b.Peers[0], b.Peers[1] = b.Peers[1], b.Peers[0] },
		func() { b.Parents[0], b.Parents[1] = b.Parents[1], b.Parents[0] },
		func() {
			b.Chain.Binaries[0], b.Chain.Binaries[1] = b.Chain.Binaries[1], b.Chain.Binaries[0]
		},
	} {
		swap()
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("bytes depend on the order in memory")
	}
	if diff := Diff(a, b); diff != nil {
		t.Errorf("Diff depends on the order in memory: %v", diff)
	}
}

// Any bit of an envelope matters.
func TestBitFlips(t *testing.T) {
	g1, g2, _ := deployment()
	l := newLog(t, g1)
	known := newLog(t, g1, g2)
	good := EncodeEnvelope(sign(t, g2, "alice", "bob"))
	for i := 0; i < 8*len(good); i += 3 { // two bits or more of every byte
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		e, err := DecodeEnvelope(b)
		if err != nil {
			continue
		}
		if _, err := l.Add(e); err == nil {
			t.Fatalf("with bit %d flipped, the envelope is accepted", i)
		}
		if _, err := known.Add(e); err == nil {
			t.Fatalf("with bit %d flipped, the known envelope is accepted", i)
		}
	}
	for i := range good { // and any that is cut short
		if _, err := DecodeEnvelope(good[:i]); err == nil {
			t.Fatalf("cut to %d bytes, the envelope decodes", i)
		}
	}
}

// The largest roster that Check allows can be signed, sent and read.
func TestLargest(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("%063d", i) }
	long := func(i int) string {
		label := strings.Repeat("a", 60)
		return fmt.Sprintf("%s.%s.%s.%s%04d.example:65535", label, label, label, label[:50], i)
	}
	r := next(first(), func(r *Roster) {
		r.Deployment = name(0)
		r.Generation = 1<<64 - 1
		for i := range MaxHeads - 1 {
			r.Parents = append(r.Parents, Hash{byte(i + 1)})
		}
		for i := range MaxAdmins - 2 {
			r.Admins = append(r.Admins, Admin{name(i), pub(name(i)), AllCapabilities()})
		}
		for i := range MaxBinaries - 1 {
			r.Chain.Binaries = append(r.Chain.Binaries, Binary{fmt.Sprintf("%016d/%016d", i, i), Hash{1}})
		}
		r.Chain.MinGasPrice = strings.TrimSuffix(strings.Repeat("0.1aaaaaaaaaaa,", 68), ",")
		r.Chain.BlockTime = time.Hour
		for i := range MaxMembers {
			m := member(name(i), RoleGenesisValidator, 1<<64-1)
			m.Endpoint, m.Restart = long(i), 1<<64-1
			m.Role = RoleSentry
			m.Mesh = Mesh{pub("wg" + name(i)), pub("next" + name(i)), pub("tls" + name(i)), long(i), long(i)}
			r.Members = append(r.Members, m)
		}
		for i := range MaxTombstones {
			r.Tombstones = append(r.Tombstones, Tombstone{name(i), pub("old" + name(i)), nodeID("old" + name(i)), 1<<64 - 1})
		}
		for i := range MaxPeers {
			r.Peers = append(r.Peers, nodeID(fmt.Sprint("peer", i))+"@"+long(i))
		}
	})
	var by []string
	for i := range MaxAdmins {
		by = append(by, fmt.Sprint("key", i))
	}
	b := EncodeEnvelope(sign(t, r, by...))
	t.Logf("payload %d of %d bytes, envelope %d of %d", len(r.Bytes()), MaxPayload, len(b), MaxEnvelope)
	if _, err := DecodeEnvelope(b); err != nil {
		t.Error(err)
	}
}

// The largest roster that may be has fewer commas than are read.
func TestLargestHasFewCommas(t *testing.T) {
	r := &Roster{Format: 1}
	one := Member{Name: "n", Role: "r", Identity: Key{1}, NodeID: "i", Endpoint: "e", Restart: 1, Since: 1}
	one.Mesh = Mesh{Key: Key{1}, Next: Key{1}, TLS: Key{1}, Endpoint: "e", Relay: "r"}
	for range MaxMembers {
		r.Members = append(r.Members, one)
	}
	r.Members[0].PrivatePeers = make([]string, MaxPrivate)
	for range MaxTombstones {
		r.Tombstones = append(r.Tombstones, Tombstone{Name: "n", Identity: Key{1}, NodeID: "i", Since: 2})
	}
	for range MaxAdmins {
		r.Admins = append(r.Admins, Admin{Capabilities: AllCapabilities()})
	}
	r.Chain = Chain{ID: "i", Binaries: make([]Binary, MaxBinaries), MinGasPrice: strings.Repeat(",", maxGasPrice)}
	r.Peers, r.Parents = make([]string, MaxPeers), make([]Hash, MaxHeads)
	if n := bytes.Count(r.Bytes(), []byte{','}); n > maxPayloadCommas || n < maxPayloadCommas/2 {
		t.Errorf("the largest roster has %d commas, the limit is %d", n, maxPayloadCommas)
	}
	e := Envelope{Payload: []byte("{}"), Signatures: make([]Signature, MaxAdmins)}
	if n := bytes.Count(EncodeEnvelope(e), []byte{','}); n > maxEnvelopeCommas {
		t.Errorf("the largest envelope has %d commas, the limit is %d", n, maxEnvelopeCommas)
	}
}

// What a stranger sends is refused before it is anything in memory: a list of a million nothings is two megabytes on the
// wire and hundreds of them decoded. What no list may hold is refused before it is sorted.
func TestHugeListsAreNotDecoded(t *testing.T) {
	many := func(what string, n int) string { return strings.TrimSuffix(strings.Repeat(what+",", n), ",") }
	parse := func(b []byte) error { _, err := Parse(b); return err }
	for name, c := range map[string]struct {
		read func([]byte) error
		b    string
	}{
		"members":       {parse, `{"format":1,"members":[` + many("{}", 690_000) + `]}`},
		"nulls":         {parse, `{"format":1,"members":[` + many("null", 415_000) + `]}`},
		"private peers": {parse, `{"format":1,"members":[{"private_peers":[` + many(`""`, 690_000) + `]}]}`},
		"capabilities":  {parse, `{"format":1,"admins":[{"capabilities":[` + many(`""`, 690_000) + `]}]}`},
		"signatures": {
			func(b []byte) error { _, err := DecodeEnvelope(b); return err },
			`{"format":1,"payload":"","signatures":[` + many("{}", 1_000_000) + `]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if a := testing.AllocsPerRun(1, func() {
				if c.read([]byte(c.b)) == nil {
					t.Error("it is read")
				}
			}); a > 100 {
				t.Errorf("%.0f allocations", a)
			}
		})
	}
}

func TestSignedBy(t *testing.T) {
	admins := []Admin{{Name: "a", Key: pub("alice"), Capabilities: []Capability{CapRoster}}, {Name: "b", Key: pub("bob"), Capabilities: []Capability{CapArm}}}
	both, bob, stranger := sign(t, first(), "alice", "bob"), sign(t, first(), "bob"), sign(t, first(), "eve")
	forged := both.clone()
	forged.Signatures[1].Sig[0] ^= 1
	unsorted := both.clone()
	unsorted.Signatures[0], unsorted.Signatures[1] = unsorted.Signatures[1], unsorted.Signatures[0]
	for name, c := range map[string]struct {
		e    Envelope
		cap  Capability
		want bool
	}{
		"one of two can":          {both, CapRoster, true},
		"the other can":           {both, CapArm, true},
		"neither can":             {both, CapAssign, false},
		"who signed cannot":       {bob, CapRoster, false},
		"a stranger":              {stranger, CapRoster, false},
		"another's is forged":     {forged, CapRoster, false},
		"unsigned":                {Envelope{Payload: both.Payload}, CapRoster, false},
		"signatures out of order": {unsorted, CapRoster, false},
	} {
		if err := c.e.SignedBy(admins, c.cap); (err == nil) != c.want || err != nil && !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An admin who may sign no generations cannot tell hosts that they are old, as little as a stranger.
func TestNewerFormatIsToldByWhoMaySign(t *testing.T) {
	g1 := first()
	for i, a := range g1.Admins {
		if a.Key == pub("bob") {
			g1.Admins[i].Capabilities = []Capability{CapArm}
		}
	}
	l := newLog(t, g1)
	newer := next(g1, func(r *Roster) { r.Format = 2 })
	for by, want := range map[string]error{"alice": ErrNewerFormat, "bob": ErrForged, "eve": ErrForged} {
		if _, err := l.Add(seal(newer, by)); !errors.Is(err, want) {
			t.Errorf("signed by %s: %v, want %v", by, err, want)
		}
	}
}

// words are the strings of a roster.
func (r *Roster) words() []string {
	c := r.Chain
	words := append(r.outside(), r.Deployment, r.MeshDriver, c.ID, c.Daemon, c.Bech32Prefix, c.Denom, c.MinGasPrice)
	for _, a := range r.Admins {
		words = append(words, a.Name)
	}
	for _, m := range r.Members {
		words = append(words, m.Name, string(m.Role), m.NodeID, m.Endpoint, m.Mesh.Endpoint, m.Mesh.Relay)
	}
	for _, t := range r.Tombstones {
		words = append(words, t.Name, t.NodeID)
	}
	return words
}

func FuzzParse(f *testing.F) {
	f.Add(full().Bytes())
	f.Add(first().Bytes())
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), b) {
			t.Error("what parses encodes differently")
		}
		if err := r.Check(); err != nil {
			t.Error(err)
		}
		if n := len(r.Members) + len(r.Tombstones) + len(r.outside()); n > MaxMembers+MaxTombstones+MaxPeers+MaxPrivate {
			t.Errorf("%d of what there may be", n)
		}
		for _, s := range r.words() {
			if len(s) > maxGasPrice {
				t.Errorf("a string of %d bytes", len(s))
			}
		}
		Next(r)
		Heal(r, full())
		Diff(r, full())
	})
}

func FuzzDecodeEnvelope(f *testing.F) {
	g1, g2, g3 := deployment()
	log := newLog(f, g1, g2)
	f.Add(EncodeEnvelope(sign(f, g3, "alice")))
	f.Add(EncodeEnvelope(sign(f, full(), "alice", "bob")))
	f.Add([]byte(`{"format":1,"payload":"","signatures":[]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		if !bytes.Equal(EncodeEnvelope(e), b) {
			t.Error("what decodes encodes differently")
		}
		l := log.Clone()
		if added, _ := l.Add(e); added && e.Hash() != g3.Hash() {
			t.Error("a forgery is accepted")
		}
	})
}
