package provision

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/tofu"
)

// From nothing to machines, which are there as planned; a second plan is empty; a sentry is added and taken away; all goes.
func TestLife(t *testing.T) {
	for _, c := range []struct{ tool, cloud string }{
		{"tofu", "hetzner"},
		{"tofu", "digitalocean"},
		{"tofu", "vultr"},
		{"tofu", "openstack"},
		{"tofu", "exoscale"},
		{"terraform", "hetzner"},
	} {
		t.Run(c.tool+"/"+c.cloud, func(t *testing.T) {
			if c.cloud != "hetzner" {
				soakOnly(t)
			}
			r := newRig(t, c.tool, "")
			s := fleet(c.cloud, 1)
			p := r.plan(s)
			for _, change := range p.Changes {
				if change.Action != Create || change.Cloud != c.cloud || change.Kind == Other {
					t.Errorf("to make machines, %+v", change)
				}
				if shared := change.Kind == Spread || change.Kind == Network; shared != (change.Host == "") {
					t.Errorf("%s is of host %q", change.Address, change.Host)
				}
			}
			if err := r.Apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			r.allKnown()
			r.servers(2)
			machines, err := r.Machines(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"v1", "s1"} {
				m := machines[c.cloud+"/"+host]
				if m.PublicIPv4 == "" || m.ProviderID == "" || m.SSHUser != tofu.SSHUser || (m.VolumeDevice != "") != (host == "v1") {
					t.Errorf("%s became %+v", host, m)
				}
			}
			r.again()
			r.quiet(s)
			if t.Failed() {
				return
			}
			r.noSecrets(c.tool == "tofu")
			if c.tool == "terraform" && !r.heard("cannot encrypt its state") {
				t.Error("nobody said that Terraform's state is plain")
			}
			none := s
			none.Hosts = nil
			r.again()
			r.Clouds = nil // nobody wants anything of that cloud
			p = r.plan(none)
			for _, change := range p.Changes {
				if change.Action != Destroy {
					t.Errorf("to destroy all, %+v", change)
				}
			}
			if err := r.Apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if left := r.objects(); len(left) > 0 {
				t.Errorf("the cloud still has %v", left)
			}
			r.quiet(none)
		})
	}
}

// noSecrets: credentials and the passphrase are in no file of the workspace, and with OpenTofu no file of it that is not
// the configuration or a journal has anything to read.
func (r *rig) noSecrets(encrypted bool) {
	r.t.Helper()
	err := filepath.WalkDir(r.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/.terraform/") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range secrets {
			if strings.Contains(string(b), secret) {
				r.t.Errorf("%s has a secret in it", path)
			}
		}
		plain := strings.Contains(string(b), "pressenter")
		switch filepath.Base(path) {
		case stateFile, beforeFile, "terraform.tfstate.backup", planFile:
			if encrypted && plain {
				r.t.Errorf("%s is not encrypted", path)
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if info, err := os.Stat(r.Dir); err != nil || info.Mode().Perm() != 0o700 {
		r.t.Errorf("the workspace has mode %v (%v)", info.Mode(), err)
	}
}

// Every kind of change, as values.
func TestPlanSaysWhatAndWhy(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 2)
	r.apply(s)
	s2 := s.Hosts["s2"]
	v1 := s.Hosts["v1"]
	v1.Size = "cx43"
	s2.Region = "nbg1"
	next := s
	next.Hosts = map[string]tofu.Host{"v1": v1, "s2": s2}
	p := r.plan(next)
	var got []string
	for _, c := range p.Changes {
		if c.Kind == Server || c.Kind == Volume || c.Kind == Spread {
			got = append(got, strings.Join([]string{string(c.Action), string(c.Kind), c.Host, strings.Join(c.Because, ",")}, " "))
		}
	}
	slices.Sort(got)
	want := []string{"create placement  ", "destroy placement  ", "destroy server s1 ", "replace server s2 location", "update server v1 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%v", diff, lines(p))
	}
	if err := r.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r.allKnown()
	r.quiet(next)
	// An old plan is not applied in place of a newer one.
	old := r.plan(s)
	_ = r.plan(next)
	if err := r.Apply(t.Context(), old); err == nil || !strings.Contains(err.Error(), "another plan") {
		t.Errorf("an older plan was applied: %v", err)
	}
}

