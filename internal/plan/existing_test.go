package plan

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

const existingYAML = `apiVersion: pressenter/v1
kind: Deployment
name: hub
chain: {name: sim, chain_id: sim-7, daemon: practiced, binary: practiced, bech32_prefix: practice, denom: uprac, exists: true}
provider: ssh
validator: {address: v}
sentries: [{name: s1, address: s1}]
`

// joined is a deployment that joined a network, of which nothing was made yet.
func joined(t *testing.T) *sim {
	t.Helper()
	s := newSim(parse(t, existingYAML))
	s.genesis, s.taken = hash("theirs"), s.key("theirs").Public().(ed25519.PublicKey)
	s.saved[1] = deployment.Inventory{Deployment: "hub", ChainID: "sim-7", Adoption: &deployment.Adoption{
		Host: "validator", Address: "v", Unit: "cosmos.service", PubKey: s.taken, Genesis: s.genesis, Peers: []string{strings.Repeat("a", 40) + "@x:26656"}, MinGasPrice: "1uprac",
	}}
	return s
}

// TestExisting: on a network that is there, nothing of it is made, and the validator is no host of ours before it was taken over.
func TestExisting(t *testing.T) {
	s := joined(t)
	w := s.resolve()
	if w.Chain.BlockTime != 0 || w.Chain.MinGasPrice != "1uprac" || len(w.World.Hosts) != 0 {
		t.Errorf("%+v", w.Chain)
	}
	p, err := Make(w, s.observe(w))
	if err != nil {
		t.Fatal(err)
	}
	first := words(p, nil)
	for _, never := range []string{"hub-world", "genesis of the practice", "accounts", "enrol validator", "create host validator", "signature of validator"} {
		if strings.Contains(first, never) {
			t.Errorf("%q is in\n%s", never, first)
		}
	}
	for _, is := range []string{"create host s1", "give s1 the genesis", "goes on under cosmos.service", "--take-over"} {
		if !strings.Contains(first, is) {
			t.Errorf("%q is not in\n%s", is, first)
		}
	}
	if got := OwnPeers(w, nil); !slices.Equal(got, s.saved[1].Adoption.Peers) {
		t.Errorf("peers %q", got)
	}
	if _, err := s.apply(0); err != nil {
		t.Fatal(err)
	}
	if w = s.resolve(); !quiet(t, s, w) {
		t.Error("a second plan has changes")
	}
	s.saved[1].Adoption.Begun = true
	if w = s.resolve(); !quiet(t, s, w) || slices.ContainsFunc(w.Own.Hosts, isValidator) {
		t.Error("a takeover that is not done makes a validator")
	}
	s.saved[1].Adoption.Taken = true
	w = s.resolve()
	if p, err = Make(w, s.observe(w)); err != nil {
		t.Fatal(err)
	}
	then := words(p, nil)
	if !strings.Contains(then, "create host validator") || !strings.Contains(then, "does not sign before its key is armed") || strings.Contains(then, "wait until others hold") {
		t.Errorf("%s", then)
	}
}

func isValidator(h deployment.Host) bool { return h.Role == roster.RoleValidator }

func quiet(t *testing.T, s *sim, w Want) bool {
	t.Helper()
	p, err := Make(w, s.observe(w))
	if err != nil {
		t.Fatal(err)
	}
	return p.Empty()
}

