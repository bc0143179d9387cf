package plan

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const practiceYAML = "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: practice\nprovider: local\nsentries:\n  - {name: s1}\n  - {name: s2}\n"

func parse(t testing.TB, yaml string) config.Deployment {
	t.Helper()
	c, err := config.Parse("pressenter.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

// up is a practice network that has been brought up.
func up(t testing.TB) *sim {
	t.Helper()
	s := newSim(parse(t, practiceYAML))
	for range 2 {
		if _, err := s.apply(0); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func words(p Plan, err error) string {
	var b strings.Builder
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		fmt.Fprintf(&b, "refused: %s\nnext: %s\n", refusal.Why, refusal.Next)
	case err != nil:
		fmt.Fprintf(&b, "error: %v\n", err)
	case p.Empty():
		fmt.Fprintln(&b, "no changes")
	}
	for i, stage := range p.Stages {
		for _, s := range stage {
			fmt.Fprintf(&b, "%2d %-7s %s: %s\n", i+1, KindOf(s), s.Where(), s)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

// TestGolden keeps the plan of each state of the world in testdata/NAME.txtar: the config, and what is planned.
func TestGolden(t *testing.T) {
	s3 := practiceYAML + "  - {name: s3}\n"
	one := strings.Replace(practiceYAML, "  - {name: s2}\n", "", 1)
	others := strings.ReplaceAll(practiceYAML, "name: s", "name: x")
	for name, tt := range map[string]struct {
		yaml   string // "": as before
		change func(*sim)
	}{
		"no-changes":    {"", func(*sim) {}},
		"agent-dead":    {"", func(s *sim) { s.hosts[1]["s1"].agent = false }},
		"host-behind":   {"", func(s *sim) { s.hosts[1]["s2"].heads = []string{"older"} }},
		"not-learned":   {"", func(s *sim) { s.hosts[1]["validator"].learned = false }},
		"add-sentry":    {s3, func(*sim) {}},
		"remove-sentry": {one, func(*sim) {}},
		"remove-sentry-interrupted-before-destroy": {one, func(s *sim) {
			s.config = parse(t, one)
			_, _ = s.apply(4)
			s.hosts[1]["s2"].agent = false
		}},
		"all-sentries-replaced": {others, func(*sim) {}},
		"validator-folder-gone": {"", func(s *sim) { delete(s.hosts[1], "validator") }},
		"validator-folder-gone-while-forked": {"", func(s *sim) {
			fork(t, s)
			delete(s.hosts[1], "validator")
		}},
		"validator-replaced": {"", func(s *sim) {
			delete(s.hosts[1], "validator")
			s.replaceLost = true
		}},
		"sentry-folder-gone": {"", func(s *sim) { delete(s.hosts[1], "s1") }},
		"stopped":            {"", func(s *sim) { s.hosts[1]["validator"].intent = api.Intent{Stopped: true, By: "me"} }},
		"stopped-no-agent": {"", func(s *sim) {
			s.hosts[1]["validator"].intent, s.hosts[1]["validator"].agent = api.Intent{Stopped: true, By: "me"}, false
		}},
		"validator-agent-dead": {"", func(s *sim) { s.hosts[1]["validator"].agent = false }},
		"sentry-stopped":       {"", func(s *sim) { s.hosts[1]["s1"].intent = api.Intent{Stopped: true, By: "me"} }},
		"held-and-changed":     {s3, func(s *sim) { s.hosts[1]["validator"].intent = api.Intent{Held: true, By: "me"} }},
		"disarmed": {"", func(s *sim) {
			s.hosts[1]["validator"].signing = signing.Disarmed
		}},
		"fork":                  {"", func(s *sim) { fork(t, s) }},
		"fork-and-remove":       {one, func(s *sim) { fork(t, s) }},
		"genesis-not-installed": {"", func(s *sim) { s.hosts[1]["s1"].genesis = false }},
		"genesis-lost":          {s3, func(s *sim) { s.genesis, s.prepared = "", false }},
		"genesis-swapped":       {"", func(s *sim) { s.genesis = hash("another") }},
		"keyring-lost":          {s3, func(s *sim) { s.admins[1] = nil }},
		"record-of-host-lost":   {"", func(s *sim) { s.hosts[1]["s1"].enrolled = nil }},
		"backup-not-kept":       {"", func(s *sim) { s.hosts[1]["validator"].backed = false }},
		"removed-interrupted-and-wanted-again": {practiceYAML, func(s *sim) {
			s.config = parse(t, one)
			_, _ = s.apply(4)
		}},
		"daemon-changed": {"", func(s *sim) { s.staged = false }},
		"agents-of-another-build": {s3, func(s *sim) {
			s.build = "4e8da3f04d1b8a42a53c0b1fd099299"
			s.hosts[1]["s1"].build = "sha256:0285cfe004b4a2b5da136f0abc55"
			s.hosts[1]["s2"].build = s.build
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := up(t)
			yaml := practiceYAML
			tt.change(s)
			if tt.yaml != "" {
				yaml, s.config = tt.yaml, parse(t, tt.yaml)
			}
			checkGolden(t, name, yaml, s)
		})
	}
	t.Run("fresh", func(t *testing.T) { checkGolden(t, "fresh", practiceYAML, newSim(parse(t, practiceYAML))) })
}

func checkGolden(t *testing.T, name, yaml string, s *sim) {
	t.Helper()
	_, p, err := s.plan()
	got := fmt.Sprintf("-- config.yaml --\n%s-- plan --\n%s", yaml, words(p, err))
	path := filepath.Join("testdata", name+".txtar")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("(-want +got; -update rewrites)\n%s", d)
	}
}

// fork lets two operators publish after the same head of our own side.
func fork(t testing.TB, s *sim) {
	t.Helper()
	head := s.logs[1].State().Head
	var envs []roster.Envelope
	for _, price := range []string{"1uprac", "2uprac"} {
		n := roster.Next(head)
		n.Chain.MinGasPrice = price
		e, err := roster.Sign(n, s.admins[1])
		if err != nil {
			t.Fatal(err)
		}
		envs = append(envs, e)
	}
	if _, err := s.logs[1].AddAll(envs); err != nil {
		t.Fatal(err)
	}
}

// A practice network comes up after a crash at any step, and then there is nothing left to do.
func TestUpCrash(t *testing.T) {
	for crash := 1; ; crash++ {
		s := newSim(parse(t, practiceYAML))
		_, err := s.apply(crash)
		if err == nil {
			if crash < 20 {
				t.Fatalf("only %d steps", crash)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("crash %d: %v", crash, err)
		}
		settles(t, s, fmt.Sprintf("crash %d", crash))
	}
}

// One apply is enough, whatever the node id is that a new server's sentry is born with.
func TestOneApplyIsEnoughOnServers(t *testing.T) {
	const yaml = "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: practice\nprovider: ssh\nvalidator: {address: 192.0.2.1}\n" +
		"sentries:\n  - {name: s1, address: 192.0.2.2}\n  - {name: s2, address: 192.0.2.3}\n"
	for births := range 8 {
		s := newSim(parse(t, yaml))
		s.births = 100 * births
		for _, change := range []string{yaml, yaml + "  - {name: s3, address: 192.0.2.4}\n", strings.ReplaceAll(yaml, "s2", "s4")} {
			s.config = parse(t, change)
			p, err := s.apply(0)
			if err != nil {
				t.Fatalf("%v\n%s", err, words(p, nil))
			}
			if change == yaml && !strings.Contains(strings.Join(p.Notes, "\n"), "set up as servers: s1 at 192.0.2.2, s2 at 192.0.2.3, validator at 192.0.2.1. ") {
				t.Fatalf("nobody is told whose servers are taken: %q", p.Notes)
			}
			w := s.resolve()
			if left, err := Make(w, s.observe(w)); err != nil || !left.Empty() {
				t.Fatalf("%d: left after\n%sis\n%s", births, words(p, nil), words(left, err))
			}
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// settles applies until there are no changes, which must not take long.
func settles(t fataler, s *sim, when string) {
	t.Helper()
	var last Plan
	for range 4 {
		p, err := s.apply(0)
		if err != nil {
			t.Fatalf("%s: %v\n%s", when, err, words(p, nil))
		}
		if p.Empty() {
			return
		}
		last = p
	}
	t.Fatalf("%s: still not settled:\n%s", when, words(last, nil))
}

// Whatever the config becomes, wherever apply is killed and whatever falls over: no wanted host is destroyed or
// removed from the roster, no two sentries go down together, the validator is restarted last, every roster is
// accepted by the rules, and in the end there is nothing left to do.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(config.Practice("hub"))
		m := &machine{s: s}
		t.Repeat(map[string]func(*rapid.T){
			"configure": m.configure, "replace": m.replace, "apply": m.apply, "apply again": m.apply, "kill agent": m.kill, "stop": m.stop, "start": m.start, "join": m.join, "": m.check,
		})
		m.start(t)
		m.settle(t)
	})
}

type machine struct{ s *sim }

func (m *machine) configure(t *rapid.T) {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"s1", "s2", "s3", "s4"}), 1, 4, rapid.ID).Draw(t, "sentries")
	c := m.s.config
	c.Sentries = nil
	for _, n := range names {
		c.Sentries = append(c.Sentries, config.Sentry{Name: n})
	}
	if rapid.Bool().Draw(t, "guest") {
		c.Sentries = append(c.Sentries, config.Sentry{Name: guest, Machine: config.Machine{Provider: config.ProviderInvite}})
	}
	m.s.config = c
}

func (m *machine) apply(t *rapid.T) {
	p, err := m.s.apply(rapid.IntRange(0, 30).Draw(t, "crash"))
	var refusal *Refusal
	if err != nil && !errors.Is(err, errCrash) && !errors.As(err, &refusal) && !m.silent() {
		t.Fatalf("%v\n%s", err, words(p, nil))
	}
}

// replace replaces a sentry, and is killed somewhere, or not.
func (m *machine) replace(t *rapid.T) {
	m.s.replace = rapid.SampledFrom([]string{"s1", "s2", "s3", "s4"}).Draw(t, "sentry")
	defer func() { m.s.replace = "" }()
	m.apply(t)
}

// silent says that a person keeps the validator from signing.
func (m *machine) silent() bool {
	v := m.s.hosts[1]["validator"]
	return v != nil && v.intent.Stopped
}

func (m *machine) kill(t *rapid.T) {
	side := rapid.IntRange(0, 1).Draw(t, "side")
	for _, name := range sortedNames(m.s.hosts[side]) {
		if rapid.Bool().Draw(t, name) {
			m.s.hosts[side][name].agent, m.s.hosts[side][name].learned = false, false
		}
	}
}

func (m *machine) stop(t *rapid.T) {
	if names := sortedNames(m.s.hosts[1]); len(names) > 0 {
		h := m.s.hosts[1][rapid.SampledFrom(names).Draw(t, "host")]
		h.intent, h.revision = api.Intent{Stopped: true, By: "me"}, ""
	}
}

func (m *machine) start(t *rapid.T) {
	for name, h := range m.s.hosts[1] {
		h.intent = api.Intent{}
		if err := m.s.turn(1, name); err != nil {
			t.Fatal(err)
		}
	}
}

func sortedNames(m map[string]*simHost) []string {
	var out []string
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (m *machine) check(t *rapid.T) {
	w := m.s.resolve()
	o := m.s.observe(w)
	p, err := Make(w, o)
	m.checkPlan(t, p, w, o)
	again, errAgain := Make(w, m.s.observe(w))
	if words(p, err) != words(again, errAgain) {
		t.Fatalf("the plan is not a function of what is observed:\n%s\n%s", words(p, err), words(again, errAgain))
	}
}

func (m *machine) checkPlan(t *rapid.T, p Plan, w Want, o Observed) {
	restarted := false
	for _, stage := range p.Stages {
		n := 0
		for _, step := range stage {
			inventory, have := w.Own, o.Own
			if step.Where() == w.World.Deployment {
				inventory, have = w.World, o.World
			}
			_, wanted := inventory.Host(step.Host())
			switch st := step.(type) {
			case DestroyHost:
				if e := have.Hosts[step.Host()].Status.Enrolled; wanted && !have.Head.Tombstoned(roster.Key(e.Identity)) {
					t.Fatalf("a wanted host is destroyed:\n%s", words(p, nil))
				}
			case RestartNode:
				if n++; n > 1 {
					t.Fatalf("two restarts at once:\n%s", words(p, nil))
				}
				if restarted && step.Where() == w.Own.Deployment {
					t.Fatalf("a restart after the validator's:\n%s", words(p, nil))
				}
				restarted = restarted || st.Role == string(roster.RoleValidator)
			case PublishRoster:
				for _, c := range st.Changes {
					if _, invited := inventory.InvitedHost(guest); invited && c == "tombstones "+guest {
						t.Fatalf("an invited host leaves the roster:\n%s", words(p, nil))
					}
					for _, h := range inventory.Hosts {
						if c == "tombstones "+h.Name {
							t.Fatalf("a wanted host leaves the roster:\n%s", words(p, nil))
						}
					}
				}
			}
		}
	}
}

// settle lets a person do what refusals ask for: sentries are replaced in two steps.
func (m *machine) settle(t *rapid.T) {
	final := m.s.config
	for range 3 {
		p, err := m.s.apply(0)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			c := final
			for _, h := range m.s.saved[1].Hosts {
				if h.Role == roster.RoleSentry && !slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == h.Name }) {
					c.Sentries = append(slices.Clone(c.Sentries), config.Sentry{Name: h.Name})
				}
			}
			m.s.config = c
			settles(t, m.s, "with the old sentries beside the new")
			m.s.config = final
			continue
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, words(p, nil))
		}
	}
	settles(t, m.s, "at the end")
	if !m.s.signs(m.s.hosts[1]["validator"]) {
		t.Fatalf("it does not sign in the end")
	}
	ours := slices.DeleteFunc(slices.Clone(final.Sentries), config.Sentry.Invited)
	if len(m.s.hosts[1]) != 1+len(ours) {
		t.Fatalf("hosts are left over: %v", sortedNames(m.s.hosts[1]))
	}
}

