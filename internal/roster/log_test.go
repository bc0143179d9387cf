package roster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddOutOfOrder(t *testing.T) {
	g1, g2, g3 := deployment()
	e1, e2, e3 := sign(t, g1, "alice"), sign(t, g2, "alice"), sign(t, g3, "alice")
	l := NewLog(g1.Hash())

	var missing *MissingParents
	if _, err := l.Add(e3); !errors.As(err, &missing) || !slices.Equal(missing.Hashes, []Hash{g2.Hash()}) {
		t.Fatalf("Add before its parent: %v", err)
	}
	if n, err := l.AddAll([]Envelope{e3, e1, e2, e1}); err != nil || n != 3 {
		t.Fatalf("AddAll in any order: %d, %v", n, err)
	}
	if added, err := l.Add(e2); added || err != nil {
		t.Errorf("Add of an older generation: %v, %v", added, err)
	}
	s := l.State()
	if s.Head == nil || s.Head.Generation != 3 || s.Fork || s.Base != g3.Hash() {
		t.Errorf("state is %+v", s)
	}
	if diff := cmp.Diff(s.Head, s.Effective); diff != "" {
		t.Errorf("without a fork, effective differs from head: %s", diff)
	}
	if diff := cmp.Diff([]Envelope{e1, e2, e3}, l.Envelopes()); diff != "" {
		t.Errorf("Envelopes: %s", diff)
	}
	if e, ok := l.Get(g2.Hash()); !ok || e.Hash() != e2.Hash() {
		t.Error("Get does not find generation 2")
	}
	if diff := cmp.Diff([]Envelope{e3}, l.Missing(g2.Hash(), Hash{9})); diff != "" {
		t.Errorf("Missing: %s", diff)
	}
}

// One bad envelope of many keeps none of the others out, and the error says
// what is wrong with each.
func TestAddAllMixed(t *testing.T) {
	g1, g2, g3 := deployment()
	forged := seal(next(g2, func(r *Roster) { r.Chain.Denom = "other" }), "mallory")
	orphan := sign(t, next(next(g3, nil), nil), "alice")
	l := NewLog(g1.Hash())
	n, err := l.AddAll([]Envelope{orphan, forged, {}, sign(t, g2, "alice"), sign(t, g1, "alice")})
	if n != 2 {
		t.Errorf("%d added, want 2", n)
	}
	var missing *MissingParents
	if !errors.Is(err, ErrForged) || !errors.As(err, &missing) {
		t.Errorf("AddAll: %v", err)
	}
}

// What the caller changes later does not reach into the log.
func TestLogIsItsOwn(t *testing.T) {
	g1, g2, _ := deployment()
	l := newLog(t, g1)
	e := sign(t, g2, "alice")
	add(t, l, e)
	c := l.Clone()
	clear(e.Payload)
	clear(e.Signatures[0].Sig)
	got := l.Envelopes()
	clear(got[0].Payload)
	s := l.State()
	s.Head.Members[0].Endpoint = "mallory.example.org:1"
	s.Head.Admins[0].Capabilities[0] = "x"
	if again := l.State(); again.Head.Hash() != g2.Hash() {
		t.Error("the head changed")
	}
	for _, e := range l.Envelopes() {
		if err := e.check(); err != nil {
			t.Error(err)
		}
	}
	add(t, l, sign(t, next(g2, nil), "alice"))
	if c.Len() != 2 || c.State().Head.Generation != 2 {
		t.Error("the clone follows the original")
	}
}

// fork returns a log with two heads after g3: a moves s1 away, b assigns
// nothing and admits s3.
func fork(t testing.TB) (l *Log, g3, a, b *Roster) {
	t.Helper()
	g1, g2, g3 := deployment()
	a = next(g3, func(r *Roster) { r.Remove("s1") })
	b = next(next(g3, nil), func(r *Roster) { r.Members = append(r.Members, member("s3", RoleSentry, 5)) })
	l = newLog(t, g1, g2, g3, next(g3, nil), a, b)
	return l, g3, a, b
}

