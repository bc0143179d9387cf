package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/tofu"
)

// What carries the label is taken for the host's own only where nothing speaks against it.
func TestTake(t *testing.T) {
	const at = `module.hetzner.hcloud_server.host["s1"]`
	server := func(id, name string) tofu.Found {
		return tofu.Found{Cloud: "hetzner", Type: "hcloud_server", ID: id, Name: name, Host: "s1"}
	}
	const name = "trial-012345-s1"
	for title, c := range map[string]struct {
		found   []tofu.Found
		state   string // what it has at the address
		journal string // what was made there
		gone    string // what was destroyed there
		want    string // what is taken in; empty: nothing
		forgets bool
		words   string
		held    bool
	}{
		"an orphan":                         {found: []tofu.Found{server("7", name)}, want: "7"},
		"known":                             {found: []tofu.Found{server("7", name)}, state: "7"},
		"known, and renamed by a person":    {found: []tofu.Found{server("7", "mine")}, state: "7"},
		"in the journal":                    {found: []tofu.Found{server("7", name)}, journal: "7", want: "7"},
		"made anew":                         {found: []tofu.Found{server("8", name)}, state: "7", gone: "7", want: "8", forgets: true},
		"made anew, whatever it was called": {found: []tofu.Found{server("8", name)}, state: "7", gone: " ", want: "8", forgets: true},
		"not the one of the state":          {found: []tofu.Found{server("8", name)}, state: "7", words: "the state has 7, and its cloud lists 8", held: true},
		"not the one of the journal":        {found: []tofu.Found{server("8", name)}, journal: "7", words: "the journal has 7", held: true},
		"a second one":                      {found: []tofu.Found{server("7", name), server("8", name)}, state: "8", words: "7 is a second one, beside 8"},
		"two, and nobody knows which":       {found: []tofu.Found{server("8", name), server("7", name)}, words: "lists 7 and 8 by its label", held: true},
		"the label of one, another's name":  {found: []tofu.Found{server("7", "trial-012345-s2")}, words: `called "trial-012345-s2"`, held: true},
		"the label of one, a stranger":      {found: []tofu.Found{server("7", "shop")}, words: `called "shop"`, held: true},
		"of another deployment by its name": {found: []tofu.Found{server("7", "other-012345-s1")}, words: "called", held: true},
		"of no host":                        {found: []tofu.Found{{Cloud: "hetzner", Type: "hcloud_server", ID: "9", Name: "x"}}, words: "no host has such a thing"},
	} {
		t.Run(title, func(t *testing.T) {
			l := newLedger(fleet("hetzner", 1))
			known := state{}
			if c.state != "" {
				known[at] = c.state
			}
			if c.journal != "" {
				l.made[at] = c.journal
			}
			if c.gone != "" {
				l.gone = map[string]bool{at + " " + strings.TrimSpace(c.gone): true}
			}
			cmp1 := compare(l, known)
			cmp1.take(c.found, map[string]bool{"hcloud_server": true})
			want := map[string]string{}
			if c.want != "" {
				want[at] = c.want
			}
			if diff := cmp.Diff(want, cmp1.missing); diff != "" {
				t.Errorf("taken in (-want +got):\n%s", diff)
			}
			if forgets := slices.Contains(cmp1.stale, at); forgets != c.forgets {
				t.Errorf("forgets what the state has: %v", forgets)
			}
			words := strings.Join(cmp1.names(), "\n")
			if c.words == "" && words != "" || !strings.Contains(words, c.words) {
				t.Errorf("it says %q", words)
			}
			if _, held := cmp1.held[at]; held != c.held {
				t.Errorf("held: %v", cmp1.held)
			}
		})
	}
	t.Run("two that nobody wants", func(t *testing.T) {
		l := newLedger(tofu.Spec{Deployment: "trial", ID: "0123456789ab"})
		c := compare(l, state{})
		c.take([]tofu.Found{server("8", name), server("7", name)}, nil)
		if c.missing[at] != "7" || len(c.held) > 0 || !strings.Contains(strings.Join(c.odd, ""), "8 is a second one") {
			t.Errorf("missing %v, held %v, %q", c.missing, c.held, c.odd)
		}
	})
}

// forget deletes all that is known here of what was made.
func (r *rig) forget() {
	r.t.Helper()
	if err := os.RemoveAll(r.Dir); err != nil {
		r.t.Fatal(err)
	}
	r.again()
}

