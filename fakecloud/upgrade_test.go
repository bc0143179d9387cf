package fakecloud

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unreleased is a commit before the first release whose modules may have bought something.
const unreleased = "9360ad6"

// What the modules of each earlier release bought, those of today keep: nothing is replaced, destroyed or made. Releases are
// the tags of this repository.
func TestModulesOfEarlierReleases(t *testing.T) {
	schemas := realSchemas(t)
	tags, err := exec.CommandContext(t.Context(), "git", "tag", "--list", "v*").Output()
	if err != nil {
		t.Skipf("this is no repository: %v", err)
	}
	for _, release := range append(strings.Fields(string(tags)), unreleased) {
		former := modulesOf(t, release)
		for _, m := range moduleRegions {
			now, err := filepath.Abs(filepath.Join("..", "tofu", "modules", m.cloud))
			if err != nil {
				t.Fatal(err)
			}
			t.Run(release+"/"+m.cloud+"/"+strings.ReplaceAll(m.region, "/", "-"), func(t *testing.T) {
				t.Parallel()
				r := newRoot(t, "tofu", schemas)
				hosts := fleet(m.region, m.size, 2, true)
				r.module(filepath.Join(former, m.cloud), m.name, hosts)
				r.must("init", "-input=false", "-no-color")
				r.apply()
				r.module(now, m.name, hosts)
				r.must("init", "-input=false", "-no-color", "-upgrade")
				if out, code := r.run("plan", "-input=false", "-no-color", "-detailed-exitcode", "-out=p"); code != 0 && code != 2 {
					t.Fatalf("plan:\n%s", out)
				}
				for address, actions := range r.actions() {
					if fmt.Sprint(actions) != "[update]" {
						t.Errorf("an upgrade would %v %s", actions, address)
					}
				}
				r.must("apply", "-input=false", "-no-color", "p")
				r.plan(0)
			})
		}
	}
}

// modulesOf is the folder of modules as a revision of this repository has them.
func modulesOf(t *testing.T, revision string) string {
	t.Helper()
	archive := exec.CommandContext(t.Context(), "git", "archive", revision, "tofu/modules")
	archive.Dir = ".."
	content, err := archive.Output()
	if err != nil {
		t.Skipf("the history of this repository does not reach back to %s: %v", revision, err)
	}
	dir := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(content)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack the modules of %s: %v: %s", revision, err, out)
	}
	modules := filepath.Join(dir, "tofu", "modules")
	if _, err := os.Stat(modules); err != nil {
		t.Fatal(err)
	}
	return modules
}