func TestFork(t *testing.T) {
	l, g3, a, b := fork(t)
	s := l.State()
	if !s.Fork || s.Head != nil || len(s.Heads) != 2 || s.Base != g3.Hash() {
		t.Fatalf("state is %+v", s)
	}
	names := mapped(s.Effective.Members, func(m Member) string { return m.Name })
	if diff := cmp.Diff([]string{"s2", "v1", "v2"}, names); diff != "" {
		t.Errorf("effective members: %s", diff)
	}
	if s.Effective.Signer.Holder != "" || !s.Effective.Tombstoned(pub("host s1")) {
		t.Errorf("in a fork, somebody is assigned or s1 is not removed")
	}

	for name, heal := range map[string]*Roster{"ab": Heal(a, b), "ba": Heal(b, a)} {
		t.Run(name, func(t *testing.T) {
			l := l.Clone()
			add(t, l, sign(t, heal, "alice"))
			s := l.State()
			if s.Fork || s.Head.Generation != 6 || s.Head.Signer.Holder != "" || s.Head.Signer.Epoch != 1 {
				t.Fatalf("state after healing is %+v", s)
			}
			names := mapped(s.Head.Members, func(m Member) string { return m.Name })
			if diff := cmp.Diff([]string{"s2", "s3", "v1", "v2"}, names); diff != "" {
				t.Errorf("members: %s", diff)
			}
			// and then as usual
			g := next(s.Head, func(r *Roster) { r.Signer.Holder, r.Signer.Epoch = "v2", 2 })
			add(t, l, sign(t, g, "alice"))
		})
	}
}

// What a generation that heals must not do.
func TestHealRules(t *testing.T) {
	l, _, a, b := fork(t)
	for name, change := range map[string]func(*Roster){
		"keeps the holder":     func(r *Roster) { r.Signer.Holder = "v1" },
		"raises the epoch":     func(r *Roster) { r.Signer.Epoch++ },
		"lowers the epoch":     func(r *Roster) { r.Signer.Epoch-- },
		"loses a tombstone":    func(r *Roster) { r.Tombstones = nil },
		"resurrects":           func(r *Roster) { r.Tombstones = nil; r.Members = append(r.Members, member("s1", RoleSentry, 2)) },
		"loses a member":       func(r *Roster) { r.Members = r.Members[1:] },
		"skips a generation":   func(r *Roster) { r.Generation++ },
		"other consensus key":  func(r *Roster) { r.Signer.PubKey = pub("other") },
		"no consensus key":     func(r *Roster) { r.Signer.PubKey = Key{} },
		"dates a member anew":  func(r *Roster) { r.at("s3").Since = r.Generation },
		"names a stranger too": func(r *Roster) { r.Parents = append(r.Parents, Hash{1}) },
	} {
		if _, err := l.Clone().Add(seal(changed(Heal(a, b), change), "alice")); err == nil {
			t.Errorf("a healing generation that %s is accepted", name)
		}
	}
}

// Heal makes something acceptable of heads that contradict each other.
func TestHealContradictions(t *testing.T) {
	g1, g2, g3 := deployment()
	admit := func(r *Roster, m Member) { r.Members = append(r.Members, m) }
	s3 := member("s3", RoleSentry, 4)
	for _, tt := range []struct {
		name    string
		a, b    func(*Roster)
		members string
	}{
		{"same host admitted in both", func(r *Roster) { admit(r, s3) }, func(r *Roster) { admit(r, s3) }, "s1 s2 s3 v1 v2"},
		{"name for two hosts", func(r *Roster) { admit(r, s3) }, func(r *Roster) {
			m := s3
			m.Identity, m.NodeID = pub("other"), nodeID("other")
			admit(r, m)
		}, "s1 s2 v1 v2"},
		{"two node ids", func(r *Roster) { admit(r, s3) }, func(r *Roster) {
			m := s3
			m.NodeID = nodeID("other")
			admit(r, m)
		}, "s1 s2 v1 v2"},
		{"two roles", func(r *Roster) { admit(r, s3) }, func(r *Roster) {
			m := s3
			m.Role, m.Mesh = RoleGenesisValidator, Mesh{}
			admit(r, m)
		}, "s1 s2 v1 v2"},
		{"node id of two hosts", func(r *Roster) { admit(r, s3) }, func(r *Roster) {
			m := member("s4", RoleSentry, 4)
			m.NodeID = s3.NodeID
			admit(r, m)
		}, "s1 s2 v1 v2"},
		{"endpoint of two hosts", func(r *Roster) { admit(r, s3) }, func(r *Roster) {
			m := member("s4", RoleSentry, 4)
			m.Endpoint = s3.Endpoint
			admit(r, m)
		}, "s1 s2 s3 s4 v1 v2"},
		{"replaced here, changed there", func(r *Roster) {
			r.Remove("s1")
			m := member("s1", RoleSentry, 4)
			m.Identity, m.NodeID = pub("other"), nodeID("other")
			admit(r, m)
		}, func(r *Roster) { r.at("s1").Restart = 4 }, "s1 s2 v1 v2"},
		{"removed in both", func(r *Roster) { r.Remove("s1") }, func(r *Roster) { r.Remove("s1") }, "s2 v1 v2"},
		{"enrolled here, removed there", func(r *Roster) { r.Peers = []string{nodeID("p") + "@p.example.org:1"} }, func(r *Roster) {
			r.Remove("v1")
			r.Peers = []string{nodeID("q") + "@q.example.org:1"}
		}, "s1 s2 v2"},
		{"peer here, member there", func(r *Roster) { r.Peers = []string{s3.NodeID + "@s3.example.org:26656"} }, func(r *Roster) { admit(r, s3) }, "s1 s2 s3 v1 v2"},
	} {
		for range 2 {
			t.Run(tt.name, func(t *testing.T) {
				// The other branch differs in the denom too, so that there is a fork at all.
				a := next(g3, tt.a)
				b := next(g3, func(r *Roster) { tt.b(r); r.Chain.Denom = "other" })
				l := newLog(t, g1, g2, g3, a, b)
				add(t, l, sign(t, Heal(a, b), "alice"))
				names := mapped(l.State().Head.Members, func(m Member) string { return m.Name })
				if got := strings.Join(names, " "); got != tt.members {
					t.Errorf("members are %s, want %s", got, tt.members)
				}
			})
			tt.a, tt.b = tt.b, tt.a
		}
	}
}

