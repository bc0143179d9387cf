package plan

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

const (
	boughtYAML  = "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: practice\nprovider: hetzner\nsentries:\n  - {name: s1}\n  - {name: s2}\n"
	broughtYAML = "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: practice\nprovider: ssh\nvalidator: {address: 192.0.2.1}\n" +
		"sentries:\n  - {name: s1, address: 192.0.2.2}\n  - {name: s2, address: 192.0.2.3}\n"
)

// upBy is a deployment that has been brought up.
func upBy(t testing.TB, yaml string) *sim {
	t.Helper()
	s := newSim(parse(t, yaml))
	settles(t, s, "at first")
	return s
}

// TestReplaceGolden keeps the plans of replacements in testdata/replace-NAME.txtar.
func TestReplaceGolden(t *testing.T) {
	moved := strings.Replace(broughtYAML, "192.0.2.2}", "192.0.2.9}", 1)
	lost := func(s *sim) { s.lost["s1"] = true }
	for name, tt := range map[string]struct {
		yaml, then string
		sentry     string
		change     func(*sim)
	}{
		"local":            {practiceYAML, "", "s1", func(*sim) {}},
		"local-alone":      {practiceYAML, "", "s1", func(s *sim) { s.hosts[1]["s2"].intent = api.Intent{Stopped: true, By: "me"} }},
		"bought":           {boughtYAML, "", "s1", func(*sim) {}},
		"bought-lost":      {boughtYAML, "", "s1", lost},
		"bought-elsewhere": {boughtYAML, strings.Replace(boughtYAML, "s1}", "s1, provider: vultr}", 1), "s1", func(*sim) {}},
		"brought":          {broughtYAML, "", "s1", func(*sim) {}},
		"brought-lost":     {broughtYAML, "", "s1", lost},
		"brought-moved":    {broughtYAML, moved, "s1", lost},
		"validator":        {practiceYAML, "", "validator", func(*sim) {}},
		"nobody":           {practiceYAML, "", "s9", func(*sim) {}},
		"of-the-world":     {practiceYAML, "", "w1", func(*sim) {}},
		"invited":          {practiceYAML, practiceYAML + "  - {name: s3, provider: invite}\n", "s3", func(*sim) {}},
		"forked":           {practiceYAML, "", "s1", func(s *sim) { fork(t, s) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := upBy(t, tt.yaml)
			tt.change(s)
			yaml := tt.yaml
			if tt.then != "" {
				yaml, s.config = tt.then, parse(t, tt.then)
			}
			s.replace = tt.sentry
			checkGolden(t, "replace-"+name, yaml, s)
		})
	}
}

// A replacement that is killed at any step is finished by another one, or by an apply: the sentry is a new one, with one
// machine, and the validator's node on a server was not restarted.
func TestReplaceCrash(t *testing.T) {
	moved := strings.Replace(broughtYAML, "192.0.2.2}", "192.0.2.9}", 1)
	for name, tt := range map[string]struct {
		yaml, then string
		lost       bool
	}{
		"local":            {practiceYAML, practiceYAML, false},
		"brought":          {broughtYAML, broughtYAML, false},
		"brought, moved":   {broughtYAML, moved, false},
		"bought":           {boughtYAML, boughtYAML, false},
		"bought and lost":  {boughtYAML, boughtYAML, true},
		"to another cloud": {boughtYAML, strings.Replace(boughtYAML, "s1}", "s1, provider: vultr}", 1), false},
	} {
		for _, again := range []string{"s1", ""} {
			t.Run(fmt.Sprintf("%s, then %q", name, again), func(t *testing.T) {
				for crash := 1; replaceCrash(t, tt.yaml, tt.then, tt.lost, again, crash); crash++ {
				}
			})
		}
	}
}

