package takeover

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHolders: whoever has a file of a folder open is found, also by another name, and whoever is in it.
func TestHolders(t *testing.T) {
	if _, err := os.Readlink("/proc/1/cwd"); err != nil {
		t.Skipf("whoever takes over sees every process, and here that cannot be: %v", err)
	}
	dir := t.TempDir()
	home, other := filepath.Join(dir, "home"), filepath.Join(dir, "elsewhere")
	must(t, os.MkdirAll(filepath.Join(home, "data"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, "data", "db"), nil, 0o600))
	must(t, os.Link(filepath.Join(home, "data", "db"), other)) // as a container sees it: another path, the same file
	if found, err := holders(home); err != nil || len(found) > 0 {
		t.Fatalf("%v, %v", found, err)
	}
	for name, prepare := range map[string]func(*exec.Cmd) error{
		"open": func(c *exec.Cmd) (err error) { c.Stdin, err = os.Open(filepath.Join(home, "data", "db")); return err },
		"open by another name": func(c *exec.Cmd) (err error) {
			c.Stdin, err = os.Open(other)
			return err
		},
		"in it": func(c *exec.Cmd) error { c.Dir = filepath.Join(home, "data"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := exec.Command("sleep", "1000")
			must(t, prepare(c))
			must(t, c.Start())
			if f, ok := c.Stdin.(*os.File); ok {
				must(t, f.Close()) // ours
			}
			found, err := holders(home)
			must(t, c.Process.Kill())
			_ = c.Wait()
			if err != nil || len(found) != 1 || !strings.Contains(found[0].Name, "sleep") {
				t.Errorf("%v, %v", found, err)
			}
			if found, err := holders(home); err != nil || len(found) > 0 {
				t.Errorf("after its end: %v, %v", found, err)
			}
		})
	}
}

// TestMapped: a file that a process has mapped is held, also where it was closed since, and by whatever name.
func TestMapped(t *testing.T) {
	files := map[file]bool{{unix.Mkdev(8, 1), 1234}: true}
	for text, want := range map[string]bool{
		"":                                   false,
		"7f00-7f01 rw-p 00000000 00:00 0 \n": false,
		"7f00-7f01 r--p 0 08:01 1234 /somewhere/db\n":          true,
		"7f00-7f01 r--p 0 08:01 1235 /somewhere/db\n":          false,
		"7f00-7f01 r--p 0 08:02 1234 /somewhere/db\n":          false,
		"7f00-7f01 r--p 0 00:2a 9 /home/x/data/db (deleted)\n": true,
		"7f00-7f01 r--p 0 00:2a 9 /home/xy/data/db\n":          false,
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "maps"), []byte(text), 0o600))
		if got, err := mapsAny(dir, files, "/home/x"); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := mapsAny(filepath.Join(t.TempDir(), "ended"), files, "/home/x"); got || err != nil {
		t.Errorf("of one that has ended: %v, %v", got, err)
	}
}
