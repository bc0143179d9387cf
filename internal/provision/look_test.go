package provision

import (
	"fmt"
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
	r.env["VULTR_API_KEY"] = "revoked"
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

// What is ejected takes over for people what there is: with both tools, nothing is made and nothing is lost.
func TestEject(t *testing.T) {
	for _, c := range []struct{ tool, cloud string }{{"tofu", "hetzner"}, {"tofu", "vultr"}, {"terraform", "hetzner"}} {
		t.Run(c.tool+" "+c.cloud, func(t *testing.T) {
			r := newRig(t, c.tool, "")
			s := fleet(c.cloud, 2)
			r.apply(s)
			delete(s.Hosts, "s2")
			r.apply(s) // it is gone, and the journal knows it
			s.Hosts["s3"] = s.Hosts["s1"]
			r.again()
			r.uses(s)
			known, err := r.readState(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			taken, err := r.Taken(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "mine")
			if err := Eject(dir, taken); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"init", "-input=false"}, {"plan", "-input=false", "-out=mine.bin"}} {
				cmd := exec.Command(r.Tool.Path, args...)
				cmd.Dir, cmd.Env = dir, r.environ()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			show := exec.Command(r.Tool.Path, "show", "-json", "mine.bin")
			show.Dir, show.Env = dir, r.environ()
			out, err := show.Output()
			if err != nil {
				t.Fatal(err)
			}
			changes, err := read(strings.NewReader(string(out)))
			if err != nil {
				t.Fatal(err)
			}
			for _, ch := range changes {
				// An update is of what no cloud tells: options of the provider itself.
				if ch.Action != Import && ch.Action != Update || known[ch.Address] == "" {
					t.Errorf("the plan would %s %s", ch.Action, ch.Address)
				}
			}
			if len(changes) != len(known) || len(known) == 0 {
				t.Errorf("%d parts are taken over of %d", len(changes), len(known))
			}
			if err := Eject(dir, s); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("again, into the same folder: %v", err)
			}
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if want := fmt.Sprintf("%d to import and 0 to add", len(known)); err != nil || !strings.Contains(string(readme), want) {
				t.Errorf("no %q in the README (%v):\n%s", want, err, readme)
			}
		})
	}
}

// Where nothing is bought yet, the README says that a plan makes everything.
func TestEjectNothingBought(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	w := &Workspace{Dir: filepath.Join(t.TempDir(), "w")}
	s, err := w.Taken(t.Context(), fleet("hetzner", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := Eject(dir, s); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !strings.Contains(string(b), "a plan makes everything") || strings.Contains(string(b), "import") {
		t.Errorf("%v\n%s", err, b)
	}
}

// Vultr's systems are numbers: what one is, and that there is none, is said before it is bought, and that a label is taken.
func TestPreflightOfNumbers(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("vultr", 1)
	r.apply(s)
	checks, err := r.Preflight(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for name, fits := range map[string]func(Check) bool{
		"a system":      func(c Check) bool { return c.What == "image" && c.OK && strings.HasPrefix(c.Name, "2136, Debian 12") },
		"a taken label": func(c Check) bool { return c.What == "name" && !c.OK && c.Host == "v1" },
	} {
		if !slices.ContainsFunc(checks, fits) {
			t.Errorf("%s: not in %+v", name, checks)
		}
	}
	s1 := s.Hosts["s1"]
	s1.Image = "1"
	s.Hosts = map[string]tofu.Host{"s9": s1}
	if checks, err = r.Preflight(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK && !c.Unchecked && strings.Contains(c.Why, "vultr_os") }) {
		t.Errorf("a system that is not there: %+v", checks)
	}
}

// Limits that would let only a part be made are known before anything is bought.
func TestPreflightLimits(t *testing.T) {
	for name, c := range map[string]struct {
		cloud    string
		sentries int
		admins   int
		limits   string
		fits     func(Check) bool
	}{
		"reserved addresses": {"digitalocean", 2, 1, `{"digitalocean_reserved_ip": 1}`, func(c Check) bool {
			return c.What == "quota" && c.Name == "0 of 1 reserved addresses"
		}},
		"droplets":  {"digitalocean", 2, 1, `{"digitalocean_droplet": 2}`, func(c Check) bool { return c.What == "quota" && c.Name == "0 of 2 droplets" }},
		"firewalls": {"hetzner", 50, 1, `{}`, func(c Check) bool { return c.What == "quota" && c.Name == "0 of 50 firewalls" }},
		"rules": {"vultr", 1, 30, `{}`, func(c Check) bool {
			return c.What == "firewall" && c.Host == "v1" && strings.HasPrefix(c.Name, "60 rules")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet(c.cloud, c.sentries)
			s.AdminCIDRs = nil
			for i := range c.admins {
				s.AdminCIDRs = append(s.AdminCIDRs, fmt.Sprintf("198.51.100.%d/32", i))
			}
			r.uses(s)
			bad := func() (out []Check) {
				checks, err := r.Preflight(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range checks {
					if !c.OK && !c.Unchecked {
						out = append(out, c)
					}
				}
				return out
			}
			if err := os.WriteFile(filepath.Join(r.cloud, "faults.json"), []byte(`{"limits": `+c.limits+`}`), 0o600); err != nil {
				t.Fatal(err)
			}
			if found := bad(); len(found) != 1 || !c.fits(found[0]) {
				t.Errorf("found %+v", found)
			}
			s.AdminCIDRs = s.AdminCIDRs[:1]
			s.Hosts = fleet(c.cloud, 0).Hosts
			if found := bad(); len(found) != 0 {
				t.Errorf("with one host: %+v", found)
			}
		})
	}
}
