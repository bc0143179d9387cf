package adopt

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/health"
)

// TestMarkAhead: a mark that the chain is far from is not its own, and would keep the key from ever signing again.
func TestMarkAhead(t *testing.T) {
	for height, critical := range map[int64]bool{2050: false, 2101: true, 9e18: true} {
		f := &Found{Role: RoleValidator, Node: Node{Answers: true, Height: 2000}, Key: Key{Mark: Mark{Known: true, Height: height}}}
		p := Make(f, Wanted{Validator: true, Exists: true})
		if got := slices.ContainsFunc(p.Findings, func(f health.Finding) bool { return f.Code == "mark" && f.Severity == health.Critical }); got != critical {
			t.Errorf("%d: %v", height, p.Findings)
		}
	}
}

// TestOneHome: the home that counts is the one that the daemon has open, and of two flags the last.
func TestOneHome(t *testing.T) {
	dir, _ := home(t)
	other, _ := home(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		more map[string]string
		path string
		odd  bool
	}{
		"as told":         {nil, dir, false},
		"told by a link":  {map[string]string{"args": "simd\nstart\n--home\n" + link + "\n"}, link, false},
		"told twice":      {map[string]string{"args": "simd\nstart\n--home\n" + other + "\n--home=" + dir + "\n"}, dir, false},
		"another is open": {map[string]string{"open": other + "\n"}, dir, true},
		"none is open":    {map[string]string{"open": ""}, dir, true},
		"cosmovisor's":    {map[string]string{"args": "simd\nstart\n", "places": "DAEMON_HOME=" + other + "\n"}, dir, false},
	} {
		f := look(t, &here{units: server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, tt.more)}}.told()})
		odd := slices.ContainsFunc(f.notes, func(f health.Finding) bool { return f.Code == "home" && f.Severity == health.Critical })
		if f.Home.Path != tt.path || odd != tt.odd {
			t.Errorf("%s: home %s, %+v", name, f.Home.Path, f.notes)
		}
	}
}

// TestOtherUnits: naming one unit hides no other one; one with another home and another key is in nobody's way.
func TestOtherUnits(t *testing.T) {
	dir, _ := home(t)
	other, _ := home(t)
	for name, tt := range map[string]struct {
		exec string
		want health.Severity
	}{
		"the same home": {"/usr/bin/simd start --home " + dir, health.Critical}, "not to be seen": {"/usr/bin/simd start", health.Critical},
		"another": {"/usr/bin/simd start --home " + other, health.Warning},
	} {
		told := append(server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, nil)}}.told(),
			server{unit: "old.service", exec: tt.exec}.told()...)
		f, err := Look(t.Context(), &here{units: told}, "cosmos.service")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(f.notes, func(f health.Finding) bool { return f.Code == "other-unit" && f.Severity == tt.want }) {
			t.Errorf("%s: %+v", name, f.notes)
		}
	}
	copied, key := home(t)
	for _, file := range []string{"config/priv_validator_key.json", "config/node_key.json"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, copied, file, string(b))
	}
	told := append(server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, nil)}}.told(),
		server{unit: "old.service", exec: "/usr/bin/simd start --home " + copied}.told()...)
	f, err := Look(t.Context(), &here{units: told}, "cosmos.service")
	if err != nil || !slices.ContainsFunc(f.notes, func(f health.Finding) bool { return f.Code == "other-unit" && f.Severity == health.Critical }) {
		t.Errorf("a copy of %x is not told of: %+v, %v", key.Public(), f, err)
	}
}

// TestApart: what keeps a home from being moved is seen before anything is ordered; links that move along are no matter.
func TestApart(t *testing.T) {
	dir, _ := home(t)
	found := func() []string {
		return look(t, &here{units: server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, nil)}}.told()}).apart
	}
	link := func(to, at string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(at)), 0o700), os.Symlink(to, filepath.Join(dir, at))); err != nil {
			t.Fatal(err)
		}
	}
	link("../config", "data/within")
	link("/x", "cosmovisor/current")
	if got := found(); got != nil {
		t.Errorf("of a whole one: %q", got)
	}
	link("/mnt/archive", "data/archive.db")
	link("/x", ".ssh/keys")
	if got := found(); !slices.ContainsFunc(got, func(s string) bool { return s == filepath.Join(dir, "data/archive.db")+", a link" }) ||
		!slices.ContainsFunc(got, func(s string) bool { return s == filepath.Join(dir, ".ssh")+", with which somebody logs in" }) {
		t.Errorf("%q", got)
	}
}
