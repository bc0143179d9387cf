package e2e

import (
	"os"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/roster"
)

// TestSentries: what the config says of sentries becomes so, and the plan says it first.
func TestSentries(t *testing.T) {
	n := upAndSigning(t)
	n.guard(t)
	t.Run("add", func(t *testing.T) { addSentry(t, n) })
	t.Run("remove", func(t *testing.T) { removeSentry(t, n) })
	t.Run("replace all", func(t *testing.T) { replaceAllSentries(t, n) })
	n.noChanges(t)
	n.honest(t)
}

func sentries(names ...string) func(*config.Deployment) {
	return func(d *config.Deployment) {
		d.Sentries = nil
		for _, name := range names {
			d.Sentries = append(d.Sentries, config.Sentry{Name: name})
		}
	}
}

func addSentry(t *testing.T, n *network) {
	n.edit(t, sentries("s1", "s2", "s3"))
	if s := n.does(t, "plan"); !s.has("create host s3 (sentry)", "restart validator") {
		t.Errorf("the plan does not say what it does:\n%v", s)
	}
	if s := n.runs(t, "plan", "--detailed-exitcode"); s.code != 2 {
		t.Errorf("want exit code 2 for changes, have\n%v", s)
	}
	n.does(t, "apply", "--yes")
	n.signs(t)
	n.isHidden(t, "s1", "s2", "s3")
	n.allKnown(t)
	n.noChanges(t)
}

func removeSentry(t *testing.T, n *network) {
	gone := n.host(t, "s1").Enrolled.Identity
	n.edit(t, sentries("s2", "s3"))
	if s := n.does(t, "plan"); !s.has("destroy host s1", "1 to destroy") {
		t.Errorf("the plan does not say that it destroys:\n%v", s)
	}
	if _, err := os.Stat(n.folder("s1")); err != nil {
		t.Errorf("a plan is no deed: %v", err)
	}
	n.does(t, "apply", "--yes")
	n.signs(t)
	n.isHidden(t, "s2", "s3")
	n.noChanges(t)
	if _, err := os.Stat(n.folder("s1")); !os.IsNotExist(err) {
		t.Errorf("its folder is still there: %v", err)
	}
	if left := under(n.folder("s1")); len(left) > 0 {
		t.Errorf("it still runs: %v", left)
	}
	store, err := n.state().Rosters()
	if err != nil {
		t.Fatal(err)
	}
	head := store.State().Head
	if head == nil || !head.Tombstoned(roster.Key(gone)) {
		t.Error("the roster has no tombstone for it")
	}
	if _, member := head.Member("s1"); member {
		t.Error("the roster still has it")
	}
}

func replaceAllSentries(t *testing.T, n *network) {
	before, err := os.ReadFile(n.yaml())
	if err != nil {
		t.Fatal(err)
	}
	n.edit(t, sentries("s4", "s5"))
	n.refuses(t, []string{"no sentry would stay", "hint: add the new sentries first"}, "apply", "--yes")
	if _, err := os.Stat(n.folder("s4")); !os.IsNotExist(err) {
		t.Errorf("something was done all the same: %v", err)
	}
	if err := os.WriteFile(n.yaml(), before, 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := n.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"s2", "s3", "validator", "w1", "w2", "w3"}; !slices.Equal(names, want) {
		t.Errorf("the hosts are %v, want %v", names, want)
	}
}
