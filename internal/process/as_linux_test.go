package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Somebody's folder holds links to what he may not touch. Root that acts as him cannot either, and afterwards is root.
func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "pressenter-as-") // that of the test lies in a folder of root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	nobody := User{UID: 65534, GID: 65534}
	roots, his := filepath.Join(dir, "roots"), filepath.Join(dir, "his")
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(roots, 0o700), os.Mkdir(his, 0o700), os.Chown(his, 65534, 65534),
		os.WriteFile(filepath.Join(roots, "secret"), []byte("x"), 0o600), os.Symlink(roots, filepath.Join(his, "config")))
	if err != nil {
		t.Fatal(err)
	}
	if u, err := OwnerOf(his); err != nil || u != nobody {
		t.Fatalf("owner: %v, %v", u, err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := As(nobody, func() error { return os.WriteFile(filepath.Join(his, "own"), nil, 0o600) }); err != nil {
				t.Errorf("write what is his: %v", err)
			}
			if err := As(nobody, func() error { _, err := os.ReadFile(filepath.Join(his, "config", "secret")); return err }); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("read through his link: %v", err)
			}
			if err := As(nobody, func() error { return os.WriteFile(filepath.Join(his, "config", "planted"), nil, 0o600) }); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("write through his link: %v", err)
			}
			if _, err := os.ReadFile(filepath.Join(roots, "secret")); err != nil {
				t.Errorf("root has lost its rights: %v", err)
			}
		})
	}
	all.Wait()
	if err := As(nobody, func() error { return os.Mkdir(filepath.Join(his, "made"), 0o700) }); err != nil {
		t.Error(err)
	}
	if u, err := OwnerOf(filepath.Join(his, "made")); err != nil || u != nobody {
		t.Errorf("owner of what was made as him: %v, %v", u, err)
	}
	if _, err := OwnerOf(filepath.Join(his, "config")); err == nil {
		t.Error("a link has an owner as a folder")
	}
}
