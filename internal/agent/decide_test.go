package agent

import (
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// ready are facts of a validator that signs.
func ready(t *testing.T) facts {
	t.Helper()
	r := newValidator(t)
	f, err := r.look()
	must(t, err)
	if v := decide(f); v.wish != run || !v.sign {
		t.Fatalf("not ready: %+v", v)
	}
	return f
}

func clone(f facts) facts {
	h := *f.host
	f.host = &h
	f.state.Effective = f.state.Effective.Clone()
	return f
}

// reasons are all that can keep a host from signing, strongest first. A host for which several hold obeys the first
// that stops it.
var reasons = []struct {
	name   string
	spoil  func(*facts)
	want   wish
	silent bool // a daemon that runs with the key is ended
	says   string
}{
	{"moved", func(f *facts) { f.moved = true }, stop, true, "copy"},
	{"tombstoned", func(f *facts) {
		f.state.Effective.Generation++
		f.state.Effective.Remove("validator")
	}, stop, true, "removed"},
	{"not a member", func(f *facts) {
		f.host.Enrolled.Identity = make([]byte, 32)
	}, stop, true, "not in the roster"},
	{"stopped", func(f *facts) { f.intent = api.Intent{Stopped: true, By: "me"} }, stop, true, "stopped by me"},
	{"held", func(f *facts) { f.intent.Held, f.intent.By = true, "me" }, leave, false, "held by me"},
	{"no roster", func(f *facts) { f.state = roster.State{} }, leave, true, "no roster"},
	{"not enrolled", func(f *facts) { f.host = nil }, leave, true, "not enrolled"},
	{"retired", func(f *facts) { f.state.Effective.Signer.Holder = "" }, run, true, ""},
	{"another holder", func(f *facts) {
		e := f.state.Effective
		e.Members = append(e.Members, roster.Member{Name: "v2", Role: roster.RoleValidator, Identity: roster.Key{8}, NodeID: nodeID("9")})
		e.Signer.Holder = "v2"
	}, run, true, ""},
	{"another key is the deployment's", func(f *facts) { f.state.Effective.Signer.PubKey = roster.Key{5} }, run, true, ""},
	{"disarmed", func(f *facts) { f.signing.State = signing.Disarmed }, run, true, ""},
	{"no key", func(f *facts) { f.signing = signing.Status{State: signing.None} }, run, true, ""},
	{"being born", func(f *facts) { f.signing.State = "born" }, run, true, ""},
	{"somebody is not enrolled", func(f *facts) { f.state.Effective.Members[0].NodeID = "" }, leave, false, "every node id"},
	{"no genesis", func(f *facts) { f.genesis = "" }, leave, false, "no genesis"},
	{"another genesis", func(f *facts) { f.genesis = strings.Repeat("0", 64) }, leave, false, "genesis here"},
	{"another node id", func(f *facts) { f.host.Enrolled.NodeID = nodeID("0") }, leave, false, "another node id"},
	{"not told", func(f *facts) { f.learned = false }, leave, false, "not told"},
}

func TestDecide(t *testing.T) {
	base := ready(t)
	for _, tt := range reasons {
		f := clone(base)
		tt.spoil(&f)
		v := decide(f)
		if v.wish != tt.want || v.sign || !strings.Contains(v.reason, tt.says) && tt.want != run {
			t.Errorf("%s: %+v, want wish %d", tt.name, v, tt.want)
		}
		if tt.want == leave && v.silent != tt.silent {
			t.Errorf("%s: silent %v, want %v", tt.name, v.silent, tt.silent)
		}
	}
}

// Of any two reasons, neither makes a host sign, and one that stops it is never outdone by one that does not.
func TestDecidePairs(t *testing.T) {
	base := ready(t)
	for i, a := range reasons {
		for _, b := range reasons[i+1:] {
			f := clone(base)
			if !apply(&f, a.spoil) || !apply(&f, b.spoil) {
				continue
			}
			v := decide(f)
			if v.sign {
				t.Errorf("%s and %s: signs", a.name, b.name)
			}
			gone := f.host == nil || f.state.Effective == nil // nobody can tell any more what became of the host
			if (a.want == stop || b.want == stop) && v.wish != stop && !gone {
				t.Errorf("%s and %s: %+v, want a stop", a.name, b.name, v)
			}
			if v.wish == run && (a.want != run || b.want != run) {
				t.Errorf("%s and %s: runs", a.name, b.name)
			}
			if held := a.name == "held" || b.name == "held"; v.wish == leave && (a.silent || b.silent) && !held && !v.silent {
				t.Errorf("%s and %s: a signing daemon goes on", a.name, b.name)
			}
		}
	}
}

// apply reports false where a fact cannot be together with those before it.
func apply(f *facts, spoil func(*facts)) (ok bool) {
	defer func() { ok = recover() == nil }()
	spoil(f)
	return true
}

// A node that runs goes on while nobody can tell the agent what is newest: only a start needs that.
func TestNotToldKeepsRunning(t *testing.T) {
	f := ready(t)
	f.learned, f.up = false, true
	if v := decide(f); v.wish != run || !v.sign {
		t.Errorf("%+v", v)
	}
}

func TestGenesisValidatorNeedsNoAssignment(t *testing.T) {
	f := clone(ready(t))
	f.state.Effective.Signer = roster.Assignment{}
	for i, m := range f.state.Effective.Members {
		if m.Name == "validator" {
			f.state.Effective.Members[i].Role = roster.RoleGenesisValidator
		}
	}
	if v := decide(f); !v.sign {
		t.Errorf("%+v", v)
	}
	f.signing.State = signing.Disarmed
	if v := decide(f); v.sign {
		t.Errorf("disarmed: %+v", v)
	}
}
