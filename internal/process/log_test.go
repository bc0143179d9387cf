package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log is emptied where it is, because its writer has it open, and the last few it was are kept.
func TestRotateLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	if rotated, err := RotateLog(path, 10, 2); rotated || err != nil {
		t.Errorf("without a log: %v, %v", rotated, err)
	}
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, want := range []string{"", "1", "12", "23"} { // the first fits
		words := strings.Repeat(fmt.Sprint(i), 10+min(i, 1))
		if _, err := f.WriteString(words); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if rotated, err := RotateLog(path, 10, 2); rotated || err != nil {
				t.Errorf("one that fits: %v, %v", rotated, err)
			}
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if rotated, err := RotateLog(path, 10, 2); !rotated || err != nil {
			t.Errorf("rotated %v, %v", rotated, err)
		}
		kept := ""
		for n := 3; n > 0; n-- {
			if b, err := os.ReadFile(fmt.Sprintf("%s.%d", path, n)); err == nil {
				kept += string(b[:1])
			}
		}
		if info, err := f.Stat(); err != nil || info.Size() != 0 || kept != want {
			t.Errorf("after %d: kept %q, want %q; %v", i, kept, want, err)
		}
	}
}

// A log that cannot be kept is cut off in the end: it must not fill the disk.
func TestRotateLogThatCannotBeKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.Mkdir(path+".new", 0o700); err != nil { // in the way
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".new", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for size, cut := range map[int]bool{15: false, 25: true} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		rotated, err := RotateLog(path, 10, 1)
		info, statErr := os.Stat(path)
		if err == nil || rotated != cut || statErr != nil || (info.Size() == 0) != cut {
			t.Errorf("%d bytes: rotated %v, %v; %d bytes left", size, rotated, err, info.Size())
		}
	}
}
