package vmlab

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestArchiveIsWhatTheKernelReads(t *testing.T) {
	var got strings.Builder
	a := &archive{w: &got}
	a.dir("d")
	a.text("d/f", typeRegular|0o640, "hello")
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// magic, inode, mode, uid, gid, links, time, size, four device numbers, length of name with its end, check sum
	want := strings.Join([]string{
		"070701" + "00000001" + "000041ED" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000002" + "00000000" + "d\x00",
		"070701" + "00000002" + "000081A0" + "00000000" + "00000000" + "00000001" + "00000000" + "00000005" +
			"00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "d/f\x00\x00\x00" + "hello\x00\x00\x00",
		"070701" + "00000003" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" +
			"00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00",
	}, "")
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

// TestArchiveUnpacks asks another implementation for the files' names and contents.
func TestArchiveUnpacks(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		files := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,9}`), rapid.StringMatching(`[a-z\n]{0,9}`), 1, 5).Draw(t, "files")
		var b bytes.Buffer
		a := &archive{w: &b}
		for name, content := range files {
			a.text(name, typeRegular|0o600, content)
		}
		if err := a.close(); err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			c := exec.Command(busybox, "cpio", "-i", "--to-stdout", "--quiet", name)
			c.Stdin = bytes.NewReader(b.Bytes())
			got, err := c.Output()
			if err != nil || string(got) != want {
				t.Fatalf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
	})
}

func TestArchiveKeepsFirstError(t *testing.T) {
	a := &archive{w: io.Discard}
	a.entry("short", typeRegular, 9, strings.NewReader("8 bytes."))
	a.dir("after")
	if err := a.close(); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "short") {
		t.Errorf("close: %v, want an unexpected end of short", err)
	}
	a = &archive{w: io.Discard}
	a.entry("long", typeRegular, 1<<32, strings.NewReader(""))
	if err := a.close(); err == nil || !strings.Contains(err.Error(), "long") {
		t.Errorf("close: %v, want that long is too long", err)
	}
}
