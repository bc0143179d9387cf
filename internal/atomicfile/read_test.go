package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	plain, link, pipe := filepath.Join(dir, "plain"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	write(t, plain, "12345")
	if err := errors.Join(os.Symlink(plain, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(plain, 5); err != nil || string(b) != "12345" {
		t.Errorf("a plain file: %q, %v", b, err)
	}
	if b, err := Read(plain, 4); err == nil {
		t.Errorf("a longer file than was asked for: %q", b)
	}
	for _, path := range []string{link, pipe, dir, os.DevNull} {
		if b, err := Read(path, 5); err == nil {
			t.Errorf("%s, which is no plain file: %q", path, b)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
