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
	err := fs.WalkDir(tofu.Modules(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		src, err := fs.ReadFile(tofu.Modules(), path)
		if err != nil {
			return err
		}
		for _, m := range regexp.MustCompile(`(?m)^resource "(\w+)"`).FindAllSubmatch(src, -1) {
			made[string(m[1])] = true
		}
		return nil
	})
	if err != nil || len(made) < 20 {
		t.Fatalf("%d resources, %v", len(made), err)
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
