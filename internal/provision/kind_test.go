package provision

import (
	"io/fs"
	"regexp"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

// Every resource of the modules is of a kind, and no kind has one that no module makes.
func TestKindsAreTheModules(t *testing.T) {
	made := map[string]bool{}
	for _, src := range modules(t) {
		for _, m := range regexp.MustCompile(`(?m)^resource "(\w+)"`).FindAllStringSubmatch(src, -1) {
			made[m[1]] = true
		}
	}
	if len(made) < 20 {
		t.Fatalf("%d resources", len(made))
	}
	for typ := range made {
		if kindOf(typ) == Other {
			t.Errorf("%s is of no kind", typ)
		}
	}
	for kind, types := range kinds {
		for _, typ := range types {
			if !made[typ] {
				t.Errorf("no module makes %s, a %s", typ, kind)
			}
		}
	}
}

// modules are all files of the modules.
func modules(t *testing.T) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(tofu.Modules(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		src, err := fs.ReadFile(tofu.Modules(), path)
		out = append(out, string(src))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
