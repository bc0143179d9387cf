package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// elfHeader is the beginning of a program for the machine with this number in the ELF standard.
func elfHeader(machine uint16) []byte {
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	for _, field := range []any{
		uint16(2), machine, uint32(1), uint64(0), uint64(0), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(0), uint16(64), uint16(0), uint16(0),
	} {
		_ = binary.Write(&b, binary.LittleEndian, field) // to memory
	}
	return b.Bytes()
}

// TestDaemonUnusable: a chain's program that cannot run is refused by name before anything is made with it.
func TestDaemonUnusable(t *testing.T) {
	need(t)
	t.Parallel()
	other := map[string]uint16{"amd64": 183, "arm64": 62}[runtime.GOARCH]
	for name, c := range map[string]struct {
		content []byte
		mode    os.FileMode
		words   []string
	}{
		"missing":             {nil, 0, []string{"does not exist"}},
		"not executable":      {[]byte("#!/bin/sh\n"), 0o644, []string{"is not executable", "chmod +x"}},
		"text":                {[]byte("hello, this is no program"), 0o755, []string{"cannot run here", "not a program of Linux"}},
		"empty":               {[]byte{}, 0o755, []string{"cannot run here", "0 bytes"}},
		"truncated":           {elfHeader(other)[:30], 0o755, []string{"cannot run here", "damaged"}},
		"another processor's": {elfHeader(other), 0o755, []string{"cannot run here", "this computer is " + runtime.GOARCH}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, "net")
			path := filepath.Join(n.base, "bad-daemon")
			if c.content != nil {
				if err := os.WriteFile(path, c.content, c.mode); err != nil {
					t.Fatal(err)
				}
			}
			n.refuses(t, append(c.words, "bad-daemon", "hint:"), "apply", "--yes", "--daemon", path)
			n.refuses(t, append(c.words, "bad-daemon", "hint:"), "plan", "--daemon", path)
			if _, err := os.Stat(n.state().Hosts()); !os.IsNotExist(err) {
				t.Errorf("something was made all the same: %v", err)
			}
			if left := under(n.base); len(left) > 0 {
				t.Errorf("something runs: %v", left)
			}
		})
	}
}

// TestFolderNotWritable: who may not write here is told so, and what to do.
func TestFolderNotWritable(t *testing.T) {
	need(t)
	t.Parallel()
	for _, withConfig := range []bool{false, true} {
		t.Run("config "+strconv.FormatBool(withConfig), func(t *testing.T) {
			n := folderFor(t, t.TempDir(), "net")
			if withConfig {
				n.does(t, "init")
			}
			if err := os.Chmod(n.dir, 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(n.dir, 0o755) })
			c := n.command("up", "--yes")
			if os.Getuid() == 0 { // root may write everywhere
				setpriv, err := exec.LookPath("setpriv")
				if err != nil {
					t.Skip("run as root and without setpriv there is nobody who may not write")
				}
				c = exec.Command(setpriv, append([]string{"--reuid=65534", "--regid=65534", "--clear-groups"}, c.Args...)...)
				c.Dir, c.Env = n.dir, n.command().Env
			}
			if s := ended(t, c); s.code == 0 || !s.has("permission denied", "hint: this folder cannot be written by you") {
				t.Errorf("%v", s)
			}
		})
	}
}

// TestDiskFull: a full disk is said to be one, wherever it fills up, and once there is room again apply goes on.
func TestDiskFull(t *testing.T) {
	need(t)
	t.Parallel()
	base := t.TempDir()
	disk := filepath.Join(base, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be made here: %s", out)
	}
	n := folderFor(t, base, "disk/net")
	t.Cleanup(func() { n.end(t) })
	n.does(t, "init")
	daemon, err := os.Stat(practiced())
	if err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(disk, "filler")
	for _, c := range []struct {
		when string
		room int64
	}{
		{"while the daemon is staged", daemon.Size() / 2},
		{"while hosts are made", 64 << 10},
	} {
		fillUp(t, disk, filler, c.room)
		s := n.runs(t, "apply", "--yes")
		if s.code == 0 || !s.has("disk is full") {
			t.Fatalf("%s: %v", c.when, s)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if c.room > 1<<20 { // the next one is to fill up later
			n.crash(t, n.points(t)[:2])
		}
	}
	n.does(t, "apply", "--yes")
	n.signs(t)
	n.noChanges(t)
	n.allKnown(t)
}

// fillUp fills a disk until only so much room is left.
func fillUp(t *testing.T, disk, filler string, room int64) {
	t.Helper()
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 16<<10)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		if int64(s.Bavail)*int64(s.Bsize) <= room {
			return
		}
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
