package roster

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"
)

// key returns the same private key for the same seed, always.
func key(seed string) ed25519.PrivateKey {
	h := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(h[:])
}

// pub returns the public half of key(seed).
func pub(seed string) Key { return KeyOf(key(seed).Public().(ed25519.PublicKey)) }

// nodeID returns a node id made from seed.
func nodeID(seed string) string {
	h := sha256.Sum256([]byte(seed))
	return Hash(h).String()[:nodeIDLength]
}

var testChain = Chain{
	ID:           "practice-1",
	Daemon:       "practiced",
	Binaries:     []Binary{{Platform: "linux/amd64", SHA256: Hash{1}}},
	Bech32Prefix: "cosmos",
	Denom:        "stake",
	MinGasPrice:  "0.025stake",
	BlockTime:    time.Second,
}

// first returns a generation 1 with two admins: alice may do all, bob only
// sign.
func first() *Roster {
	r := New("hub-1", []Admin{
		{Name: "alice", Key: pub("alice"), Capabilities: AllCapabilities()},
		{Name: "bob", Key: pub("bob"), Capabilities: []Capability{CapRoster}},
	}, testChain)
	r.MeshDriver = MeshWireGuard
	return r
}

// member returns an enrolled member.
func member(name string, role Role, since uint64) Member {
	m := Member{Name: name, Role: role, Identity: pub("host " + name), NodeID: nodeID(name), Since: since}
	if role != RoleValidator {
		m.Endpoint = name + ".example.org:26656"
	}
	if role == RoleDevice {
		return Member{Name: name, Role: role, Identity: pub("wg " + name), Mesh: Mesh{Key: pub("wg " + name)}, Since: since}
	}
	if role != RoleGenesisValidator {
		m.Mesh = Mesh{Key: pub("wg " + name), TLS: pub("tls " + name)}
	}
	if role == RoleSentry {
		m.Mesh.Endpoint = name + ".example.org:51820"
	}
	return m
}

