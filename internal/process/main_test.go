package process

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary into the processes that the tests start, according to the name it is started by.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "sleeper":
		fmt.Println("asleep", len(os.Environ()), openFiles())
		select {}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("asleep")
		select {}
	case "exiter":
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// openFiles counts how often our own executable is open: the test opens it. The runtime opens files of its own.
func openFiles() (n int) {
	var self syscall.Stat_t
	if err := syscall.Stat(os.Args[0], &self); err != nil {
		return -1
	}
	for fd := 3; fd < 64; fd++ {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil && st.Dev == self.Dev && st.Ino == self.Ino {
			n++
		}
	}
	return n
}

// as is the test binary under another name.
func as(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not in time", what)
		}
	}
}