// Admins that one head removed cannot heal the fork, nor do anything in it.
func TestForkOverAdmins(t *testing.T) {
	g1, g2, g3 := deployment()
	a := next(g3, func(r *Roster) { r.Admins = r.Admins[:1] }) // without bob
	b := next(g3, nil)                                         // bob, knowing he goes
	l := newLog(t, g1, g2, g3, a)
	add(t, l, sign(t, b, "bob"))
	if s := l.State(); !s.Fork || s.Effective.Can(pub("bob"), CapRoster) || !s.Effective.Can(pub("alice"), CapArm) {
		t.Errorf("effective admins are %v", s.Effective.Admins)
	}
	heal := Heal(a, b)
	if _, err := l.Clone().Add(seal(heal, "bob")); !errors.Is(err, ErrForged) {
		t.Errorf("bob heals: %v", err)
	}
	add(t, l, sign(t, heal, "alice"))
	if l.State().Head.Can(pub("bob"), CapRoster) {
		t.Error("bob is an admin again")
	}
	// Bob goes on from his own branch. That is a fork again, but hosts do not
	// fall back to what he wrote.
	add(t, l, sign(t, next(b, func(r *Roster) { r.Chain.Binaries = nil }), "bob"))
	if s := l.State(); !s.Fork || s.Base != g3.Hash() {
		t.Errorf("the base is %s, want %s", s.Base.Short(), g3.Hash().Short())
	}
}

// More heads than a log takes; then a generation that heals them, sent with
// one that did not fit.
func TestTooManyHeads(t *testing.T) {
	g1, g2, g3 := deployment()
	l := newLog(t, g1, g2, g3)
	var heads []*Roster
	for i := range MaxHeads + 1 {
		heads = append(heads, next(g3, func(r *Roster) { r.Chain.Denom = fmt.Sprintf("denom%d", i) }))
	}
	for _, h := range heads[:MaxHeads] {
		add(t, l, sign(t, h, "alice"))
	}
	before := l.State()
	last := sign(t, heads[MaxHeads], "alice")
	if _, err := l.Add(last); !errors.Is(err, ErrTooManyForks) {
		t.Fatalf("Add: %v", err)
	}
	if diff := cmp.Diff(before, l.State()); diff != "" {
		t.Errorf("what was refused changed the state: %s", diff)
	}
	heal := Heal(heads[1:]...)
	if _, err := l.Add(sign(t, heal, "alice")); !errors.As(err, new(*MissingParents)) {
		t.Errorf("Add: %v", err)
	}
	if n, err := l.AddAll([]Envelope{sign(t, heal, "alice"), last}); err != nil || n != 2 {
		t.Fatalf("AddAll: %d, %v", n, err)
	}
	add(t, l, sign(t, Heal(heal, heads[0]), "alice"))
	if s := l.State(); s.Fork || s.Head.Generation != 6 {
		t.Errorf("state is %+v", s)
	}
}

// A removed admin who extends an old branch for ever fills the bound, not the
// disk; the deployment can still be healed. Where the branch is older than the
// bound, it is not even seen.
func TestTooLongFork(t *testing.T) {
	g1, g2, g3 := deployment()
	l := newLog(t, g1, g2, g3)
	short := l.Clone()
	good := next(g3, func(r *Roster) { r.Admins = r.Admins[:1] })
	add(t, l, sign(t, good, "alice"))

	bad := next(g3, nil)
	var err error
	n := 0
	for r := bad; err == nil; r = next(r, nil) {
		if _, err = l.Add(seal(r, "bob")); err == nil {
			bad = r
			n++
		}
		if n > MaxContested {
			t.Fatal("no bound")
		}
	}
	if !errors.Is(err, ErrTooManyForks) || n != MaxContested-1 {
		t.Fatalf("after %d generations: %v", n, err)
	}
	add(t, l, sign(t, Heal(good, bad), "alice"))
	if l.State().Fork {
		t.Error("still a fork")
	}

	long := []Envelope{}
	for r, i := good, 0; i < MaxContested; r, i = next(r, nil), i+1 {
		long = append(long, sign(t, r, "alice"))
	}
	if n, err := short.AddAll(long); err != nil || n != len(long) {
		t.Fatalf("AddAll: %d, %v", n, err)
	}
	if _, err := short.Add(seal(next(g3, nil), "bob")); !errors.Is(err, ErrTooManyForks) || short.State().Fork {
		t.Errorf("an old sibling: %v", err)
	}
}

