package plan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/provision"
)

// Firewalls that would shut their operator out are not made; where nobody can tell, that is said.
func TestOperatorIsNotLockedOut(t *testing.T) {
	rule := []provision.Change{{Kind: provision.Firewall, Host: "s1", Action: provision.Update}}
	for name, c := range map[string]struct {
		cidrs         []string
		at            string
		changes       []provision.Change
		refused, note bool
	}{
		"from everywhere":         {nil, "198.51.100.7", rule, false, false},
		"from within":             {[]string{"192.0.2.0/24", "198.51.100.0/24"}, "198.51.100.7", rule, false, false},
		"from elsewhere":          {[]string{"192.0.2.0/24", "2001:db8::/32"}, "198.51.100.7", rule, true, false},
		"nobody knows":            {[]string{"192.0.2.0/24"}, "", rule, false, true},
		"a rule is taken away":    {[]string{"192.0.2.0/24"}, "198.51.100.7", []provision.Change{{Kind: provision.Firewall, Host: "s1/tcp-22/0.0.0.0/0", Action: provision.Destroy}}, true, false},
		"a machine is bought":     {[]string{"192.0.2.0/24"}, "198.51.100.7", []provision.Change{{Kind: provision.Server, Host: "s9", Action: provision.Create}}, true, false},
		"nothing of it changes":   {[]string{"192.0.2.0/24"}, "", nil, false, false},
		"a machine is given back": {[]string{"192.0.2.0/24"}, "198.51.100.7", []provision.Change{{Kind: provision.Server, Host: "s9", Action: provision.Destroy}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := inCloud(t, true)
			w.Own.AdminCIDRs, o.Machines = c.cidrs, c.changes
			if c.at != "" {
				o.OperatorAt = netip.MustParseAddr(c.at)
			}
			p, err := Make(w, o)
			var refusal *Refusal
			if c.refused != errors.As(err, &refusal) || err != nil && !strings.Contains(refusal.Next, "198.51.100.7/32") {
				t.Fatalf("have %v", err)
			}
			if note := strings.Contains(strings.Join(p.Notes, "\n"), "is not known here"); note != c.note {
				t.Errorf("notes: %q", p.Notes)
			}
		})
	}
	w, _ := inCloud(t, false)
	if got := Machines(w.Own, nil).AdminCIDRs; len(got) != 2 {
		t.Errorf("without a word SSH is let in from %v", got)
	}
	w.Own.AdminCIDRs = []string{"192.0.2.0/24"}
	if got := Machines(w.Own, nil).AdminCIDRs; len(got) != 1 || got[0] != "192.0.2.0/24" {
		t.Errorf("SSH is let in from %v", got)
	}
}
