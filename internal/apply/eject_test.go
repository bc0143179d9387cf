package apply

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is ejected before anything is bought makes no key, and after that not either: another one would open no machine.
func TestEjectMakesNoKey(t *testing.T) {
	m := newMarket(t)
	none := func(when string) {
		t.Helper()
		if _, err := os.Stat(SSHKey(m.Dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a key (%v)", when, err)
		}
	}
	if n, err := m.Eject(t.Context(), filepath.Join(t.TempDir(), "mine")); n != 0 || err != nil {
		t.Errorf("%d parts, %v", n, err)
	}
	none("nothing bought")
	applies(t, m.Session)
	m.again()
	if n, err := m.Eject(t.Context(), filepath.Join(t.TempDir(), "mine")); n == 0 || err != nil {
		t.Errorf("%d parts, %v", n, err)
	}
	must(t, os.Remove(SSHKey(m.Dir)))
	m.again()
	if _, err := m.Eject(t.Context(), filepath.Join(t.TempDir(), "mine")); err == nil || !strings.Contains(err.Error(), "key that opens the machines is gone") {
		t.Errorf("without the key: %v", err)
	}
	none("all bought")
}
