package atomicfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func TestCopy(t *testing.T) {
	for name, how := range map[string]func(from, to, want string, perm fs.FileMode) error{"copy": Copy, "link": Link} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			from, to := filepath.Join(dir, "from"), filepath.Join(dir, "there", "to")
			write(t, from, "one")
			if err := os.Mkdir(filepath.Dir(to), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, before := range []string{"", "one", "on", "another"} { // nothing, the same, a part, something else
				if before != "" {
					write(t, to, before)
				}
				write(t, filepath.Join(filepath.Dir(to), tempPrefix+"to"+tempSuffix), "half of it, by one that was killed")
				if before == "one" {
					if err := os.Remove(filepath.Join(filepath.Dir(to), tempPrefix+"to"+tempSuffix)); err != nil {
						t.Fatal(err)
					}
				}
				if err := how(from, to, sum("one"), 0o700); err != nil {
					t.Fatal(err)
				}
				check(t, to, "one")
				checkFolder(t, to)
				if err := os.Remove(to); err != nil {
					t.Fatal(err)
				}
			}
			if err := how(from, to, sum("one"), 0o700); err != nil {
				t.Fatal(err)
			}
			a, b := stat(t, from), stat(t, to)
			if b.Mode().Perm() != 0o700 || os.SameFile(a, b) != (name == "link") || name == "copy" && a.Mode().Perm() != 0o600 {
				t.Errorf("from %v, to %v, the same file: %v", a.Mode(), b.Mode(), os.SameFile(a, b))
			}
		})
	}
}

// What is not as expected changes nothing and leaves nothing behind.
func TestCopyFails(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	write(t, from, "one")
	write(t, to, "old")
	var differs *Differs
	if err := Copy(from, to, sum("two"), 0o600); !errors.As(err, &differs) || differs.Have != sum("one") || differs.Path != from {
		t.Errorf("another content: %v", err)
	}
	if err := Copy(filepath.Join(dir, "none"), to, sum("two"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	check(t, to, "old")
	if left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := SHA256(dir); err == nil {
		t.Error("a folder has a digest")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