// replaceCrash replaces s1 until a step, then again. It returns false where the plan has no such step.
func replaceCrash(t *testing.T, yaml, then string, lost bool, again string, crash int) bool {
	t.Helper()
	s := upBy(t, yaml)
	restarts := s.hosts[1]["validator"].restart
	was := roster.Key(s.hosts[1]["s1"].enrolled.Identity)
	s.config, s.lost["s1"], s.replace = parse(t, then), lost, "s1"
	p, err := s.apply(crash)
	more := errors.Is(err, errCrash)
	if err != nil && !more {
		t.Fatalf("%v\n%s", err, words(p, nil))
	}
	begun := len(s.old) > 0 || s.logs[1].State().Head.Tombstoned(was)
	if !begun {
		again = "s1"
	}
	if s.replace = again; more {
		if p, err := s.apply(0); err != nil {
			t.Fatalf("crash %d, again: %v\n%s", crash, err, words(p, nil))
		}
	}
	s.replace = ""
	settles(t, s, fmt.Sprintf("crash %d", crash))
	head := s.logs[1].State().Head
	if m, is := head.Member("s1"); !is || m.Identity == was || !head.Tombstoned(was) {
		t.Errorf("crash %d: s1 is %+v", crash, m)
	}
	if got := s.hosts[1]["validator"].restart; (got == restarts) == (yaml == practiceYAML) {
		t.Errorf("crash %d: the validator's last restart was of generation %d, is of %d", crash, restarts, got)
	}
	if len(s.old) > 0 || len(s.saved[1].Replaced) > 0 || len(s.changes(s.resolve())) > 0 {
		t.Errorf("crash %d: left over: %v, %v, paid for %v", crash, s.old, s.saved[1].Replaced, s.sold)
	}
	return more
}

// A fork at any step of a replacement is healed, and then the replacement goes on.
func TestForkWhileReplaced(t *testing.T) {
	for _, tt := range []struct{ yaml, then string }{
		{boughtYAML, boughtYAML}, {broughtYAML, strings.Replace(broughtYAML, "192.0.2.2}", "192.0.2.9}", 1)},
	} {
		for crash := 2; ; crash++ {
			s := upBy(t, tt.yaml)
			was := roster.Key(s.hosts[1]["s1"].enrolled.Identity)
			s.config, s.replace = parse(t, tt.then), "s1"
			_, err := s.apply(crash)
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			s.replace = ""
			fork(t, s)
			settles(t, s, fmt.Sprintf("crash %d", crash))
			if m, is := s.logs[1].State().Head.Member("s1"); !is || m.Identity == was || len(s.saved[1].Replaced) > 0 {
				t.Errorf("crash %d: s1 is %+v, replaced %+v", crash, m, s.saved[1].Replaced)
			}
		}
	}
}

// A machine that does not come up is replaced by yet another one.
func TestReplacedTwice(t *testing.T) {
	s := upBy(t, boughtYAML)
	s.replace = "s1"
	if _, err := s.apply(4); !errors.Is(err, errCrash) { // bought and made, not enrolled
		t.Fatal(err)
	}
	s.lost["s1--1"] = true
	if p, err := s.apply(0); err != nil {
		t.Fatalf("%v\n%s", err, words(p, nil))
	}
	s.replace = ""
	settles(t, s, "in the end")
	if h, _ := s.saved[1].Host("s1"); h.Number != 2 || len(s.sold) != 3 || len(s.saved[1].Replaced) > 0 {
		t.Errorf("s1 is %+v, paid for %v", h, s.sold)
	}
}

// A brought server that dies while it takes the place of one that is lost is replaced by a third, wherever the first replacement was
// cut off. The one that is to be cleared is none.
func TestBroughtReplacedTwice(t *testing.T) {
	at := func(address string) string { return strings.Replace(broughtYAML, "192.0.2.2}", address+"}", 1) }
	for crash := 4; ; crash++ {
		s := upBy(t, broughtYAML)
		s.lost["s1"] = true
		s.config, s.replace = parse(t, at("192.0.2.9")), "s1"
		p, err := s.apply(crash)
		if !errors.Is(err, errCrash) {
			break
		}
		s.lost["s1--1"] = true
		if _, cleared := p.Steps()[crash-1].(AwaitSigning); cleared {
			break
		}
		s.config = parse(t, broughtYAML)
		var refusal *Refusal
		if _, p, err := s.plan(); !errors.As(err, &refusal) {
			t.Errorf("crash %d, config put back: %v\n%s", crash, err, words(p, nil))
		}
		s.config = parse(t, at("192.0.2.10"))
		if p, err := s.apply(0); err != nil {
			t.Fatalf("crash %d: %v\n%s", crash, err, words(p, nil))
		}
		s.replace = ""
		settles(t, s, fmt.Sprintf("crash %d", crash))
		if h, _ := s.saved[1].Host("s1"); h.Address != "192.0.2.10" || len(s.saved[1].Replaced) > 0 {
			t.Errorf("crash %d: s1 is %+v, replaced %+v", crash, h, s.saved[1].Replaced)
		}
	}
}