// What is there already is imported where the spec says so.
func TestImport(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	r.apply(s)
	id := r.objects()["hcloud_firewall"]
	known, err := r.readState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := `module.hetzner.hcloud_firewall.host["s1"]`
	if !slices.Contains(id, known[address]) {
		t.Fatalf("the state has %v, the cloud %v", known, id)
	}
	if _, err := r.ask(t.Context(), "state", "rm", address); err != nil {
		t.Fatal(err)
	}
	s.Imports = []tofu.Import{{To: address, ID: known[address]}}
	p := r.plan(s)
	if got := lines(p); !slices.Equal(got, []string{"import " + address}) {
		t.Errorf("to import: %v", got)
	}
	if err := r.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r.allKnown()
	s.Imports = nil
	r.quiet(s)
}

// A host that its cloud protects is destroyed in two steps, and never in one that ends half-way.
func TestProtectedIsUnprotectedFirst(t *testing.T) {
	for _, cloud := range []string{"hetzner", "exoscale"} {
		t.Run(cloud, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 1)
			v := s.Hosts["v1"]
			v.Protected = true
			s.Hosts["v1"] = v
			r.apply(s)
			before := r.objects()
			less := s
			less.Hosts = map[string]tofu.Host{"s1": s.Hosts["s1"]}
			p := r.plan(less)
			if got := p.Protected(); !slices.Equal(got, []string{"v1"}) {
				t.Errorf("protected: %v", got)
			}
			if err := r.Apply(t.Context(), p); err == nil || !strings.Contains(err.Error(), "v1") {
				t.Errorf("a plan that cannot end was begun: %v", err)
			}
			u, err := r.Unprotect(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range u.Changes {
				if c.Action != Update || c.Host != "v1" {
					t.Errorf("to take the protection off, %+v", c)
				}
			}
			if err := r.Apply(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, r.objects(), sorted); diff != "" {
				t.Errorf("taking the protection off changed more: %s", diff)
			}
			r.apply(less)
			r.servers(1)
			r.quiet(less)
		})
	}
}

// A firewall that somebody deleted in the console does not keep the protection from being taken off.
func TestUnprotectWithoutFirewall(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	v := s.Hosts["v1"]
	v.Protected = true
	s.Hosts["v1"] = v
	r.apply(s)
	r.deletes("hcloud_firewall", "trial-012345-v1")
	none := s
	none.Hosts, none.Keep = nil, []string{"hetzner"}
	u, err := r.Unprotect(t.Context(), r.plan(none))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	r.apply(none)
	if left := r.objects(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// deletes takes something out of the clouds as a person at their console does.
func (r *rig) deletes(typ, name string) {
	r.t.Helper()
	path := filepath.Join(r.cloud, "cloud.json")
	b, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	var w map[string]json.RawMessage
	var objects map[string]map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(b, &w), json.Unmarshal(w["objects"], &objects)); err != nil {
		r.t.Fatal(err)
	}
	n := len(objects[typ])
	maps.DeleteFunc(objects[typ], func(_ string, o json.RawMessage) bool { return strings.Contains(string(o), `"`+name+`"`) })
	if len(objects[typ]) != n-1 {
		r.t.Fatalf("%d of %d %s are left", len(objects[typ]), n, typ)
	}
	all, err := json.Marshal(objects)
	if err != nil {
		r.t.Fatal(err)
	}
	w["objects"] = all
	if b, err = json.Marshal(w); err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

var sorted = cmp.Transformer("sorted", func(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
})

// A second plan of six hosts takes what the tool takes, and init is not among it.
func TestSecondPlanDoesNotInitialize(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 5)
	r.apply(s)
	stamp := filepath.Join(r.Dir, stampFile)
	before, err := os.Stat(stamp)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.quiet(s)
	t.Logf("figure plan_noop_6_hosts_s %.2f s rival=goal:2 ratio=%.2f", time.Since(began).Seconds(), time.Since(began).Seconds()/2)
	after, err := os.Stat(stamp)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it was initialized again (%v)", err)
	}
	// A folder whose providers were taken away is initialized by itself.
	if err := os.RemoveAll(filepath.Join(r.Dir, ".terraform", "providers")); err != nil {
		t.Fatal(err)
	}
	r.quiet(s)
	// Another cloud wants another provider.
	two := fleet("vultr", 0)
	two.Hosts["v2"] = two.Hosts["v1"]
	delete(two.Hosts, "v1")
	for name, h := range s.Hosts {
		two.Hosts[name] = h
	}
	for _, c := range r.plan(two).Changes {
		if c.Cloud != "vultr" || c.Action != Create {
			t.Errorf("to add a host in another cloud, %+v", c)
		}
	}
}

