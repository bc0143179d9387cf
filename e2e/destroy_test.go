package e2e

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTwoDeployments: two practice networks on one computer do not meet. One of them lies in a path that is too long
// for unix sockets. Destroying one leaves the other alone, and nothing behind.
func TestTwoDeployments(t *testing.T) {
	need(t)
	t.Parallel()
	one := newNetwork(t, "one")
	two := newNetwork(t, "two-"+strings.Repeat("a-long-name-", 12)+"end")
	done := make(chan said)
	go func() { done <- ended(t, one.command("up", "--yes")) }()
	second := two.runs(t, "up", "--yes")
	if first := <-done; first.code != 0 || second.code != 0 {
		t.Fatalf("%v\n%v", first, second)
	}
	one.signs(t)
	two.signs(t)
	ports := one.ports(t)
	for _, p := range two.ports(t) {
		if slices.Contains(ports, p) {
			t.Errorf("both have %s", p)
		}
	}
	one.allKnown(t)
	two.allKnown(t)

	t.Run("wrong name", func(t *testing.T) { destroyWrongName(t, one) })
	t.Run("keep keys", func(t *testing.T) { destroyKeepsKeys(t, one) })
	two.signs(t)
	two.noChanges(t)
	two.honest(t)
	t.Run("delete keys", func(t *testing.T) { destroyAll(t, two) })
}

func destroyWrongName(t *testing.T, n *network) {
	before := n.files(t, n.dir)
	n.refuses(t, []string{"needs the deployment's name", "hint: pressenter destroy --name one"}, "destroy")
	n.refuses(t, []string{`"two" is not the name`, "nothing was changed"}, "destroy", "--name", "two")
	for _, f := range before {
		if _, err := os.Stat(filepath.Join(n.dir, f)); err != nil && lasts(f) {
			t.Errorf("%s is gone", f)
		}
	}
	n.signs(t)
	n.noChanges(t)
}

func destroyKeepsKeys(t *testing.T, n *network) {
	key := filepath.Join(n.folder("validator"), "signing", "consensus_key.json")
	want, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	ports := n.ports(t)
	if s := n.does(t, "destroy", "--name", "one"); !s.has("keys are kept in") {
		t.Errorf("it does not say where the keys are:\n%v", s)
	}
	n.leavesNothing(t, ports)
	var kept []string
	for _, f := range n.files(t, n.dir) {
		if f != "pressenter.yaml" && !strings.HasPrefix(f, ".pressenter/kept-") {
			t.Errorf("%s is left", f)
		}
		if filepath.Base(f) == "consensus_key.json" {
			kept = append(kept, f)
		}
	}
	if len(kept) != 1 {
		t.Fatalf("the consensus keys that were kept are %v", kept)
	}
	if have, err := os.ReadFile(filepath.Join(n.dir, kept[0])); err != nil || string(have) != string(want) {
		t.Errorf("it is not the key that it was (%v)", err)
	}
	state := filepath.Join(n.dir, filepath.Dir(kept[0]), "consensus_state.json")
	if _, err := os.Stat(state); err != nil {
		t.Errorf("its sign state is not with it: %v", err)
	}
	if s := n.does(t, "plan"); !s.has("create the operator keyring", "create host validator") {
		t.Errorf("the next deployment is not a new one:\n%v", s)
	}
}

func destroyAll(t *testing.T, n *network) {
	ports := n.ports(t)
	n.does(t, "destroy", "--name", n.session(t).Config.Name, "--delete-keys")
	n.leavesNothing(t, ports)
	if left := n.files(t, n.dir); !slices.Equal(left, []string{"pressenter.yaml"}) {
		t.Errorf("these are left: %v", left)
	}
}

// leavesNothing checks that no process, port or file outside its folder is left of a network.
func (n *network) leavesNothing(t *testing.T, ports []string) {
	t.Helper()
	if left := under(n.base); len(left) > 0 {
		t.Errorf("these go on: %v", left)
	}
	for _, p := range ports {
		l, err := net.Listen("tcp", p)
		if err != nil {
			t.Errorf("a port is still in use: %v", err)
			continue
		}
		_ = l.Close()
	}
	for _, dir := range []string{n.home(), n.tmp()} {
		if left := n.files(t, dir); len(left) > 0 {
			t.Errorf("outside its folder, in %s: %v", dir, left)
		}
	}
}

// files lists all files in dir, by their paths in it.
func (n *network) files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return nil // files come and go under a running node
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ports are the addresses that the network's hosts listen on.
func (n *network) ports(t *testing.T) []string {
	t.Helper()
	all, err := n.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, st := range all {
		out = append(out, st.Listen.P2P, st.Listen.RPC)
	}
	return out
}