// TestJoinable: whether a network is made or joined is decided once, and the server stays the one that brought it.
func TestJoinable(t *testing.T) {
	s := joined(t)
	own := s.saved[1]
	moved := s.config
	moved.Validator.Address = "root@elsewhere"
	made := deployment.Inventory{Deployment: "hub"}
	for name, tt := range map[string]struct {
		c    config.Deployment
		own  deployment.Inventory
		says string
	}{
		"not joined yet":    {s.config, deployment.Inventory{}, "nothing of it is known"},
		"made, and existed": {s.config, made, "cannot be changed later"},
		"joined, and made":  {parse(t, strings.Replace(existingYAML, ", exists: true", "", 1)), own, "cannot be changed later"},
		"another server":    {moved, own, "would go on beside"},
	} {
		var no *Refusal
		if _, err := Resolve(tt.c, Facts{Own: tt.own}); !errors.As(err, &no) || !strings.Contains(no.Why, tt.says) || no.Next == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOlderFolder: a folder that does not know of the takeover plans nothing once the roster has the validator.
func TestOlderFolder(t *testing.T) {
	for name, forget := range map[string]func(*deployment.Adoption){
		"from before it began":    func(a *deployment.Adoption) { a.Begun, a.Taken = false, false },
		"from before it was done": func(a *deployment.Adoption) { a.Taken = false },
	} {
		s := joined(t)
		if _, err := s.apply(0); err != nil {
			t.Fatal(err)
		}
		a := s.saved[1].Adoption
		a.Begun, a.Taken = true, true
		if _, err := s.apply(0); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(s.logs[1].State().Head.Members, func(m roster.Member) bool { return m.Role == roster.RoleValidator }) {
			t.Fatal("the roster has no validator")
		}
		forget(a)
		s.saved[1].Drop("validator")
		w := s.resolve()
		var no *Refusal
		if _, err := Make(w, s.observe(w)); !errors.As(err, &no) || !strings.Contains(no.Why, "another copy of the folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAdoptedIsAnother: a server that bears a key, instead of bringing the one that was taken over, gets no right to sign; and a
// genesis that is not the one that was joined is none.
func TestAdoptedIsAnother(t *testing.T) {
	s := joined(t)
	if _, err := s.apply(0); err != nil {
		t.Fatal(err)
	}
	a := s.saved[1].Adoption
	a.Begun, a.Taken = true, true
	s.taken = nil // it is born
	if _, err := s.apply(0); err != nil {
		t.Log(err)
	}
	head := s.logs[1].State().Head
	if !head.Signer.PubKey.IsZero() || head.Signer.Holder != "" {
		t.Errorf("the signer is %+v", head.Signer)
	}
	var no *Refusal
	w := s.resolve()
	if _, err := Make(w, s.observe(w)); !errors.As(err, &no) || !strings.Contains(no.Why, "another consensus key") {
		t.Errorf("another key: %v", err)
	}
	s = joined(t)
	s.genesis = ""
	w = s.resolve()
	if _, err := Make(w, s.observe(w)); !errors.As(err, &no) || !strings.Contains(no.Next, "--join") {
		t.Errorf("another genesis: %v", err)
	}
}

// TestBeside: who goes on with a takeover is shown no plan, so nothing but the takeover may be in it.
func TestBeside(t *testing.T) {
	s := joined(t)
	if _, err := s.apply(0); err != nil {
		t.Fatal(err)
	}
	a := s.saved[1].Adoption
	a.Begun, a.Taken = true, true
	w := s.resolve()
	p, err := Make(w, s.observe(w))
	if err != nil || p.Empty() || len(p.Beside("validator")) != 0 {
		t.Errorf("%v has %v beside it, %v", p.Steps(), p.Beside("validator"), err)
	}
	for what, change := range map[string]func(*config.Deployment){
		"a sentry more": func(c *config.Deployment) {
			c.Sentries = append(c.Sentries, config.Sentry{Name: "s2", Machine: config.Machine{Address: "s2"}})
		},
		"a peer": func(c *config.Deployment) {
			c.Sentries[0].PrivatePeers = []string{strings.Repeat("c", 40) + "@y:26656"}
		},
		"another gas price": func(*config.Deployment) { a.MinGasPrice = "2uprac" },
	} {
		was := s.config
		s.config.Sentries = slices.Clone(was.Sentries)
		change(&s.config)
		w := s.resolve()
		if p, err = Make(w, s.observe(w)); err != nil || len(p.Beside("validator")) == 0 {
			t.Errorf("%s: nothing is beside it in %v, %v", what, p.Steps(), err)
		}
		s.config = was
	}
}