// A brought sentry that leaves is cleared last: one that refuses keeps no machine that is paid for from being given back.
func TestBroughtIsClearedLast(t *testing.T) {
	third := boughtYAML + "  - {name: s3, provider: ssh, address: 192.0.2.4}\n"
	s := upBy(t, third)
	s.config, s.replace = parse(t, boughtYAML), "s1"
	p, err := s.apply(0)
	order := map[string]int{}
	for i, st := range p.Steps() {
		switch st := st.(type) {
		case ReturnMachines:
			order["given back"] = i
		case DestroyHost:
			order["cleared "+st.Name] = i
		}
	}
	if err != nil || order["given back"] == 0 || order["cleared s3"] < order["given back"] {
		t.Errorf("%v\n%s", err, words(p, nil))
	}
	s.replace = ""
	settles(t, s, "then")
}

// Sentries that come and go cost a validator on a server no restart; one on this computer it does.
func TestRestartsForSentries(t *testing.T) {
	for name, tt := range map[string]struct {
		yaml, third string
		restart     bool
	}{
		"bought":  {boughtYAML, "  - {name: s3}\n", false},
		"brought": {broughtYAML, "  - {name: s3, address: 192.0.2.4}\n", false},
		"local":   {practiceYAML, "  - {name: s3}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := upBy(t, tt.yaml)
			for _, yaml := range []string{tt.yaml + tt.third, tt.yaml} { // one comes, and goes
				s.config = parse(t, yaml)
				p, err := s.apply(0)
				if err != nil {
					t.Fatalf("%v\n%s", err, words(p, nil))
				}
				if got := words(p, nil); strings.Contains(got, "restart validator") != tt.restart || !strings.Contains(got, "restart s2") {
					t.Errorf("the plan is\n%s", got)
				}
				settles(t, s, "then")
				var follows []string
				for _, m := range s.logs[1].State().Head.Members {
					if m.Role == roster.RoleSentry {
						follows = append(follows, m.NodeID)
					}
				}
				if got := s.hosts[1]["validator"].follows; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(follows))) {
					t.Errorf("the validator dials %v, the sentries are %v", got, follows)
				}
			}
		})
	}
}

// A validator is made anew only where a person said that its host is lost, however far an earlier apply got with it, and a
// plan that does it says so.
func TestMadeAnew(t *testing.T) {
	for name, yaml := range map[string]string{"local": practiceYAML, "brought": broughtYAML} {
		for crash := 2; ; crash++ {
			s := upBy(t, yaml)
			delete(s.hosts[1], "validator")
			s.replaceLost = true
			p, err := s.apply(crash)
			at := slices.IndexFunc(p.Steps(), func(st Step) bool { r, is := st.(PublishRoster); return is && r.Deployment == "hub" })
			if at < 0 || !makesAnew(p) {
				t.Fatalf("%s: no step says that it is made anew:\n%s", name, words(p, nil))
			}
			if !errors.Is(err, errCrash) || crash > at+1 {
				break // it is in the roster
			}
			s.replaceLost = false
			var refusal *Refusal
			if _, p, err := s.plan(); !errors.As(err, &refusal) || !strings.Contains(refusal.Next, "--replace-lost") {
				t.Errorf("%s: killed before step %d, a plain apply goes on: %v\n%s", name, crash, err, words(p, nil))
			}
			s.replaceLost = true
			if _, p, err := s.plan(); err != nil || !makesAnew(p) {
				t.Errorf("%s: killed before step %d, then no step says that it is made anew: %v\n%s", name, crash, err, words(p, nil))
			}
			settles(t, s, "in the end")
			if _, p, err := s.plan(); err != nil || makesAnew(p) {
				t.Errorf("%s: killed before step %d, it is made anew twice: %v\n%s", name, crash, err, words(p, nil))
			}
		}
	}
}

// makesAnew says whether a step says that the validator is made anew.
func makesAnew(p Plan) bool {
	return slices.ContainsFunc(p.Steps(), func(st Step) bool {
		e, enrols := st.(Enroll)
		r, publishes := st.(PublishRoster)
		return enrols && e.Anew && e.Name == "validator" || publishes && r.Anew == "validator"
	})
}

