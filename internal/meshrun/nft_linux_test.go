package meshrun

import (
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/roster"
)

// TestLoadRulesIntoTheKernel replaces a filter, and keeps it when the next is wrong.
func TestLoadRulesIntoTheKernel(t *testing.T) {
	n := netlab.New(t).Namespace("nft")
	load := func(text string) error {
		return n.Do(func() error { return LoadRules(t.Context(), text) })
	}
	const first, second = "table inet x\ntable inet y\n", "delete table inet x\n"
	for _, text := range []string{first, second} {
		if err := load(text); err != nil {
			t.Fatal(err)
		}
	}
	err := load("delete table inet y\ntable inet z { chain input { type filter hook nowhere priority 0; }; }\n")
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v, want what nft says", err)
	}
	out, err := n.Command(t.Context(), "nft", "list", "tables").CombinedOutput()
	if err != nil || string(out) != "table inet y\n" {
		t.Errorf("tables are %q, %v, want y only", out, err)
	}
}

// A device that peers get before their filter is loaded, or whose filter cannot be loaded, lets nothing through.
func TestNoRosterNoTraffic(t *testing.T) {
	n := netlab.New(t).Namespace("shut")
	f := &rules{enabled: true, iface: "mesh0", loader: LoadRules}
	if err := n.Do(func() error { return f.load(t.Context(), membersOf(nil), roster.Key{1}) }); err != nil {
		t.Fatal(err)
	}
	out, err := n.Command(t.Context(), "nft", "list", "table", "inet", "pressenter_mesh").CombinedOutput()
	if err != nil || strings.Count(string(out), "drop") != 4 || strings.Contains(string(out), "\taccept") {
		t.Errorf("the filter is %v\n%s", err, out)
	}
}

// A filter that somebody emptied or changed is loaded again, and one that packets have gone through is left alone.
func TestEmptiedFilter(t *testing.T) {
	n := netlab.New(t).Namespace("emptied")
	list := &roster.Roster{Format: roster.FormatVersion, ID: roster.Hash{1}, Generation: 1, MeshDriver: roster.MeshWireGuard, Members: []roster.Member{
		{Name: "s1", Role: roster.RoleSentry, Identity: roster.Key{1}, Mesh: roster.Mesh{Key: roster.Key{1}, TLS: roster.Key{1}}},
		{Name: "s2", Role: roster.RoleSentry, Identity: roster.Key{2}, Mesh: roster.Mesh{Key: roster.Key{2}, TLS: roster.Key{2}}},
	}}
	f := &rules{enabled: true, iface: "mesh0", underlay: true, port: 51820, open: []uint16{22}, loader: LoadRules, lister: listRules}
	do := func(what func() error) {
		t.Helper()
		if err := n.Do(what); err != nil {
			t.Fatal(err)
		}
	}
	nft := func(args ...string) string {
		t.Helper()
		out, err := n.Command(t.Context(), "nft", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("nft %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	do(func() error { return f.load(t.Context(), membersOf(list), roster.Key{1}) })
	whole := nft("--stateless", "list", "ruleset")
	for _, test := range []struct {
		by   []string
		want bool
	}{
		{[]string{"list", "ruleset"}, false},
		{[]string{"add", "element", "inet", "pressenter_underlay", "new4", "{ 192.0.2.1 limit rate over 50/second }"}, false},
		{[]string{"flush", "ruleset"}, true},
		{[]string{"delete", "table", "inet", "pressenter_underlay"}, true},
		{[]string{"insert", "rule", "inet", "pressenter_underlay", "input", "accept"}, true},
		{[]string{"list", "ruleset"}, false},
	} {
		nft(test.by...)
		do(func() error {
			changed, err := f.restore(t.Context())
			if err == nil && changed != test.want {
				t.Errorf("after nft %s: loaded again %v, want %v", strings.Join(test.by, " "), changed, test.want)
			}
			return err
		})
	}
	if now := nft("--stateless", "list", "ruleset"); now != whole {
		t.Errorf("the filter was\n%s\nand is\n%s", whole, now)
	}
}
