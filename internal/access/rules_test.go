package access

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressenter/pressenter/internal/roster"
)

var update = flag.Bool("update", false, "write golden files")

// deployment has members of those names, whose first letter says their role.
func deployment(names ...string) *roster.Roster {
	r := &roster.Roster{Format: roster.FormatVersion, ID: roster.Hash{1}, Generation: 7, MeshDriver: roster.MeshWireGuard}
	for _, n := range names {
		m := roster.Member{Name: n, Identity: sha256.Sum256([]byte(n))}
		m.Mesh = roster.Mesh{Key: sha256.Sum256([]byte("key " + n)), TLS: sha256.Sum256([]byte("tls " + n))}
		switch n[0] {
		case 'v':
			m.Role = roster.RoleValidator
		case 's':
			m.Role = roster.RoleSentry
		case 'g':
			m.Role, m.Mesh = roster.RoleGenesisValidator, roster.Mesh{}
		}
		r.Members = append(r.Members, m)
	}
	return r
}

func member(t *testing.T, r *roster.Roster, name string) roster.Member {
	t.Helper()
	m, ok := r.Member(name)
	if !ok {
		t.Fatalf("no member %q", name)
	}
	return m
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".nft")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestRules(t *testing.T) {
	all := deployment("v1", "v2", "s1", "s2", "s3", "g1")
	unenrolled := deployment("s1", "s2")
	unenrolled.Members[1].Mesh = roster.Mesh{}
	for name, test := range map[string]struct {
		r    *roster.Roster
		self string
	}{
		"validator": {all, "v1"},
		"sentry":    {all, "s1"},
		"alone":     {unenrolled, "s1"},
	} {
		got, err := Rules(test.r, member(t, test.r, test.self), "mesh0", 0)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
}

func TestUnderlay(t *testing.T) {
	r := deployment("v1", "s1", "g1")
	for name, test := range map[string]struct {
		self   string
		listen uint16
		open   []uint16
	}{
		"underlay-validator":        {"v1", 51820, []uint16{2222, 22, 22}},
		"underlay-validator-closed": {"v1", 0, nil},
		"underlay-sentry":           {"s1", 51820, []uint16{22, 26656}},
		"underlay-sentry-alone":     {"s1", 0, []uint16{22, 26656}},
	} {
		got, err := Underlay(member(t, r, test.self).Role, test.listen, "mesh0", test.open...)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
	if got, err := Underlay(roster.RoleGenesisValidator, 51820, "mesh0"); got != "" || err != nil {
		t.Errorf("a genesis validator has a filter (%v):\n%s", err, got)
	}
}

func TestRulesRefuse(t *testing.T) {
	r := deployment("v1", "s1")
	other := deployment("v2")
	if _, err := Rules(r, other.Members[0], "mesh0", 0); err == nil {
		t.Error("rules for who is not a member")
	}
	for _, name := range []string{"", "lo", "sixteen-letters-", `x" accept #`, "a b", "-a", "a\n", "mesh0;"} {
		if _, err := Rules(r, r.Members[0], name, 0); err == nil {
			t.Errorf("rules for a device called %q", name)
		}
		if _, err := Underlay(r.Members[0].Role, 1, name); err == nil {
			t.Errorf("underlay rules for a device called %q", name)
		}
		if _, err := Shut(name); err == nil {
			t.Errorf("a filter that shuts a device called %q", name)
		}
	}
}

// TestRulesOfManyMembers counts lines: members are elements of two sets, never rules.
func TestRulesOfManyMembers(t *testing.T) {
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("v%d", i), fmt.Sprintf("s%d", i))
	}
	r := deployment(names...)
	for _, self := range []string{"v0", "s0"} {
		few, err := Rules(deployment("v0", "s0", "v1", "s1"), member(t, r, self), "mesh0", 0)
		if err != nil {
			t.Fatal(err)
		}
		many, err := Rules(r, member(t, r, self), "mesh0", 0)
		if err != nil {
			t.Fatal(err)
		}
		if f, m := strings.Count(few, "accept"), strings.Count(many, "accept"); f != m {
			t.Errorf("%s: %d rules accept for 1,000 members, %d for 4", self, m, f)
		}
		if n := strings.Count(many, "\tset "); n > 2 {
			t.Errorf("%s: %d sets", self, n)
		}
	}
}

// TestRulesFollowTheMatrix compares what a member's text accepts with Allowed, for all pairs of roles.
func TestRulesFollowTheMatrix(t *testing.T) {
	r := deployment("v1", "v2", "s1", "s2")
	for _, self := range r.Members {
		text, err := Rules(r, self, "mesh0", 0)
		if err != nil {
			t.Fatal(err)
		}
		input, output, _ := strings.Cut(text, "chain output")
		for _, role := range []roster.Role{roster.RoleValidator, roster.RoleSentry, roster.RoleGenesisValidator} {
			for _, s := range Services() {
				in := strings.Contains(input, fmt.Sprintf("ip6 saddr @%s %s accept", role, s.match()))
				who := ""
				if s == Control {
					who = "meta skuid 0 "
				}
				out := strings.Contains(output, fmt.Sprintf("ip6 daddr @%s %s%s accept", role, who, s.match()))
				if in != Allowed(role, self.Role, s) || out != Allowed(self.Role, role, s) {
					t.Errorf("%s and role %s, %s: in %v, out %v", self.Name, role, s, in, out)
				}
			}
		}
	}
}

func TestEveryServiceHasAPort(t *testing.T) {
	seen := map[uint16]Service{}
	for _, s := range Services() {
		if s.Port() == 0 || seen[s.Port()] != "" {
			t.Errorf("%s has port %d, as %q", s, s.Port(), seen[s.Port()])
		}
		seen[s.Port()] = s
	}
	if Service("other").Port() != 0 || Allowed(roster.RoleSentry, roster.RoleSentry, "other") {
		t.Error("a service that is not known is served")
	}
}
