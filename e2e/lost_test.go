package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// TestLostValidator: the host with the key is gone, and its disk is somewhere. It is made anew once the chain shows that nobody
// signs with the key, and signs when the key is back.
func TestLostValidator(t *testing.T) {
	n := upAndSigning(t)
	n.guard(t)
	lost, address := n.validator(t), n.address(t)
	elsewhere := n.losesTheValidator(t)
	n.refuses(t, []string{"holds the consensus key", "--replace-lost"}, "apply", "--yes")
	end := n.signElsewhere(t, elsewhere)
	n.signsBy(t, address)
	n.refuses(t, []string{"--confirm"}, "apply", "--replace-lost", "--yes")
	n.refuses(t, []string{"validator"}, "apply", "--yes", "--replace-lost", "--confirm", "s1")
	n.refuses(t, []string{"it is not proven that the validator's key is silent: it signed block", "nothing was changed"},
		"apply", "--yes", "--replace-lost", "--confirm", "validator")
	if now := n.validator(t); now.Identity != lost.Identity {
		t.Error("it was made anew while the key signed")
	}
	end()
	n.silentBy(t, address)
	from := n.height(t)
	n.does(t, "apply", "--yes", "--replace-lost", "--confirm", "validator")
	if seen := n.height(t) - from; seen < signing.SilentBlocks {
		t.Errorf("it was made anew after %d blocks of silence", seen)
	}
	r, now := n.roster(t), n.validator(t)
	if now.Identity == lost.Identity || !r.Tombstoned(lost.Identity) {
		t.Errorf("the validator is %+v, tombstones are %+v", now, r.Tombstones)
	}
	if n.address(t) == address {
		t.Error("the new host was born with the key")
	}
	if s := n.does(t, "plan"); !s.has("it does not hold the deployment's consensus key") {
		t.Errorf("the plan does not say that the key is missing: %v", s)
	}
	n.does(t, "key", "restore", filepath.Join(n.state().Backups(), "validator.key.age"), "--yes")
	eventually(t, "the new host's node to have the chain", func() error {
		if st := n.host(t, "validator").Node; !st.Answers || st.CatchingUp {
			return fmt.Errorf("it is %s at %d", st.Phase, st.Height)
		}
		return nil
	})
	n.does(t, "key", "arm", "--yes")
	n.signsBy(t, address)
	n.noChanges(t)
	n.honest(t)
}

// losesTheValidator shuts its host down and takes the disk away. What is returned is what its keys are in.
func (n *network) losesTheValidator(t *testing.T) (keys string) {
	t.Helper()
	id := n.host(t, "validator").Node.NodeID
	n.does(t, "stop", "validator")
	eventually(t, "the sentries to see that its node is gone", func() error { // without its end they do so after up to two minutes
		all, err := n.status(t.Context())
		for name, h := range all {
			if slices.ContainsFunc(h.Node.Peers, func(p api.Peer) bool { return p.NodeID == id }) {
				err = fmt.Errorf("%s has a link to it", name)
			}
		}
		return err
	})
	folder, disk := n.folder("validator"), filepath.Join(n.base, "disk")
	for _, kind := range []string{agents, supervisors, meshes} { // those who start others first
		for _, r := range under(folder) {
			if r.kind() != kind {
				continue
			}
			if err := killed(r.Identity); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left := under(folder); len(left) > 0 {
		t.Fatalf("these go on: %v", left)
	}
	if err := os.Rename(folder, disk); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(disk, "signing")
}

// validator is the one in the newest roster.
func (n *network) validator(t *testing.T) roster.Member {
	t.Helper()
	m, ok := n.roster(t).Member("validator")
	if !ok {
		t.Fatal("no validator is in the roster")
	}
	return m
}