// The operator has another keyring, or had none.
func TestEncryptedState(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 0)
	r.Passphrase = nil
	r.apply(s)
	b, err := os.ReadFile(r.path(stateFile))
	if err != nil || !strings.Contains(string(b), "hcloud_server") {
		t.Fatalf("without a passphrase the state is not plain (%v)", err)
	}
	r.Passphrase = []byte(passphrase)
	s.AdminCIDRs = []string{"198.51.100.8/32"}
	r.apply(s) // a plain state is read, and written encrypted
	r.quiet(s)
	if b, err = os.ReadFile(r.path(stateFile)); err != nil || strings.Contains(string(b), "hcloud_server") {
		t.Errorf("the state is plain still (%v)", err)
	}
	r.Passphrase = []byte("another passphrase of sorts")
	_, err = r.Plan(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "decrypt") || hint(err) == "" || !strings.Contains(hint(err), "keyring") {
		t.Errorf("with another passphrase: %v (%s)", err, hint(err))
	}
	terraform := realTool(t, "terraform")
	r.Tool = terraform
	_, err = r.Plan(t.Context(), s)
	if err == nil || !strings.Contains(hint(err), "use tofu") {
		t.Errorf("with Terraform: %v (%s)", err, hint(err))
	}
}

func hint(err error) string {
	for ; err != nil; err = unwrap(err) {
		if h, ok := err.(interface{ Hint() string }); ok {
			return h.Hint()
		}
	}
	return ""
}

func unwrap(err error) error {
	u, _ := err.(interface{ Unwrap() error })
	if u == nil {
		return nil
	}
	return u.Unwrap()
}

// Somebody else works on the same state: who, and since when, is said, and nothing is forced.
func TestLockedState(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	s := fleet("hetzner", 0)
	r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow"})
	p := r.plan(s)
	done := make(chan error, 1)
	go func() { done <- r.Apply(t.Context(), p) }()
	<-h.held
	other := &Workspace{Dir: r.Dir, Tool: r.Tool, Passphrase: r.Passphrase, Clouds: r.Clouds, recovered: true, variable: r.variable, lockTimeout: "0s"}
	_, err := other.Plan(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "locked by ") || !strings.Contains(err.Error(), "since 20") || !strings.Contains(hint(err), "wait") {
		t.Errorf("a locked state: %v (%s)", err, hint(err))
	}
	h.letGo()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.quiet(s)
}

// Ctrl-C: what is under way is finished and noted; the next apply goes on from there.
func TestInterrupt(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	s := fleet("hetzner", 1)
	r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow", Times: -1})
	p := r.plan(s)
	ctx, cancel := context.WithCancel(t.Context())
	r.watch = func(e Event) {
		if strings.HasPrefix(e.Message, "Interrupt received") {
			h.letGo()
		}
	}
	done := make(chan error, 1)
	go func() { done <- r.Apply(ctx, p) }()
	<-h.held
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
	// What was under way when the interrupt came may be made and not in the state: the next run takes it in.
	r.faults()
	r.again()
	r.apply(s)
	r.servers(2)
	r.allKnown()
	r.quiet(s)
}
