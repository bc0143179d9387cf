package apply

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
)

func executable(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "practiced")
	must(t, os.WriteFile(path, content, 0o700))
	return path
}

func self(t *testing.T) []byte {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(exe)
	must(t, err)
	return b
}

func TestInspectDaemon(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	must(t, os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600))
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o700))
	cases := map[string]struct{ path, want string }{
		"none":           {"", "was not found"},
		"missing":        {filepath.Join(dir, "none"), "does not exist"},
		"a folder":       {dir, "not executable"},
		"a pipe":         {fifo, "not executable"},
		"not executable": {plain, "not executable"},
	}
	if runtime.GOOS == "linux" {
		me := self(t)
		wrong := append([]byte{}, me[:4096]...)
		machine := elf.EM_X86_64
		if runtime.GOARCH == "amd64" {
			machine = elf.EM_AARCH64
		}
		binary.LittleEndian.PutUint16(wrong[18:], uint16(machine))
		clear(wrong[40:48]) // no sections
		clear(wrong[60:64])
		cases["a text"] = struct{ path, want string }{executable(t, []byte("hello, daemon")), "not a program of Linux"}
		cases["empty"] = struct{ path, want string }{executable(t, nil), "0 bytes"}
		cases["cut short"] = struct{ path, want string }{executable(t, me[:2000]), "damaged"}
		cases["another machine"] = struct{ path, want string }{executable(t, wrong), "this computer is " + runtime.GOARCH}
	}
	for name, tt := range cases {
		_, err := inspectDaemon(config.Practice("hub"), tt.path)
		var no *NoDaemon
		if !errors.As(err, &no) || !strings.Contains(no.Why, tt.want) || no.Next == "" {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	d, err := inspectDaemon(config.Practice("hub"), executable(t, []byte("#!/bin/sh\n")))
	if err != nil || d.Name != "practiced" || len(d.SHA256) != 64 {
		t.Errorf("a script: %+v, %v", d, err)
	}
	if _, err := inspectDaemon(config.Practice("hub"), executable(t, self(t))); err != nil {
		t.Errorf("a program of this computer: %v", err)
	}
	c := config.Practice("hub")
	c.Chain = config.Chain{Name: "x", Daemon: "gaiad"}
	if d, err := inspectDaemon(c, executable(t, self(t))); err != nil || d.Name != "gaiad" {
		t.Errorf("a chain of one's own: %+v, %v", d, err)
	}
}

func TestStage(t *testing.T) {
	d := deployment.Dir(t.TempDir())
	from, err := inspectDaemon(config.Practice("hub"), executable(t, []byte("#!/bin/sh\necho one\n")))
	must(t, err)
	for _, before := range []func(to string){
		func(string) {},
		func(string) {}, // it is there already
		func(to string) { must(t, os.Truncate(to, 3)) },
		func(to string) { must(t, os.Remove(to)); must(t, os.WriteFile(to+".new", []byte("half"), 0o700)) },
	} {
		before(storePath(d, from.SHA256, from.Name))
		to, err := stage(d, from)
		must(t, err)
		if sum, err := atomicfile.SHA256(to); err != nil || sum != from.SHA256 {
			t.Errorf("staged %s, %v", sum, err)
		}
		if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

// What does not get there whole leaves nothing behind: on a full disk that would be the rest of it.
func TestStageFails(t *testing.T) {
	d := deployment.Dir(t.TempDir())
	from, err := inspectDaemon(config.Practice("hub"), executable(t, []byte("#!/bin/sh\necho one\n")))
	must(t, err)
	must(t, os.WriteFile(from.Path, []byte("#!/bin/sh\necho two\n"), 0o700))
	if _, err := stage(d, from); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("changed meanwhile: %v", err)
	}
	must(t, os.Remove(from.Path))
	if _, err := stage(d, from); err == nil {
		t.Error("gone meanwhile")
	}
	left, err := filepath.Glob(filepath.Join(d.Store(), "*", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
