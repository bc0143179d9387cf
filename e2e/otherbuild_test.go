package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/process"
)

// TestOtherBuild: where the program was replaced, apply restarts the agents and nothing else. No tunnel and no block is
// lost.
func TestOtherBuild(t *testing.T) {
	n := upAndSigning(t)
	n.guard(t)
	hosts := []string{"validator", "s1", "s2", "w1", "w2", "w3"}
	type part struct{ kind, host string }
	before := map[part]process.Identity{}
	for _, h := range hosts {
		for _, kind := range []string{agents, meshes, supervisors, daemons} {
			if p := (part{kind, h}); kind != meshes || h[0] != 'w' { // the world has no mesh
				before[p] = n.the(t, kind, h)
			}
		}
	}
	n.noChanges(t)
	n.exe = otherBuild(t)
	if s := n.does(t, "plan"); !s.has("restart the agent of s1, s2, validator: it is of another build", "restart the agent of w1, w2, w3: it is of another build", "0 to create", "0 to restart", "0 to destroy") {
		t.Errorf("the plan does not replace the agents, and only them:\n%v", s)
	}
	if s := n.does(t, "status"); !s.has("Its agent is of another build", "'pressenter apply'") {
		t.Errorf("status does not say that the agents are of another build:\n%v", s)
	}
	from := n.height(t)
	n.does(t, "apply", "--yes")
	n.signs(t)
	for p, was := range before {
		if now := n.the(t, p.kind, p.host); (now == was) != (p.kind != agents) {
			t.Errorf("the %s of %s is %v, it was %v", p.kind, p.host, now, was)
		}
	}
	n.signedAllSince(t, from)
	n.tunnelsAreUp(t)
	n.noChanges(t)
	if s := n.does(t, "status"); s.has("other build", "another build") {
		t.Errorf("status still says that agents are of another build:\n%v", s)
	}
	n.honest(t)
}

// signedAllSince checks that the validator missed no block since a height.
func (n *network) signedAllSince(t *testing.T, from int64) {
	t.Helper()
	address := n.address(t)
	for h, to := from, n.height(t); h <= to; h++ {
		b, err := n.block(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if !comet.Signed(b.LastCommit, address) {
			t.Errorf("the commit of height %d has no signature of the validator", b.LastCommit.Height)
		}
	}
}

// otherBuild is the same program, built otherwise.
func otherBuild(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "pressenter")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-w", "-o", exe, "./cmd/pressenter")
	c.Dir = ".."
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return exe
}