// A validator whose record alone is lost is the one that it was if its key says so, and none else.
func TestRecordOfValidatorLost(t *testing.T) {
	s := up(t)
	s.hosts[1]["validator"].enrolled = nil
	_, p, err := s.plan()
	if err != nil || slices.ContainsFunc(p.Steps(), func(st Step) bool { e, is := st.(Enroll); return is && e.Anew }) {
		t.Errorf("its key is there: %v\n%s", err, words(p, nil))
	}
	s.hosts[1]["validator"].key = s.key("another").Public().(ed25519.PublicKey)
	var refusal *Refusal
	if _, _, err := s.plan(); !errors.As(err, &refusal) {
		t.Errorf("it has another key: %v", err)
	}
}

// A validator that a healed fork put out of the roster is not made anew by the way.
func TestTombstonedValidatorIsMadeAnew(t *testing.T) {
	s := upBy(t, broughtYAML)
	n := roster.Next(s.logs[1].State().Head)
	n.Remove("validator")
	if err := errors.Join(s.publish(1, n), s.pushAll(1)); err != nil {
		t.Fatal(err)
	}
	s.replace = "s1"
	_, p, err := s.plan()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Steps(), func(st Step) bool { e, is := st.(Enroll); return is && e.Anew && e.Name == "validator" }) {
		t.Errorf("the plan does not say so:\n%s", words(p, nil))
	}
}

// A replacement that has begun is taken back as long as the roster has the machine that was to go, wherever it was cut off;
// the other machine goes, and the sentry is the one that it was.
func TestReplaceTakenBack(t *testing.T) {
	moved := strings.Replace(broughtYAML, "192.0.2.2}", "192.0.2.9}", 1)
	for name, then := range map[string]string{boughtYAML: boughtYAML, broughtYAML: moved} {
		for begun := 2; ; begun++ {
			s := upBy(t, name)
			was := roster.Key(s.hosts[1]["s1"].enrolled.Identity)
			s.config, s.replace = parse(t, then), "s1"
			if _, err := s.apply(begun); !errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", begun, err)
			}
			s.config, s.cancel = parse(t, name), true
			if s.logs[1].State().Head.Tombstoned(was) {
				var refusal *Refusal
				if _, _, err := s.plan(); !errors.As(err, &refusal) || !strings.Contains(refusal.Next, "finishes") {
					t.Errorf("step %d: it is in the roster already: %v", begun, err)
				}
				break
			}
			for crash := 1; crash < 4; crash++ { // the taking back is cut off, too
				if p, err := s.apply(crash); err != nil && !errors.Is(err, errCrash) {
					t.Fatalf("step %d: %v\n%s", begun, err, words(p, nil))
				}
				if len(s.saved[1].Replaced) == 0 || !slices.ContainsFunc(s.saved[1].Replaced, func(h deployment.Host) bool { return h.Identity == was }) {
					break
				}
			}
			s.replace, s.cancel = "", false
			if p, err := s.apply(0); err != nil {
				t.Fatalf("step %d, then: %v\n%s", begun, err, words(p, nil))
			}
			settles(t, s, fmt.Sprintf("step %d", begun))
			if m, is := s.logs[1].State().Head.Member("s1"); !is || m.Identity != was {
				t.Errorf("step %d: s1 is %+v", begun, m)
			}
			if len(s.old) > 0 || len(s.saved[1].Replaced) > 0 || len(s.changes(s.resolve())) > 0 {
				t.Errorf("step %d: left over: %v, %v, paid for %v", begun, s.old, s.saved[1].Replaced, s.sold)
			}
		}
	}
}

// A config that is put back while a sentry moves does not make one machine two hosts.
func TestConfigPutBackWhileReplaced(t *testing.T) {
	moved := strings.Replace(broughtYAML, "192.0.2.2}", "192.0.2.9}", 1)
	for crash := 2; crash < 9; crash++ {
		s := upBy(t, broughtYAML)
		s.config, s.replace = parse(t, moved), "s1"
		if _, err := s.apply(crash); !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		s.config = parse(t, broughtYAML)
		for _, again := range []string{"s1", ""} {
			facts := Facts{
				Dir: "/deployment", World: s.saved[0], Own: s.saved[1], Replace: again,
				PublicOf: func(address string) (string, error) { return address, nil },
				Ports:    func() (string, error) { return "127.0.0.1:9", nil },
			}
			var refusal *Refusal
			w, err := Resolve(s.config, facts)
			if again != "" && err == nil {
				_, err = Replace("s1", s.config, s.saved[1], s.observe(w).Own)
			}
			if again != "" && err == nil { // nothing is there yet: it is decided once it is known that the machine stays
				facts.Replace = ""
				_, err = Resolve(s.config, facts)
			}
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Next, "pressenter replace s1") {
				t.Errorf("crash %d, then %q: %v", crash, again, err)
			}
		}
	}
}

