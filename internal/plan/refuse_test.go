package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
)

const privateYAML = "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: {name: own, chain_id: own-1, daemon: ownd, binary: ./ownd, bech32_prefix: own, denom: uown}\nprovider: local\nsentries:\n  - {name: s1}\n  - {name: s2}\n"

// What stands in the genesis of a private network cannot be changed by the config; before there is a network it can.
func TestGenesisIsForEver(t *testing.T) {
	s := newSim(parse(t, privateYAML))
	settles(t, s, "at first")
	for was, is := range map[string]string{"denom: uown": "denom: uother", "bech32_prefix: own": "bech32_prefix: other", "daemon: ownd": "daemon: otherd"} {
		changed := parse(t, strings.Replace(privateYAML, was, is, 1))
		fresh := newSim(changed)
		settles(t, fresh, "a fresh one with "+is)
		before := s.config
		s.config = changed
		w := s.resolve()
		_, err := Make(w, s.observe(w))
		s.config = before
		_, value, _ := strings.Cut(was, ": ")
		key, _, _ := strings.Cut(was, ":")
		var no *Refusal
		if !errors.As(err, &no) || !strings.Contains(no.Why, "chain."+key) || !strings.Contains(no.Why, `"`+value+`"`) || !strings.Contains(no.Next, "put chain."+was+" back") {
			t.Errorf("%s: %v", is, err)
		}
	}
	settles(t, s, "put back")
}

// A host is made by its daemon before there is a roster that could say which.
func TestDaemonIsForEver(t *testing.T) {
	own := deployment.Inventory{Deployment: "hub", ChainID: "own-1", Daemon: deployment.Daemon{Name: "gaiad"}}
	var no *Refusal
	if _, err := Resolve(parse(t, privateYAML), Facts{Own: own}); !errors.As(err, &no) || !strings.Contains(no.Why, `"gaiad"`) || no.Next == "" {
		t.Errorf("%v", err)
	}
	if _, err := Resolve(parse(t, practiceYAML), Facts{Own: own}); !errors.As(err, &no) {
		t.Errorf("to the built-in one: %v", err)
	}
}
