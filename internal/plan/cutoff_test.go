package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
)

// Of two sentries never both go: what leaves is counted by the config too, and whom the validator is linked to is what it
// says itself.
func TestValidatorIsNotCutOff(t *testing.T) {
	without2 := func(yaml string) string {
		return strings.Replace(strings.Replace(yaml, "  - {name: s2}\n", "", 1), "  - {name: s2, address: 192.0.2.3}\n", "", 1)
	}
	for name, tt := range map[string]struct {
		yaml, then string
		change     func(*sim)
		why        string
	}{
		"made anew where it is, and the other leaves": {broughtYAML, without2(broughtYAML), func(*sim) {}, "cut off while s1"},
		"lost, and the other leaves":                  {boughtYAML, without2(boughtYAML), func(s *sim) { s.lost["s1"] = true }, "cut off while s2"},
		"away for the operator only": {boughtYAML, "", func(s *sim) {
			s.lost["s1"], s.linked["s1"] = true, true
			s.hosts[1]["s2"].intent = api.Intent{Stopped: true, By: "me"}
		}, "cut off while s1"},
		"the other has no link": {boughtYAML, "", func(s *sim) {
			v := s.hosts[1]["validator"]
			v.follows = []string{s.hosts[1]["s1"].enrolled.NodeID}
		}, "cut off while s1"},
		"none has its link yet": {boughtYAML, "", func(s *sim) { s.hosts[1]["validator"].follows = nil }, "cut off while s1"},
		"the only one has no link yet": {
			strings.Replace(broughtYAML, "  - {name: s2, address: 192.0.2.3}\n", "", 1), "",
			func(s *sim) { s.hosts[1]["validator"].follows = nil }, "cut off while s1",
		},
		"its successor is not in the roster, and none has its link yet": {boughtYAML, "", func(s *sim) {
			s.replace = "s1"
			if _, err := s.apply(5); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			s.hosts[1]["validator"].follows = nil
		}, "cut off while s1"},
		"held": {boughtYAML, "", func(s *sim) {
			s.hosts[1]["validator"].intent = api.Intent{Held: true, By: "me"}
		}, "would not hear"},
		"links cannot be seen": {boughtYAML, "", func(s *sim) { s.hosts[1]["validator"].agent = false }, "nobody can tell"},
		"the other is replaced and has not joined": {boughtYAML, "", func(s *sim) {
			s.replace = "s2"
			if _, err := s.apply(11); !errors.Is(err, errCrash) { // published, not joined
				t.Fatal(err)
			}
			s.lost["s2--1"] = true
		}, "cannot be reached"},
		"the other is replaced and has no link yet": {boughtYAML, "", func(s *sim) {
			s.replace = "s2"
			if _, err := s.apply(12); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			v := s.hosts[1]["validator"]
			v.follows = []string{s.hosts[1]["s1"].enrolled.NodeID}
		}, "cut off while s1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := upBy(t, tt.yaml)
			tt.change(s)
			if tt.then != "" {
				s.config = parse(t, tt.then)
			}
			s.replace = "s1"
			var refusal *Refusal
			if _, p, err := s.plan(); !errors.As(err, &refusal) || !strings.Contains(refusal.Why, tt.why) {
				t.Errorf("%v, want %q\n%s", err, tt.why, words(p, nil))
			}
		})
	}
}

// One that nobody has a link to may go although no other is well: nothing is lost by it. And a validator that rests has no
// links to lose.
func TestNothingToCutOff(t *testing.T) {
	for name, change := range map[string]func(*sim){
		"both are lost": func(s *sim) {
			s.lost["s1"] = true
			s.hosts[1]["s2"].intent = api.Intent{Stopped: true, By: "me"}
			s.hosts[1]["s2"].revision = ""
		},
		"the validator is stopped": func(s *sim) {
			v := s.hosts[1]["validator"]
			v.intent, v.revision = api.Intent{Stopped: true, By: "me"}, ""
			s.hosts[1]["s2"].intent = api.Intent{Stopped: true, By: "me"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := upBy(t, boughtYAML)
			change(s)
			s.replace = "s1"
			if p, err := s.apply(0); err != nil {
				t.Errorf("%v\n%s", err, words(p, nil))
			}
		})
	}
}

// A sentry whose replacement is in the roster is joined before another one leaves.
func TestJoinedBeforeTheNextLeaves(t *testing.T) {
	s := upBy(t, boughtYAML)
	s.replace = "s1"
	p, err := s.apply(0)
	if err != nil {
		t.Fatal(err)
	}
	n := 1 + slices.IndexFunc(p.Steps(), func(st Step) bool { _, is := st.(AwaitJoined); return is })
	s = upBy(t, boughtYAML)
	s.replace = "s1"
	if _, err := s.apply(n); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	s.replace = "s2"
	_, p, err = s.plan()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, st := range p.Steps() {
		switch st := st.(type) {
		case AwaitJoined:
			order = append(order, "joined "+st.Name)
		case PublishRoster:
			if st.Deployment == "hub" {
				order = append(order, "published")
			}
		}
	}
	if !slices.Equal(order, []string{"joined s1", "published", "joined s2"}) {
		t.Errorf("%v", order)
	}
}
