package provision

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

// What can be asked is asked of each cloud; what cannot is named; one cloud's refusal hides no other's answer.
func TestPreflight(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	s.Hosts["s2"] = tofu.Host{Cloud: "hetzner", Role: tofu.RoleSentry, Region: "nowhere", Size: "cx999"}
	s.Hosts["s3"] = tofu.Host{Cloud: "vultr", Role: tofu.RoleSentry, Region: "waw", Size: "vc2-4c-8gb"}
	t.Setenv("VULTR_API_KEY", "revoked")
	r.uses(s)
	checks, err := r.Preflight(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	is := func(fits func(Check) bool) bool { return slices.ContainsFunc(checks, fits) }
	for name, fits := range map[string]func(Check) bool{
		"a good size":      func(c Check) bool { return c.Host == "v1" && c.What == "size" && c.OK },
		"a bad size":       func(c Check) bool { return c.Host == "s2" && c.What == "size" && c.Name == "cx999" && !c.OK },
		"a bad region":     func(c Check) bool { return c.Host == "s2" && c.What == "region" && !c.OK && !c.Unchecked },
		"a revoked key":    func(c Check) bool { return c.Cloud == "vultr" && c.What == "account" && !c.OK && c.Why != "" },
		"what is not told": func(c Check) bool { return c.Cloud == "hetzner" && c.Unchecked && strings.Contains(c.What, "limits") },
	} {
		if !is(fits) {
			t.Errorf("%s: not in %+v", name, checks)
		}
	}
	if got := r.objects(); len(got) > 0 {
		t.Errorf("looking made %v", got)
	}
}

// What is ejected plans for people as it does for us: with both tools, to the same machines.
func TestEject(t *testing.T) {
	for _, tool := range []string{"tofu", "terraform"} {
		t.Run(tool, func(t *testing.T) {
			r := newRig(t, tool, "")
			r.Passphrase = nil // so that the state can be handed over
			s := fleet("hetzner", 1)
			r.apply(s)
			dir := filepath.Join(t.TempDir(), "mine")
			if err := Eject(dir, s); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(r.path(stateFile))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, stateFile), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"init", "-input=false"}, {"plan", "-input=false", "-detailed-exitcode"}} {
				c := exec.Command(r.Tool.Path, args...)
				c.Dir = dir
				if out, err := c.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			if err := Eject(dir, s); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("again, into the same folder: %v", err)
			}
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil || strings.Count(string(readme), "\n") != 5 {
				t.Errorf("the README has %d lines (%v)", strings.Count(string(readme), "\n"), err)
			}
		})
	}
}