func TestPublish(t *testing.T) {
	g1, g2, g3 := deployment()
	l := NewLog(g1.Hash())
	e1, e2 := sign(t, g1, "alice"), sign(t, g2, "alice")
	if err := l.Publish(e1); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(e2); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(e2); err != nil {
		t.Errorf("publishing again: %v", err)
	}
	sibling := sign(t, next(g1, nil), "alice")
	var conflict *Conflict
	if err := l.Publish(sibling); !errors.As(err, &conflict) || !slices.Equal(conflict.Heads, []Hash{g2.Hash()}) {
		t.Errorf("publishing a sibling: %v", err)
	}
	if err := l.Publish(sign(t, next(g3, nil), "alice")); !errors.As(err, &conflict) {
		t.Errorf("publishing what is too new: %v", err)
	}
	if err := l.Publish(e1); err != nil || l.Len() != 2 {
		t.Errorf("publishing an old one again: %v", err)
	}

	add(t, l, sibling)
	if err := l.Publish(sign(t, g3, "alice")); !errors.As(err, &conflict) || len(conflict.Heads) != 2 {
		t.Errorf("publishing on one head of a fork: %v", err)
	}
	if err := l.Publish(sign(t, Heal(g2, next(g1, nil)), "alice")); err != nil {
		t.Errorf("publishing what heals: %v", err)
	}
}

// A newer format is said to be that only when an admin signed it.
func TestNewerFormat(t *testing.T) {
	g1, g2, _ := deployment()
	l := newLog(t, g1, g2)
	newer := next(g2, func(r *Roster) { r.Format = 2 })
	if _, err := l.Add(seal(newer, "alice")); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("by alice: %v", err)
	}
	if _, err := l.Add(seal(newer, "mallory")); !errors.Is(err, ErrForged) {
		t.Errorf("by mallory: %v", err)
	}
	if err := l.Publish(seal(newer, "alice")); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Publish: %v", err)
	}
	if s := l.State(); s.Head.Generation != 2 {
		t.Errorf("the head is %d", s.Head.Generation)
	}
}

func TestDiff(t *testing.T) {
	_, g2, g3 := deployment()
	want := []string{
		"lets admin bob do admin, arm, assign, roster, before roster",
		"adds admin carol (roster)",
		"removes admin alice",
		`sets daemon to ""`,
		"sets block time to 2s",
		"sets binary for linux/arm64 to 030000000000",
		"removes binary for linux/amd64",
		"sets endpoint of s2 to s2.example.net:1",
		"restarts s2",
		"admits s3 (sentry)",
		"tombstones s1",
		"retires the signer from v1",
		"adds peer " + nodeID("p") + "@p.example.org:1",
	}
	g4 := next(g3, func(r *Roster) {
		r.Remove("s1")
		r.at("s2").Endpoint, r.at("s2").Restart = "s2.example.net:1", 4
		r.Members = append(r.Members, member("s3", RoleSentry, 4))
		r.Signer.Holder = ""
		r.Admins[0] = Admin{"carol", pub("carol"), []Capability{CapRoster}}
		r.Admins[1].Capabilities = AllCapabilities()
		r.Chain.Daemon, r.Chain.BlockTime = "", 2e9
		r.Chain.Binaries = []Binary{{"linux/arm64", Hash{3}}}
		r.Peers = []string{nodeID("p") + "@p.example.org:1"}
	})
	if diff := cmp.Diff(want, Diff(g3, g4)); diff != "" {
		t.Errorf("Diff: %s", diff)
	}
	want = []string{"sets consensus key to " + pub("consensus").String(), "assigns the signer to v1 (epoch 1)"}
	if diff := cmp.Diff(want, Diff(g2, g3)); diff != "" {
		t.Errorf("Diff: %s", diff)
	}
	if got := Diff(g3, g3); got != nil {
		t.Errorf("Diff of the same: %v", got)
	}
	if got := Diff(nil, g3); len(got) == 0 {
		t.Error("Diff with nothing is empty")
	}
}
