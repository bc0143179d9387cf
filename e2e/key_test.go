package e2e

import (
	"fmt"
	"os"
	"os/exec"
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
	was := filepath.Join(n.base, "elsewhere")
	if err := os.Rename(filepath.Join(n.folder("validator"), "signing"), was); err != nil {
		t.Fatal(err)
	}
	n.does(t, "start", "validator")
	eventually(t, "the node to run without its key", func() error {
		if st := n.host(t, "validator"); !st.Node.Answers || st.Signing.State == "armed" {
			return fmt.Errorf("it is %s, its key is %s", st.Node.Phase, st.Signing.State)
		}
		return nil
	})
	end := n.signElsewhere(t, was)
	n.signs(t)
	n.does(t, "key", "restore", backup, "--yes")
	n.refuses(t, []string{"somebody signed with it"}, "key", "arm", "--yes")
	n.signs(t)
	end()
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

// signElsewhere is the machine that everybody forgot: it has the key, its sign state and a node of its own.
func (n *network) signElsewhere(t *testing.T, keys string) (end func()) {
	t.Helper()
	home := filepath.Join(keys, "home")
	if out, err := exec.Command(practiced(), "init", "elsewhere", "--home", home).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w1 := n.host(t, "w1")
	for from, to := range map[string]string{
		filepath.Join(keys, "consensus_key.json"):                    "config/priv_validator_key.json",
		filepath.Join(keys, "consensus_state.json"):                  "data/priv_validator_state.json",
		filepath.Join(n.folder("w1"), "home/config", "genesis.json"): "config/genesis.json",
	} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(keys, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(practiced(), "start", "--home", home, "--p2p.laddr", "tcp://127.0.0.1:0", "--rpc.laddr", "tcp://127.0.0.1:0",
		"--rpc.pprof_laddr", "", "--grpc.enable=false", "--minimum-gas-prices", "0uprac", "--p2p.persistent_peers", w1.Node.NodeID+"@"+w1.Listen.P2P)
	c.Env = n.command().Env
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the signer elsewhere:\n%s", tail(log.Name(), 16))
		}
	})
	return func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
		_ = log.Close()
	}
}
