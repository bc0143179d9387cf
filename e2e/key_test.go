package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
)

// TestRestoreKey: a consensus key that comes back from its backup signs nothing until the chain was watched in silence.
// While anybody signs with it, it is never armed.
func TestRestoreKey(t *testing.T) {
	n := upAndSigning(t)
	n.guard(t)
	backup := filepath.Join(n.state().Backups(), "validator.key.age")
	t.Run("refused while it signs here", func(t *testing.T) {
		n.refuses(t, []string{"armed"}, "key", "restore", backup, "--yes")
		n.refuses(t, []string{"--yes"}, "key", "restore", backup)
	})
	t.Run("refused while another signs", func(t *testing.T) { armBesideAnother(t, n) })
	t.Run("restored and armed", func(t *testing.T) { restoreAndArm(t, n, backup) })
	n.noChanges(t)
	n.honest(t)
}

// armBesideAnother brings the key of the validator, which signs, to a sentry and tries to arm it there.
func armBesideAnother(t *testing.T, n *network) {
	key, err := os.ReadFile(filepath.Join(n.folder("validator"), "signing", "consensus_key.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := api.Dial("s1", n.folder("s1"))
	defer c.Close()
	st, err := c.RestoreKey(t.Context(), api.RestoreRequest{Key: key})
	if err != nil || st.State != "disarmed" {
		t.Fatalf("the key is %q on the sentry: %v", st.State, err)
	}
	if _, err := c.Arm(t.Context(), api.ArmRequest{By: "a test"}); err != nil {
		if !strings.Contains(err.Error(), "validator") && !strings.Contains(err.Error(), "assign") {
			t.Fatal(err)
		}
		return // a host that the roster does not assign the key to is not even asked
	}
	eventually(t, "the watch to see the other signer", func() error {
		s := n.host(t, "s1").Signing
		if s.State == "armed" {
			t.Fatal("it was armed beside another signer")
		}
		if s.Watching || !strings.Contains(s.Reason, "somebody signed with it") {
			return fmt.Errorf("%s: %s", s.State, s.Reason)
		}
		return nil
	})
	if err := os.RemoveAll(filepath.Join(n.folder("s1"), "signing")); err != nil {
		t.Fatal(err)
	}
}

func restoreAndArm(t *testing.T, n *network, backup string) {
	n.does(t, "stop", "validator")
	lost := filepath.Join(n.folder("validator"), "signing")
	if err := os.RemoveAll(lost); err != nil {
		t.Fatal(err)
	}
	n.does(t, "start", "validator")
	eventually(t, "the node to run without its key", func() error {
		if st := n.host(t, "validator"); !st.Node.Answers || st.Signing.State == "armed" {
			return fmt.Errorf("it is %s, its key is %s", st.Node.Phase, st.Signing.State)
		}
		return nil
	})
	n.does(t, "key", "restore", backup, "--yes")
	if st := n.host(t, "validator").Signing; st.State != "disarmed" {
		t.Fatalf("the key is %s", st.State)
	}
	n.silent(t)
	from := n.height(t)
	n.does(t, "key", "arm", "--yes")
	n.signs(t)
	st := n.host(t, "validator").Signing
	if st.State != "armed" || st.LastHeight < from+30 {
		t.Errorf("it is %s and signed up to %d; the watch began at %d", st.State, st.LastHeight, from)
	}
	for h := from; h < from+30; h++ {
		b, err := n.block(t.Context(), h+1)
		if err != nil {
			t.Fatal(err)
		}
		if comet.Signed(b.LastCommit, st.Address) {
			t.Errorf("it signed height %d within its own watch", h)
		}
	}
}
