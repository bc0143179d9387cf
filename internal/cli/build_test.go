package cli

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestCleanRevision(t *testing.T) {
	for name, tt := range map[string]struct{ revision, modified, want string }{
		"clean":         {"8a42a53", "false", "8a42a53"},
		"changed since": {"8a42a53", "true", ""},
		"not said":      {"8a42a53", "", ""},
		"none":          {"", "false", ""},
	} {
		got := cleanRevision([]debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "vcs.revision", Value: tt.revision}, {Key: "vcs.modified", Value: tt.modified}})
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A test's program has no revision, so its content names it.
func TestBuild(t *testing.T) {
	if b := build(); !strings.HasPrefix(b, "sha256:") || len(b) != len("sha256:")+64 || build() != b {
		t.Errorf("build %q", b)
	}
}