// What Target returns needs no further change.
func TestTargetIsIdempotent(t *testing.T) {
	s := up(t)
	w := s.resolve()
	head := s.logs[1].State().Head
	enrolled := s.enrolled(1)
	peers := head.Peers
	delete(enrolled, "s1") // a host that cannot be asked stays as it is
	slices.Reverse(peers)
	if n := Target(w.Own, w.Chain, head, enrolled, peers, nil); n != nil {
		t.Errorf("wants to change %v", roster.Diff(head, n))
	}
}

// No generation moves the key's holder in one step, and the first assigns nobody.
func TestAssignment(t *testing.T) {
	s := up(t)
	seen := map[uint64]roster.Assignment{}
	for _, e := range s.logs[1].Envelopes() {
		r, err := roster.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		seen[r.Generation] = r.Signer
	}
	if seen[1].Holder != "" || !seen[1].PubKey.IsZero() {
		t.Errorf("generation 1 assigns %+v", seen[1])
	}
	if seen[2].Holder != "validator" || seen[2].Epoch != 1 {
		t.Errorf("generation 2 assigns %+v", seen[2])
	}
	// Replaced: retired in one generation, assigned in the next; the new host does not hold the key yet.
	delete(s.hosts[1], "validator")
	s.replaceLost = true
	p, err := s.apply(0)
	if err != nil {
		t.Fatal(err)
	}
	retired := false
	for _, e := range s.logs[1].Envelopes() {
		r, err := roster.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		retired = retired || r.Generation == 3 && r.Signer.Holder == "" && r.Signer.PubKey == seen[2].PubKey
	}
	if !retired {
		t.Error("the holder was moved without being retired")
	}
	if r := s.logs[1].State().Head; r.Signer.Holder != "validator" || r.Signer.PubKey != seen[2].PubKey || r.Signer.Epoch != 2 {
		t.Errorf("then: %+v", r.Signer)
	}
	if s.signs(s.hosts[1]["validator"]) {
		t.Error("a validator without the deployment's key signs")
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "key restore") {
		t.Errorf("notes %q", p.Notes)
	}
}

func TestMarshalledPlanIsStable(t *testing.T) {
	s := newSim(parse(t, practiceYAML))
	w := s.resolve()
	first := ""
	for range 20 {
		p, err := Make(w, s.observe(w))
		now := words(p, err)
		if first == "" {
			first = now
		}
		if now != first {
			t.Fatal("the order of steps changes")
		}
	}
}
