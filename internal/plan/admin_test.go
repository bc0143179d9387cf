package plan

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/provision"
)

// Whoever was let in for a time is let in until that is over, and then the plan takes it back.
func TestOpenings(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		until time.Duration
		rule  []provision.Change
		note  string
	}{
		"open":               {time.Minute, nil, "SSH is let in from 198.51.100.7/32, too, until "},
		"over":               {-time.Minute, []provision.Change{{Kind: provision.Firewall, Host: "s1", Action: provision.Update}}, "nobody shut it again: apply takes it back"},
		"over and never was": {-time.Minute, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := inCloud(t, true)
			w.Own.AdminCIDRs = []string{"192.0.2.0/24"}
			all := []deployment.Opening{{CIDR: "198.51.100.7/32", Until: now.Add(test.until), By: "me"}}
			if w.Own.Openings = Opened(all, now); len(w.Own.Openings) == 0 {
				w.Shut = all
			}
			if in := slices.Contains(Machines(w.Own, nil).AdminCIDRs, "198.51.100.7/32"); in != (test.until > 0) {
				t.Errorf("let in: %v", in)
			}
			o.Machines = test.rule
			p, err := Make(w, o)
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.Join(p.Notes, "\n")
			if !strings.Contains(notes, test.note) || test.note == "" && strings.Contains(notes, "198.51.100.7") {
				t.Errorf("noted:\n%s", notes)
			}
		})
	}
}

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

// Whoever is let in for a time is named, with the end of it and how to shut it; what nobody shut is a warning.
func TestSSHOpenings(t *testing.T) {
	until := time.Date(2026, 5, 4, 13, 30, 0, 0, time.UTC)
	o := deployment.Opening{CIDR: "198.51.100.7/32", Until: until, By: "me"}
	for severity, all := range map[health.Severity][]health.Finding{
		health.Info:    SSHOpenings([]deployment.Opening{o}, nil),
		health.Warning: SSHOpenings(nil, []deployment.Opening{o}),
	} {
		if len(all) != 1 || all[0].Severity != severity || !strings.Contains(all[0].Next, "open-ssh --shut") {
			t.Fatalf("%s: %+v", severity, all)
		}
		for _, words := range []string{"198.51.100.7/32", "13:30 UTC on 4 May", "me"} {
			if !strings.Contains(all[0].Message, words) {
				t.Errorf("%s: no %q in %q", severity, words, all[0].Message)
			}
		}
	}
}