// The whole folder is gone. What a cloud lists is found; what it does not list nobody buys twice.
func TestFolderLost(t *testing.T) {
	for cloud, kept := range map[string]string{"hetzner": "", "vultr": "vultr_reserved_ip", "openstack": "openstack_compute_instance_v2"} {
		t.Run(cloud, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 1)
			r.apply(s)
			before := r.objects()
			r.forget()
			if !r.Blank() {
				t.Error("nobody sees that the folder is gone")
			}
			r.Former = s.Hosts
			rec, err := r.Recover(t.Context(), s, true)
			if err != nil {
				t.Fatal(err)
			}
			if !rec.Lost || len(rec.Missing) > 0 {
				t.Errorf("lost: %v, missing: %v", rec.Lost, rec.Missing)
			}
			p, err := r.Plan(t.Context(), s)
			if kept == "" {
				if err != nil || len(rec.Unknown) > 0 {
					t.Fatalf("%v, unknown: %q", err, rec.Unknown)
				}
				for _, c := range p.Changes {
					if c.Action != Update {
						t.Errorf("it would %s %s", c.Action, c.Address)
					}
				}
				r.allKnown()
				return
			}
			var doubt *Doubt
			if !errors.As(err, &doubt) || !strings.Contains(doubt.Error(), kept) || !strings.Contains(doubt.Error(), "trial-012345-s1") {
				t.Fatalf("what cannot be asked for would be bought again: %v; unknown: %q", err, rec.Unknown)
			}
			if !maps.EqualFunc(before, r.objects(), func(a, b []string) bool { return len(a) == len(b) }) {
				t.Errorf("before %v, after %v", before, r.objects())
			}
			r.again() // it is in doubt still
			r.Former = s.Hosts
			if _, err := r.Recover(t.Context(), s, false); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Plan(t.Context(), s); !errors.As(err, &doubt) {
				t.Errorf("the second time: %v", err)
			}
			r.again()
			r.Former, r.Looked = s.Hosts, true
			if _, err := r.Recover(t.Context(), s, false); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Plan(t.Context(), s); err != nil || r.has(lostFile) {
				t.Errorf("after somebody looked: %v", err)
			}
		})
	}
}

// In another account nothing is found, and that is said.
func TestFolderLostAndAnotherAccount(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	r.Former = s.Hosts
	r.uses(s)
	rec, err := r.Recover(t.Context(), s, true)
	if err != nil || !slices.Equal(rec.Missing, []string{"s1", "v1"}) {
		t.Errorf("missing: %v, %v", rec.Missing, err)
	}
}

