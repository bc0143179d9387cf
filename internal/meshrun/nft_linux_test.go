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
