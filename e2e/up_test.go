package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
)

// TestUp: one command without a terminal makes a validator that signs, hidden behind its sentries.
func TestUp(t *testing.T) {
	n := shared(t)
	if !theShared.up.has("wrote pressenter.yaml", "is signed by validator", "pressenter status") {
		t.Errorf("up does not say what it did and what is next:\n%v", theShared.up)
	}
	n.signs(t)
	n.signs(t) // and goes on
	n.noChanges(t)
	n.allKnown(t)
	n.isHidden(t, "s1", "s2")
	n.tunnelsAreUp(t)
	if s := n.does(t, "mesh", "status", "--why"); !s.has("validator", "direct", "wireguard netstack") {
		t.Errorf("mesh status:\n%v", s)
	}
	n.honest(t)
}

// isHidden checks, as far as nodes tell of their own accord, that nobody but the sentries knows the validator.
func (n *network) isHidden(t *testing.T, sentries ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the validator's peers to be %v", sentries), func() error {
		all, err := n.status(t.Context())
		if err != nil {
			return err
		}
		var want, have []string
		for _, s := range sentries {
			want = append(want, all[s].Node.NodeID)
		}
		for _, p := range all["validator"].Node.Peers {
			have = append(have, p.NodeID)
		}
		slices.Sort(want)
		if slices.Sort(have); !slices.Equal(want, have) || slices.Contains(want, "") {
			return fmt.Errorf("they are %v, the sentries are %v", have, want)
		}
		return nil
	})
	all, err := n.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	secret := all["validator"].Enrolled.NodeID
	for name := range all {
		if name == "validator" {
			continue
		}
		c := api.Dial(name, n.folder(name))
		known, err := c.Peers(t.Context())
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(known.Peers) == 0 {
			t.Errorf("%s has no peers at all: it proves nothing", name)
		}
		if slices.ContainsFunc(known.AddressBook, func(a api.AddressEntry) bool { return a.NodeID == secret }) {
			t.Errorf("the address book of %s has the validator", name)
		}
		if slices.ContainsFunc(known.Peers, func(p api.Peer) bool { return p.NodeID == secret }) && !slices.Contains(sentries, name) {
			t.Errorf("%s is a peer of the validator", name)
		}
	}
}