// sign signs r by the seeds of keys.
func sign(t testing.TB, r *Roster, by ...string) Envelope {
	t.Helper()
	var keys []ed25519.PrivateKey
	for _, s := range by {
		keys = append(keys, key(s))
	}
	e, err := Sign(r, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// seal is sign for rosters that Sign refuses, and with keys it would not use.
func seal(r *Roster, by ...string) Envelope {
	e := Envelope{Payload: r.Bytes()}
	for _, s := range by {
		e.Signatures = append(e.Signatures, Signature{Key: pub(s), Sig: ed25519.Sign(key(s), append([]byte(signDomain), e.Payload...))})
	}
	e.Signatures = sorted(e.Signatures, func(s Signature) string { return s.Key.String() })
	return e
}

// next returns head's successor, changed.
func next(head *Roster, change func(*Roster)) *Roster {
	r := Next(head)
	if change != nil {
		change(r)
	}
	return r
}

// newLog returns a log that holds chain, signed by alice.
func newLog(t testing.TB, chain ...*Roster) *Log {
	t.Helper()
	l := NewLog(chain[0].Hash())
	for _, r := range chain {
		add(t, l, sign(t, r, "alice"))
	}
	return l
}

func add(t testing.TB, l *Log, e Envelope) {
	t.Helper()
	if added, err := l.Add(e); err != nil || !added {
		t.Fatalf("Add: %v, %v", added, err)
	}
}

// deployment returns three generations: the first, one that admits v1, v2, s1
// and s2, and one that assigns the signer to v1.
func deployment() (g1, g2, g3 *Roster) {
	g1 = first()
	g2 = next(g1, func(r *Roster) {
		r.Members = []Member{
			member("v1", RoleValidator, 2), member("v2", RoleValidator, 2),
			member("s1", RoleSentry, 2), member("s2", RoleSentry, 2),
		}
		r.Chain.GenesisSHA256 = Hash{7}
	})
	g3 = next(g2, func(r *Roster) { r.Signer = Assignment{Holder: "v1", PubKey: pub("consensus"), Epoch: 1} })
	return g1, g2, g3
}

// at returns a pointer to the member of that name.
func (r *Roster) at(name string) *Member {
	for i := range r.Members {
		if r.Members[i].Name == name {
			return &r.Members[i]
		}
	}
	panic("no member " + name)
}

// Every rule of one step, each broken alone.
func TestSuccession(t *testing.T) {
	g1, g2, g3 := deployment()
	carol := Admin{Name: "carol", Key: pub("carol"), Capabilities: []Capability{CapRoster}}
	for _, tt := range []struct {
		name   string
		change func(*Roster) // of the generation after g3
		by     []string      // default alice
		want   error         // nil: allowed
	}{
		{name: "nothing changes"},
		{name: "nothing changes, by bob", by: []string{"bob"}},
		{name: "signed by both", by: []string{"alice", "bob"}},
		{name: "by a stranger", by: []string{"mallory"}, want: ErrForged},
		{name: "by alice and a stranger", by: []string{"alice", "mallory"}, want: ErrForged},
		{name: "by a host", by: []string{"host v1"}, want: ErrForged},

		{name: "generation jumps", change: func(r *Roster) { r.Generation++ }, want: ErrInvalid},
		{name: "generation stays", change: func(r *Roster) { r.Generation-- }, want: ErrInvalid},
		{name: "foreign id", change: func(r *Roster) { r.ID = Hash{1} }, want: ErrForeign},
		{name: "deployment renamed", change: func(r *Roster) { r.Deployment = "hub-2" }, want: ErrInvalid},
		{name: "parent is older", change: func(r *Roster) { r.Parents = []Hash{g2.Hash()} }, want: ErrInvalid},
		{name: "second parent is an ancestor", change: func(r *Roster) {
			r.Parents = append(r.Parents, g2.Hash())
			r.Signer.Holder = ""
		}, want: ErrInvalid},
		{name: "two parents, one of them the root", change: func(r *Roster) {
			r.Parents = append(r.Parents, g1.Hash())
			r.Signer.Holder = ""
		}, want: ErrInvalid},

		{name: "chain id changes", change: func(r *Roster) { r.Chain.ID = "practice-2" }, want: ErrInvalid},
		{name: "genesis changes", change: func(r *Roster) { r.Chain.GenesisSHA256 = Hash{8} }, want: ErrInvalid},
		{name: "genesis is forgotten", change: func(r *Roster) { r.Chain.GenesisSHA256 = Hash{} }, want: ErrInvalid},
		{name: "gas price changes", change: func(r *Roster) { r.Chain.MinGasPrice = "0.1stake" }, by: []string{"bob"}},

		{name: "admit", change: func(r *Roster) { r.Members = append(r.Members, member("s3", RoleSentry, 4)) }, by: []string{"bob"}},
		{name: "admit, backdated", change: func(r *Roster) { r.Members = append(r.Members, member("s3", RoleSentry, 3)) }, want: ErrInvalid},
		{name: "admit with an old restart", change: func(r *Roster) {
			m := member("s3", RoleSentry, 4)
			m.Restart = 2
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},
		{name: "since changes", change: func(r *Roster) { r.at("s1").Since = 3 }, want: ErrInvalid},
		{name: "name changes", change: func(r *Roster) { r.at("s1").Name = "s9" }, want: ErrInvalid},
		{name: "role changes", change: func(r *Roster) { r.at("s1").Role = RoleGenesisValidator }, want: ErrInvalid},
		{name: "node id changes", change: func(r *Roster) { r.at("s1").NodeID = nodeID("other") }, want: ErrInvalid},
		{name: "node id is forgotten", change: func(r *Roster) { r.at("s1").NodeID = "" }, want: ErrInvalid},
		{name: "identity changes", change: func(r *Roster) { r.at("s1").Identity = pub("other") }, want: ErrInvalid},
		{name: "endpoint changes", change: func(r *Roster) { r.at("s1").Endpoint = "192.0.2.1:1" }},
		{name: "restart", change: func(r *Roster) { r.at("s1").Restart = 4 }},
		{name: "restart, backdated", change: func(r *Roster) { r.at("s1").Restart = 3 }, want: ErrInvalid},

		{name: "remove", change: func(r *Roster) { r.Remove("s1") }, by: []string{"bob"}},
		{name: "remove without tombstone", change: func(r *Roster) { r.Members = r.Members[1:] }, want: ErrInvalid},
		{name: "remove, tombstone lacks the node id", change: func(r *Roster) {
			r.Remove("s1")
			r.Tombstones[0].NodeID = ""
		}, want: ErrInvalid},
		{name: "remove, tombstone backdated", change: func(r *Roster) {
			r.Remove("s1")
			r.Tombstones[0].Since = 3
		}, want: ErrInvalid},
		{name: "tombstone of nobody", change: func(r *Roster) {
			r.Tombstones = []Tombstone{{Name: "s9", Identity: pub("other"), Since: 4}}
		}, want: ErrInvalid},
		{name: "tombstone and member", change: func(r *Roster) {
			m := *r.at("s1")
			r.Remove("s1")
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},
		{name: "replace under the same name", change: func(r *Roster) {
			r.Remove("s1")
			m := member("s1", RoleSentry, 4)
			m.Identity, m.NodeID = pub("new host"), nodeID("new host")
			r.Members = append(r.Members, m)
		}},
		{name: "replace, keeping the node id", change: func(r *Roster) {
			r.Remove("s1")
			m := member("s1", RoleSentry, 4)
			m.Identity = pub("new host")
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},

		{name: "retire, by bob", change: func(r *Roster) { r.Signer.Holder = "" }, by: []string{"bob"}},
		{name: "retire, epoch up", change: func(r *Roster) { r.Signer = Assignment{PubKey: pub("consensus"), Epoch: 2} }, want: ErrInvalid},
		{name: "retire, key lost", change: func(r *Roster) { r.Signer = Assignment{Epoch: 1} }, want: ErrInvalid},
		{name: "retire, epoch back", change: func(r *Roster) { r.Signer = Assignment{PubKey: pub("consensus")} }, want: ErrInvalid},
		{name: "move directly", change: func(r *Roster) { r.Signer.Holder = "v2" }, want: ErrInvalid},
		{name: "move directly, epoch up", change: func(r *Roster) { r.Signer.Holder, r.Signer.Epoch = "v2", 2 }, want: ErrInvalid},
		{name: "assign again, epoch up", change: func(r *Roster) { r.Signer.Epoch = 2 }, want: ErrInvalid},
		{name: "other key, same holder", change: func(r *Roster) { r.Signer.PubKey = pub("other") }, want: ErrInvalid},
		{name: "holder removed", change: func(r *Roster) { r.Remove("v1") }, by: []string{"bob"}},
		{name: "move by name to a new machine", change: func(r *Roster) {
			r.Remove("v1")
			m := member("v1", RoleValidator, 4)
			m.Identity, m.NodeID = pub("new host"), nodeID("new host")
			r.Members = append(r.Members, m)
			r.Signer.Holder = "v1"
		}, want: ErrInvalid},

		{name: "announce the next mesh key", change: func(r *Roster) { r.at("s1").Mesh.Next = pub("wg s1 next") }},
		{name: "change the mesh key at once", change: func(r *Roster) { r.at("s1").Mesh.Key = pub("wg s1 next") }, want: ErrInvalid},
		{name: "change the relay key", change: func(r *Roster) { r.at("s1").Mesh.TLS = pub("tls s1 next") }, want: ErrInvalid},
		{name: "move in the underlay", change: func(r *Roster) { r.at("s1").Mesh.Endpoint = "192.0.2.9:51820" }},
		{name: "leave the mesh", change: func(r *Roster) { r.at("s1").Mesh = Mesh{} }},

		{name: "admit a device", change: func(r *Roster) { r.Members = append(r.Members, member("laptop", RoleDevice, 4)) }},
		{name: "admit a device with a node", change: func(r *Roster) {
			m := member("laptop", RoleDevice, 4)
			m.NodeID = nodeID("laptop")
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},
		{name: "admit a device that listens", change: func(r *Roster) {
			m := member("laptop", RoleDevice, 4)
			m.Mesh.Endpoint = "192.0.2.8:51820"
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},
		{name: "admit a device of another key", change: func(r *Roster) {
			m := member("laptop", RoleDevice, 4)
			m.Identity = pub("another")
			r.Members = append(r.Members, m)
		}, want: ErrInvalid},

		{name: "add admin", change: func(r *Roster) { r.Admins = append(r.Admins, carol) }},
		{name: "add admin, by bob", change: func(r *Roster) { r.Admins = append(r.Admins, carol) }, by: []string{"bob"}, want: ErrForged},
		{name: "add admin, by carol too", change: func(r *Roster) { r.Admins = append(r.Admins, carol) }, by: []string{"alice", "carol"}, want: ErrForged},
		{name: "grant, by bob", change: func(r *Roster) { r.Admins[1].Capabilities = AllCapabilities() }, by: []string{"bob"}, want: ErrForged},
		{name: "remove admin, by bob", change: func(r *Roster) { r.Admins[0].Key = pub("bob 2") }, by: []string{"bob"}, want: ErrForged},
		{name: "remove admin", change: func(r *Roster) { r.Admins = r.Admins[:1] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.by == nil {
				tt.by = []string{"alice"}
			}
			l := newLog(t, g1, g2, g3)
			before := l.State()
			_, err := l.Add(seal(next(g3, tt.change), tt.by...))
			if !errors.Is(err, tt.want) {
				t.Fatalf("Add: %v, want %v", err, tt.want)
			}
			if after := l.State(); tt.want != nil && after.Base != before.Base {
				t.Error("what was refused changed the state")
			}
		})
	}
}

// The rules on assigning start from a deployment whose signer is retired.
func TestAssign(t *testing.T) {
	g1, g2, g3 := deployment()
	g4 := next(g3, func(r *Roster) { r.Signer.Holder = "" })
	for _, tt := range []struct {
		name   string
		signer Assignment
		by     string
		want   error
	}{
		{"to another", Assignment{"v2", pub("consensus"), 2}, "alice", nil},
		{"to the same", Assignment{"v1", pub("consensus"), 2}, "alice", nil},
		{"by bob", Assignment{"v2", pub("consensus"), 2}, "bob", ErrForged},
		{"same epoch", Assignment{"v2", pub("consensus"), 1}, "alice", ErrInvalid},
		{"epoch jumps", Assignment{"v2", pub("consensus"), 3}, "alice", ErrInvalid},
		{"other key", Assignment{"v2", pub("other"), 2}, "alice", ErrInvalid},
		{"other key, nobody", Assignment{"", pub("other"), 1}, "alice", nil},
		{"other key, nobody, by bob", Assignment{"", pub("other"), 1}, "bob", ErrForged},
		{"nobody, epoch up", Assignment{"", pub("consensus"), 2}, "alice", ErrInvalid},
		{"to a sentry", Assignment{"s1", pub("consensus"), 2}, "alice", ErrInvalid},
		{"to a stranger", Assignment{"v9", pub("consensus"), 2}, "alice", ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLog(t, g1, g2, g3, g4)
			_, err := l.Add(seal(next(g4, func(r *Roster) { r.Signer = tt.signer }), tt.by))
			if !errors.Is(err, tt.want) {
				t.Errorf("Add: %v, want %v", err, tt.want)
			}
		})
	}
}

// What Check refuses in a roster by itself.
func TestCheck(t *testing.T) {
	_, _, g3 := deployment()
	if err := g3.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Roster){
		"validator has an endpoint":       func(r *Roster) { r.at("v1").Endpoint = "192.0.2.1:26656" },
		"validator's address a peer":      func(r *Roster) { r.Peers = []string{nodeID("v1") + "@192.0.2.1:26656"} },
		"mesh key is the next of another": func(r *Roster) { r.at("v1").Mesh.Next = r.at("s1").Mesh.Key },
		"mesh of the open":                func(r *Roster) { r.at("s1").Role = RoleGenesisValidator },
		"private peer of a validator":     func(r *Roster) { r.at("v1").PrivatePeers = []string{nodeID("p") + "@a.b:1"} },
		"private peer is a member":        func(r *Roster) { r.at("s1").PrivatePeers = []string{nodeID("v1") + "@a.b:1"} },
		"private peer twice":              func(r *Roster) { r.at("s1").PrivatePeers = []string{nodeID("p") + "@a.b:1", nodeID("p") + "@a.b:1"} },
		"mesh without a driver":           func(r *Roster) { r.MeshDriver = "" },
		"unknown mesh driver":             func(r *Roster) { r.MeshDriver = "carrier pigeon" },
		"validator listens":               func(r *Roster) { r.at("v1").Mesh.Endpoint = "192.0.2.7:51820" },
		"validator relays":                func(r *Roster) { r.at("v1").Mesh.Relay = "192.0.2.7:443" },
		"mesh key of another":             func(r *Roster) { r.at("v1").Mesh.Key = r.at("s1").Mesh.TLS },
		"mesh without a key":              func(r *Roster) { r.at("v1").Mesh.Key = Key{} },
		"mesh without a relay key":        func(r *Roster) { r.at("v1").Mesh.TLS = Key{} },
		"mesh endpoint is no place":       func(r *Roster) { r.at("s1").Mesh.Endpoint = "here" },
		"cosigner":                        func(r *Roster) { r.at("s1").Role = "cosigner" },
		"no role":                         func(r *Roster) { r.at("s1").Role = "" },
		"name leaves its folder":          func(r *Roster) { r.at("s1").Name = "../s1" },
		"name is long":                    func(r *Roster) { r.at("s1").Name = fmt.Sprintf("%064d", 0) },
		"upper-case node id":              func(r *Roster) { r.at("s1").NodeID = "A" + nodeID("s1")[1:] },
		"short node id":                   func(r *Roster) { r.at("s1").NodeID = "ab" },
		"no identity":                     func(r *Roster) { r.at("s1").Identity = Key{} },
		"same name":                       func(r *Roster) { r.at("s1").Name = "s2" },
		"same identity":                   func(r *Roster) { r.at("s1").Identity = pub("host s2") },
		"same node id":                    func(r *Roster) { r.at("s1").NodeID = nodeID("s2") },
		"same endpoint":                   func(r *Roster) { r.at("s1").Endpoint = r.at("s2").Endpoint },
		"from the future":                 func(r *Roster) { r.at("s1").Since = 99 },
		"host is an admin":                func(r *Roster) { r.Admins[0].Key = pub("host s1") },
		"no admin at all":                 func(r *Roster) { r.Admins = nil },
		"nobody may change admins":        func(r *Roster) { r.Admins = r.Admins[1:] },
		"unknown capability":              func(r *Roster) { r.Admins[0].Capabilities = append(AllCapabilities(), "spend") },
		"capability twice":                func(r *Roster) { r.Admins[0].Capabilities = append(AllCapabilities(), CapArm) },
		"same admin key":                  func(r *Roster) { r.Admins[1].Key = r.Admins[0].Key },
		"daemon leaves its folder":        func(r *Roster) { r.Chain.Daemon = "../sh" },
		"daemon is a dot":                 func(r *Roster) { r.Chain.Daemon = "." },
		"gas price breaks out":            func(r *Roster) { r.Chain.MinGasPrice = "1stake\"\nx=1" },
		"gas price is negative":           func(r *Roster) { r.Chain.MinGasPrice = "-1stake" },
		"no chain":                        func(r *Roster) { r.Chain.ID = "" },
		"platform twice":                  func(r *Roster) { r.Chain.Binaries = append(r.Chain.Binaries, r.Chain.Binaries[0]) },
		"binary without digest":           func(r *Roster) { r.Chain.Binaries[0].SHA256 = Hash{} },
		"block time":                      func(r *Roster) { r.Chain.BlockTime = -1 },
		"holder without key":              func(r *Roster) { r.Signer.PubKey = Key{} },
		"holder without epoch":            func(r *Roster) { r.Signer.Epoch = 0 },
		"peer without id":                 func(r *Roster) { r.Peers = []string{"192.0.2.1:26656"} },
		"peer twice":                      func(r *Roster) { r.Peers = []string{nodeID("p") + "@a.b:1", nodeID("p") + "@a.b:1"} },
		"too many peers":                  func(r *Roster) { r.Peers = make([]string, MaxPeers+1) },
		"parent twice":                    func(r *Roster) { r.Parents = append(r.Parents, r.Parents[0]) },
		"parent zero":                     func(r *Roster) { r.Parents = []Hash{{}} },
		"no parent":                       func(r *Roster) { r.Parents = nil },
		"newer format":                    func(r *Roster) { r.Format = 2 },
	} {
		r := g3.Clone()
		change(r)
		if err := r.Check(); err == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
		if _, err := Parse(r.Bytes()); err == nil {
			t.Errorf("%s: Parse succeeds", name)
		}
		if _, err := Sign(r, key("alice")); err == nil {
			t.Errorf("%s: Sign succeeds", name)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for s, want := range map[string]bool{
		"s1.example.org:26656":  true,
		"127.0.0.1:1":           true,
		"[2001:db8::1]:26656":   true,
		"localhost:65535":       true,
		"":                      false,
		"192.0.2.1":             false,
		"192.0.2.1:0":           false,
		"192.0.2.1:65536":       false,
		"192.0.2.1:026656":      false,
		"0.0.0.0:26656":         false,
		"[::]:26656":            false,
		"[fe80::1%eth0]:26656":  false,
		"[::ffff:192.0.2.1]:1":  false,
		"[2001:DB8::1]:26656":   false,
		"224.0.0.1:1":           false,
		"2001:db8::1:26656":     false,
		"127.1:26656":           false,
		"0x7f000001:26656":      false,
		"a b:1":                 false,
		"a\n:1":                 false,
		"user@host:1":           false,
		"host:1,id@other:2":     false,
		"-host:1":               false,
		"S1.example.org:26656":  false,
		"s1.example.org.:26656": false,
	} {
		if got := isEndpoint(s); got != want {
			t.Errorf("isEndpoint(%q) = %v, want %v", s, got, want)
		}
	}
}

// Generation 1 is what the pin says, signed by one of its own.
func TestRoot(t *testing.T) {
	g1 := first()
	for name, e := range map[string]Envelope{
		"by a stranger":   sign(t, g1, "mallory"),
		"another one":     sign(t, next(g1, nil), "alice"),
		"with a signer":   seal(changed(g1, func(r *Roster) { r.Signer.PubKey = pub("x"); r.Signer.Epoch = 1 }), "alice"),
		"of someone else": sign(t, New("hub-1", []Admin{{Name: "eve", Key: pub("eve"), Capabilities: AllCapabilities()}}, testChain), "eve"),
	} {
		l := NewLog(g1.Hash())
		if _, err := l.Add(e); err == nil || l.Len() != 0 {
			t.Errorf("%s: Add: %v, %d generations", name, err, l.Len())
		}
	}
	if s := NewLog(g1.Hash()).State(); s.Effective != nil || s.Head != nil || s.Fork {
		t.Errorf("the state of an empty log is %+v", s)
	}
}

func changed(r *Roster, change func(*Roster)) *Roster {
	c := r.Clone()
	change(c)
	return c
}