// The search for a lost state is cut off: whoever comes next begins it again, and takes nothing for new that was found.
func TestSearchIsCutOff(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	r.apply(s)
	for _, name := range []string{stateFile, stateFile + ".backup"} {
		if err := os.Remove(r.path(name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r.again()
	r.faults(fault{Op: "read", Type: "hcloud_server", Fault: "crash", Times: -1})
	if _, err := r.Recover(t.Context(), s, false); err == nil || !r.has(lostFile) {
		t.Fatalf("nobody knows that the state is being searched for: %v", err)
	}
	r.again()
	r.faults()
	if _, err := r.Recover(t.Context(), s, false); err != nil || r.has(lostFile) {
		t.Fatal(err)
	}
	r.allKnown()
	// As if it had been cut off with half of it found: there is a state, which nobody takes for whole.
	if _, err := r.ask(t.Context(), "state", "rm", `module.hetzner.hcloud_server.host["s1"]`); err != nil {
		t.Fatal(err)
	}
	if err := r.markLost(); err != nil {
		t.Fatal(err)
	}
	r.finished(s, 2)
	if r.has(lostFile) {
		t.Error("it is searched for still")
	}
}

// nothing is what is wanted in the end of the machines of s.
func nothing(s tofu.Spec) tofu.Spec {
	return tofu.Spec{Deployment: s.Deployment, ID: s.ID, SSHKeys: s.SSHKeys, Keep: []string{s.Hosts["v1"].Cloud}}
}

// A state that is not the last one is not believed: everything is found, also what no cloud lists, and once that is done the
// state is believed again.
func TestAnotherState(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, old []byte){
		"older": func(r *rig, old []byte) { r.putState(old) },
		"empty": func(r *rig, _ []byte) { r.putState(nil) },
		"another": func(r *rig, old []byte) {
			r.putState(bytes.Replace(old, []byte(`"lineage":"`), []byte(`"lineage":"f`), 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet("openstack", 0)
			r.apply(s)
			old, err := os.ReadFile(r.path(stateFile))
			if err != nil {
				t.Fatal(err)
			}
			s = fleet("openstack", 1)
			r.apply(s)
			spoil(r, old)
			r.again()
			if _, err := r.Plan(t.Context(), nothing(s)); !errors.Is(err, ErrUnrecovered) {
				t.Errorf("it is believed: %v", err)
			}
			rec, err := r.Recover(t.Context(), s, false)
			if err != nil || !rec.Lost || len(rec.Unknown) > 0 {
				t.Errorf("lost: %v, unknown: %q, %v", rec.Lost, rec.Unknown, err)
			}
			r.allKnown()
			r.again()
			if rec, err := r.Recover(t.Context(), s, false); err != nil || rec.Lost {
				t.Errorf("the second time: %v, %v", rec.Lost, err)
			}
			r.apply(nothing(s))
			if left := r.objects(); len(left) > 0 {
				t.Errorf("the cloud still has %v", left)
			}
		})
	}
}

func (r *rig) putState(b []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.path(stateFile), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// A search for a lost state changes nothing in the cloud: firewalls that were wider once stay as they are, and what somebody
// made larger by hand is for the plan to show.
func TestSearchChangesNothing(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	now := s.AdminCIDRs
	s.AdminCIDRs = append(slices.Clone(now), "203.0.113.0/24")
	r.apply(s)
	s.AdminCIDRs = now
	r.apply(s)
	cloud := filepath.Join(r.cloud, "cloud.json")
	objects := func() map[string]any {
		b, err := os.ReadFile(cloud)
		if err != nil {
			t.Fatal(err)
		}
		var w struct{ Objects map[string]any }
		if err := json.Unmarshal(b, &w); err != nil {
			t.Fatal(err)
		}
		return w.Objects
	}
	b, err := os.ReadFile(cloud)
	if err == nil {
		err = os.WriteFile(cloud, bytes.ReplaceAll(b, []byte(`"cx33"`), []byte(`"cx43"`)), 0o600)
	}
	if err == nil {
		err = os.Remove(r.path(stateFile))
	}
	if err != nil {
		t.Fatal(err)
	}
	before := objects()
	r.again()
	if rec, err := r.Recover(t.Context(), s, false); err != nil || len(rec.Unknown) > 0 {
		t.Fatal(rec.Unknown, err)
	}
	r.allKnown()
	if diff := cmp.Diff(before, objects()); diff != "" {
		t.Errorf("it changed (-before +after):\n%s", diff)
	}
	p, err := r.Plan(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(lines(p), `update module.hetzner.hcloud_server.host["s1"]`) {
		t.Errorf("the plan does not show it: %v", lines(p))
	}
}

// Runs of an earlier version of this program did not note which state knew everything. Then all journals say whether one is
// older, once.
func TestOlderStateThatNobodyNoted(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("openstack", 0)
	r.apply(s)
	old, err := os.ReadFile(r.path(stateFile))
	if err != nil {
		t.Fatal(err)
	}
	s = fleet("openstack", 1)
	r.apply(s)
	all, err := r.runs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		one.State = nil
		if err := one.save(); err != nil {
			t.Fatal(err)
		}
	}
	r.putState(old)
	r.again()
	if _, err := r.Plan(t.Context(), s); !errors.Is(err, ErrUnrecovered) {
		t.Errorf("it is believed: %v", err)
	}
	if rec, err := r.Recover(t.Context(), s, false); err != nil || len(rec.Taken) == 0 || len(rec.Unknown) > 0 {
		t.Errorf("taken: %v, unknown: %q, %v", rec.Taken, rec.Unknown, err)
	}
	r.allKnown()
	for _, c := range r.plan(s).Changes {
		if c.Action != Update {
			t.Errorf("once found again, it would %s %s: %v", c.Action, c.Address, c.Because)
		}
	}
	r.apply(s)
	r.servers(2)
	r.quiet(s)
	r.again()
	if rec, err := r.Recover(t.Context(), s, false); err != nil || !rec.Empty() {
		t.Errorf("the second time: %v, %v", rec, err)
	}
}

// The state from before a run is kept as long as it may be needed, and no longer: Terraform's is plain text.
func TestFormerStateIsNotKept(t *testing.T) {
	for _, tool := range []string{"tofu", "terraform"} {
		r := newRig(t, tool, "")
		s := fleet("hetzner", 0)
		r.apply(s)
		s = fleet("hetzner", 1)
		r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "server_error"})
		if err := r.Apply(t.Context(), r.plan(s)); err == nil {
			t.Fatal("the cloud made it")
		}
		former := func() []string {
			left, err := filepath.Glob(r.path(runsFolder, "*", beforeFile))
			if err != nil {
				t.Fatal(err)
			}
			return left
		}
		if left := former(); len(left) != 1 {
			t.Errorf("%s: of a run that failed there is %q", tool, left)
		}
		r.apply(s)
		if left := former(); len(left) > 0 {
			t.Errorf("%s: %q is left", tool, left)
		}
	}
}

// What a cloud protects is protected after its state was lost, too, also where the provider cannot read that back: destroying
// it without taking that off would be refused half way.
func TestProtectedAfterTheStateWasLost(t *testing.T) {
	for _, cloud := range []string{"hetzner", "exoscale"} {
		t.Run(cloud, func(t *testing.T) {
			if cloud == "hetzner" {
				soakOnly(t) // it reads that back
			}
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 0)
			v := s.Hosts["v1"]
			v.Protected = true
			s.Hosts["v1"] = v
			r.apply(s)
			if err := os.Remove(r.path(stateFile)); err != nil {
				t.Fatal(err)
			}
			r.again()
			p := r.plan(nothing(s))
			if got := p.Protected(); !slices.Equal(got, []string{"v1"}) {
				t.Errorf("protected: %v", got)
			}
			u, err := r.Unprotect(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Apply(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			r.apply(nothing(s))
			if left := r.objects(); len(left) > 0 {
				t.Errorf("the cloud still has %v", left)
			}
		})
	}
}
