package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Hosts of a deployment do not update at once, and each does so at the same time every day.
func TestUpdatesAreStaggered(t *testing.T) {
	seen := map[string]string{}
	for _, host := range []string{"validator", "s1", "s2", "s3", "s4", "s5"} {
		at := updatesAt("mainnet", host)
		if other, twice := seen[at]; twice {
			t.Errorf("%s and %s update at once", host, other)
		}
		if seen[at] = host; at != updatesAt("mainnet", host) || !strings.Contains(at, "\nOnCalendar=\nOnCalendar=*-*-* ") {
			t.Errorf("%s: %s", host, at)
		}
	}
}

func TestMirror(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want string }{
		"one line": {"sources.list", "# deb http://old.example/debian x\ndeb [arch=amd64] http://deb.example:80/debian x main\n", "deb.example"},
		"deb822":   {"sources.list.d/ubuntu.sources", "Types: deb\nURIs: https://archive.example/ubuntu/\n", "archive.example"},
		"cd only":  {"sources.list", "deb cdrom:[Debian]/ x main\n", ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, test.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := mirrorOf(dir); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
