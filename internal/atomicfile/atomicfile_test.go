package atomicfile

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// childEnv names the role in which a test starts this binary again.
const childEnv = "ATOMICFILE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "full":
		os.Exit(writeWhenFull(os.Args[1]))
	case "forever":
		writeForever(os.Args[1])
	}
}

// child starts this binary in a role, on path.
func child(role, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	return cmd
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"first", "", "a longer second"} {
		if err := Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		check(t, path, content)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, want 0640", st.Mode())
	}
	checkFolder(t, path)
}

func TestWriteReplacesLink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "f")
	if err := os.WriteFile(target, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, target, "untouched")
	check(t, path, "new")
}

func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := WriteNew(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second WriteNew: %v, want fs.ErrExist", err)
	}
	check(t, path, "one")
	checkFolder(t, path)

	dangling := filepath.Join(t.TempDir(), "f")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(dangling, nil, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteNew on a dangling link: %v, want fs.ErrExist", err)
	}
}

func TestWriteNewRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = WriteNew(path, bytes.Repeat([]byte{byte('a' + i)}, 5000), 0o600) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d both succeeded", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	}
	if winner < 0 {
		t.Fatal("none succeeded")
	}
	check(t, path, string(bytes.Repeat([]byte{byte('a' + winner)}, 5000)))
	checkFolder(t, path)
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.MkdirAll(filepath.Join(sub, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(dir, "absent", "f"), // no such folder
		filepath.Join(file, "f"),          // the folder is a file
		filepath.Join(sub),                // a folder is in the way
		filepath.Join(dir, tempPrefix+"1"+tempSuffix),
	} {
		if err := Write(path, []byte("x"), 0o600); err == nil {
			t.Errorf("Write(%q) succeeded", path)
		}
		if err := WriteNew(path, []byte("x"), 0o600); err == nil {
			t.Errorf("WriteNew(%q) succeeded", path)
		}
	}
	check(t, file, "kept")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if IsTemp(e.Name()) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

func TestUnwritableFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes to any folder")
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Write: %v, want fs.ErrPermission", err)
	}
	check(t, path, "old")
}

// A disk that is full shows as a write that ends early. A limit on the size of
// files does the same, without a disk.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := child("full", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check(t, path, "old")
	checkFolder(t, path)
}

// writeWhenFull returns 0 if both ways of writing fail as they must.
func writeWhenFull(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		println("limit file size:", err.Error())
		return 2
	}
	data := make([]byte, 10_000)
	if err := Write(path, data, 0o600); !errors.Is(err, syscall.EFBIG) {
		println("Write did not fail as on a full disk")
		return 1
	}
	if err := WriteNew(path+"-new", data, 0o600); !errors.Is(err, syscall.EFBIG) {
		println("WriteNew did not fail as on a full disk")
		return 1
	}
	return 0
}

// Whenever the writer is killed, the file is one of the two contents, whole,
// and whatever else is in the folder is a temporary file by name.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for round := range 8 {
		cmd := child("forever", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + 3*round { // let it get to a different place each time
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("the file is torn: %d bytes", len(got))
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "f" && !IsTemp(e.Name()) {
			t.Errorf("%q could be mistaken for a file", e.Name())
		}
	}
}

var contents = [][]byte{bytes.Repeat([]byte("a"), 30_000), bytes.Repeat([]byte("b"), 70_000)}

func writeForever(path string) {
	for i := 0; ; i++ {
		if err := Write(path, contents[i%2], 0o600); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString("written\n")
	}
}

// check compares a file's content.
func check(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %.40q, want %.40q", filepath.Base(path), got, want)
	}
}

// checkFolder holds that path is alone in its folder.
func checkFolder(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Errorf("the folder holds %v, want only %s", entries, filepath.Base(path))
	}
}
