package provision

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

// values says whether something in the clouds has such a value now.
func (r *rig) values(text string) bool {
	r.t.Helper()
	var w struct {
		Objects map[string]map[string]struct{ Values json.RawMessage }
	}
	b, err := os.ReadFile(filepath.Join(r.cloud, "cloud.json"))
	if err == nil {
		err = json.Unmarshal(b, &w)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, all := range w.Objects {
		for _, o := range all {
			if strings.Contains(string(o.Values), text) {
				return true
			}
		}
	}
	return false
}

// Firewalls let another network in and shut it out again, in a cloud where a rule is a resource of its own too, and what
// else would change stays as it is: a size that somebody changed in the console, and one that is wanted and not applied.
func TestFirewallsAlone(t *testing.T) {
	for cloud, sizes := range map[string][2]string{"hetzner": {"cx33", "cx43"}, "vultr": {"vc2-4c-8gb", "vc2-6c-16gb"}} {
		t.Run(cloud, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 1)
			r.apply(s)
			r.again()
			r.uses(s)
			file := filepath.Join(r.cloud, "cloud.json")
			b, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, []byte(strings.ReplaceAll(string(b), sizes[0], sizes[1])), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.Hosts["s2"] = tofu.Host{Cloud: cloud, Role: tofu.RoleSentry, Region: places[cloud].region, Size: sizes[0]}
			const guest = "203.0.113.7/32"
			usual := slices.Clone(s.AdminCIDRs)
			for _, in := range []bool{true, false} {
				s.AdminCIDRs = usual
				if in {
					s.AdminCIDRs = append(slices.Clone(usual), guest)
				}
				p, err := r.Firewalls(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if p.Empty() || slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Kind != Firewall }) {
					t.Errorf("guest in %v: %v", in, lines(p))
				}
				if err := r.Apply(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if r.values("203.0.113.7") != in {
					t.Errorf("the guest is in: %v, want %v", !in, in)
				}
			}
			if r.values(sizes[0]) {
				t.Error("a size was put back")
			}
			r.servers(2)
		})
	}
}
