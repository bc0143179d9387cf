package deployment

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
)

func TestInventoryMoves(t *testing.T) {
	root := t.TempDir()
	d := Dir(filepath.Join(root, "here"))
	inv := Inventory{Deployment: "hub", ChainID: "c-1", Daemon: Daemon{Name: "d", Path: filepath.Join(string(d), "store", "d"), SHA256: "x"}}
	for _, name := range []string{"validator", "s2", "s1", "s2"} {
		inv.Put(Host{Name: name, Role: roster.RoleSentry, Folder: filepath.Join(d.Hosts(), name), Listen: api.Listen{P2P: "127.0.0.1:1"}})
	}
	inv.Put(Host{Name: "z", Folder: "/elsewhere/z"})
	must(t, d.SaveInventory(inv))
	got, err := d.LoadInventory()
	must(t, err)
	if diff := cmp.Diff(inv, got); diff != "" {
		t.Error(diff)
	}
	if len(got.Hosts) != 4 || got.Hosts[0].Name != "s1" {
		t.Errorf("hosts %v", got.Hosts)
	}
	moved := Dir(filepath.Join(root, "there"))
	must(t, os.Rename(string(d), string(moved)))
	got, err = moved.LoadInventory()
	must(t, err)
	h, _ := got.Host("s1")
	if h.Folder != filepath.Join(string(moved), "hosts", "s1") || got.Daemon.Path != filepath.Join(string(moved), "store", "d") {
		t.Errorf("after the move: %+v, %+v", h, got.Daemon)
	}
	if z, _ := got.Host("z"); z.Folder != "/elsewhere/z" {
		t.Errorf("a folder elsewhere moved along: %+v", z)
	}
}

func TestCopiesAreTheirOwn(t *testing.T) {
	var inv Inventory
	for _, name := range []string{"a", "b", "c"} {
		inv.Put(Host{Name: name})
	}
	was := inv
	inv.Drop("a")
	inv.Put(Host{Name: "d"})
	if len(was.Hosts) != 3 || was.Hosts[0].Name != "a" || was.Hosts[2].Name != "c" {
		t.Errorf("a copy has %v", was.Hosts)
	}
}

func TestDamagedInventoryIsAnError(t *testing.T) {
	d := Dir(t.TempDir())
	if inv, err := d.LoadInventory(); err != nil || len(inv.Hosts) != 0 {
		t.Errorf("without one: %+v, %v", inv, err)
	}
	must(t, os.MkdirAll(d.Operator(), 0o700))
	for _, b := range []string{"", "{", "[]", `{"hosts":1}`} {
		must(t, os.WriteFile(filepath.Join(d.Operator(), "inventory.json"), []byte(b), 0o600))
		if _, err := d.LoadInventory(); err == nil {
			t.Errorf("%q was read", b)
		}
	}
}

func TestKeepBackup(t *testing.T) {
	d, now := Dir(t.TempDir()), time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	for range 2 {
		for _, sealed := range []string{"one", "two", "three"} {
			must(t, d.KeepBackup("validator", []byte(sealed), now))
			if !d.HasBackup("validator", []byte(sealed)) {
				t.Errorf("%q is not kept", sealed)
			}
		}
	}
	must(t, d.KeepBackup("validator2", []byte("one"), now))
	files, err := filepath.Glob(filepath.Join(d.Backups(), "*"))
	must(t, err)
	kept := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		kept[string(b)]++
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	if diff := cmp.Diff(map[string]int{"one": 2, "two": 1, "three": 1}, kept); diff != "" {
		t.Errorf("%s\n%v", diff, files)
	}
	if d.HasBackup("s1", []byte("one")) || d.HasBackup("validator", nil) {
		t.Error("backups of others count")
	}
}

func TestLockSaysWhoHoldsIt(t *testing.T) {
	d := Dir(t.TempDir())
	l, err := d.Lock("alice")
	must(t, err)
	_, err = d.Lock("bob")
	var held *process.Held
	if !errors.As(err, &held) || !strings.Contains(err.Error(), "alice") {
		t.Fatalf("second lock: %v", err)
	}
	must(t, l.Close())
	l, err = d.Lock("bob")
	must(t, err)
	must(t, l.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