// A machine that is paid for and that this account does not know is not forgotten, unless it is known to be the right account
// or a person looked.
func TestMachineIsNotForgotten(t *testing.T) {
	s := upBy(t, boughtYAML)
	s.replace = "s1"
	delete(s.sold, "s1")
	var refusal *Refusal
	if _, p, err := s.plan(); !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "does not know its machine") {
		t.Errorf("it runs: %v\n%s", err, words(p, nil))
	}
	s.lost["s1"] = true
	if _, p, err := s.plan(); err != nil { // deleted: the account knows the others
		t.Errorf("%v\n%s", err, words(p, nil))
	}
	s = upBy(t, strings.Replace(boughtYAML, "s1}", "s1, provider: vultr}", 1))
	s.replace, s.lost["s1"] = "s1", true
	delete(s.sold, "s1")
	if _, p, err := s.plan(); !errors.As(err, &refusal) || !strings.Contains(refusal.Next, "--looked") {
		t.Errorf("perhaps another account: %v\n%s", err, words(p, nil))
	}
	s.looked = true
	if _, p, err := s.plan(); err != nil {
		t.Errorf("%v\n%s", err, words(p, nil))
	}
}

// No sentry is called as the machine of another one.
func TestNamesOfMachines(t *testing.T) {
	s := upBy(t, boughtYAML)
	s.replace = "s1"
	if _, err := s.apply(0); err != nil {
		t.Fatal(err)
	}
	var refusal *Refusal
	_, err := Resolve(parse(t, boughtYAML+"  - {name: s1--1}\n"), Facts{Dir: "/deployment", World: s.saved[0], Own: s.saved[1]})
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "the machine of s1") {
		t.Error(err)
	}
}

// A sentry that is made anew in its place does not get out of it by saying that it is somebody else.
func TestReplacedSaysItIsAnother(t *testing.T) {
	s := upBy(t, broughtYAML)
	was := roster.Key(s.hosts[1]["s1"].enrolled.Identity)
	e := *s.hosts[1]["s1"].enrolled
	e.Identity = s.key("another").Public().(ed25519.PublicKey)
	s.hosts[1]["s1"].enrolled = &e
	s.replace = "s1"
	p, err := s.apply(0)
	if err != nil || !slices.ContainsFunc(p.Steps(), func(st Step) bool { d, is := st.(DestroyHost); return is && d.Name == "s1" }) {
		t.Fatalf("%v\n%s", err, words(p, nil))
	}
	if m, _ := s.logs[1].State().Head.Member("s1"); m.Identity == roster.Key(e.Identity) || m.Identity == was {
		t.Errorf("it is in the roster as %s", m.Identity)
	}
}

// In a fork nothing is given back: the machine that was to go, or one that the config does not name any more, may be the one that
// serves by what the fork is healed to.
func TestNothingIsGivenBackInAFork(t *testing.T) {
	for name, change := range map[string]func(*sim){
		"replaced": func(s *sim) {
			s.replace = "s1"
			if _, err := s.apply(3); !errors.Is(err, errCrash) { // noted and bought
				t.Fatal(err)
			}
			s.replace = ""
		},
		"taken out": func(s *sim) { s.config = parse(t, strings.Replace(boughtYAML, "  - {name: s1}\n", "", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := upBy(t, boughtYAML)
			change(s)
			fork(t, s)
			p, err := s.apply(0)
			if err != nil || !s.sold["s1"] {
				t.Errorf("%v\n%s", err, words(p, nil))
			}
			if got := words(p, nil); !strings.Contains(got, "heal the fork") {
				t.Errorf("the plan is\n%s", got)
			}
			settles(t, s, "then")
			if s.sold["s1"] {
				t.Error("it is never given back")
			}
		})
	}
}
