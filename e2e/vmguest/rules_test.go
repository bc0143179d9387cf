//go:build linux

package vmguest

import (
	"crypto/sha256"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
)

// TestKernelRules has the kernel take the packet filters of every role, in a mesh of a thousand members, and again over
// the ones that it has.
func TestKernelRules(t *testing.T) {
	inside(t)
	r := &roster.Roster{Format: roster.FormatVersion, ID: roster.Hash{1}, Generation: 1, MeshDriver: roster.MeshWireGuard}
	for i := range 1000 {
		m := roster.Member{Name: fmt.Sprint("m", i), Role: roster.RoleSentry}
		if i%2 == 0 {
			m.Role = roster.RoleValidator
		}
		m.Identity, m.Mesh.Key, m.Mesh.TLS = id(i, "identity"), id(i, "key"), id(i, "tls")
		r.Members = append(r.Members, m)
	}
	deployment := r.DeploymentID()
	for _, self := range r.Members[:2] {
		t.Run(string(self.Role), func(t *testing.T) {
			inMesh, err := access.Rules(r, self, "mesh0", 0)
			if err != nil {
				t.Fatal(err)
			}
			below, err := access.Underlay(self.Role, 51820, "mesh0", 22)
			if err != nil {
				t.Fatal(err)
			}
			load(t, inMesh+below)
			first := nft(t, "", "-s", "list", "ruleset")
			load(t, inMesh+below)
			if again := nft(t, "", "-s", "list", "ruleset"); again != first {
				t.Errorf("the filter was\n%s\nand is, loaded once more,\n%s", first, again)
			}
			if got, want := strings.Count(first, "\ttype filter hook"), strings.Count(inMesh+below, "\ttype filter hook"); got != want || got == 0 {
				t.Errorf("%d chains, want %d:\n%s", got, want, first)
			}
			for i, m := range r.Members {
				address := roster.MeshAddress(deployment, m.Identity).String()
				if strings.Contains(first, address) != strings.Contains(inMesh, address) {
					t.Fatalf("member %d, %s, is in one of what was loaded and what there is, and not in the other", i, address)
				}
			}
		})
	}
}

func id(i int, of string) [32]byte { return sha256.Sum256(fmt.Append(nil, of, i)) }

func load(t *testing.T, rules string) {
	t.Helper()
	nft(t, rules, "-f", "-")
}

// nft runs nft(8) with that input and returns what it says.
func nft(t *testing.T, input string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "nft", args...)
	c.Stdin = strings.NewReader(input)
	said, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return string(said)
}
