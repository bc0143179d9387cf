package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// small moves the workspace to a file system of its own with room for so many megabytes.
func (r *rig) small(megabytes int) {
	r.t.Helper()
	at := r.t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		r.t.Skipf("no small file system can be mounted here: %v", err)
	}
	r.t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	r.Dir = filepath.Join(at, "w")
}

// fill takes all the room that is left, but for so many bytes.
func (r *rig) fill(left int64) (release func()) {
	r.t.Helper()
	free, err := room(r.Dir)
	if err != nil {
		r.t.Fatal(err)
	}
	path := r.path("filling")
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, int64(free)-left), f.Close()); err != nil {
		r.t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// What cannot be noted is not bought.
func TestNoRoomForTheJournal(t *testing.T) {
	r := newRig(t, "tofu", "")
	r.small(4)
	s := fleet("hetzner", 0)
	p := r.plan(s)
	release := r.fill(512 << 10)
	if err := r.Apply(t.Context(), p); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if got := r.objects(); len(got) > 0 {
		t.Errorf("bought: %v", got)
	}
	release()
	r.again()
	r.apply(s)
	r.servers(1)
	r.quiet(s)
}

// The disk fills up while machines are made: nothing new is begun, the journal has its room, and neither a state that
// could not be written nor a half of one loses what was made.
func TestDiskFillsUp(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	r.small(6)
	s := fleet("hetzner", 2)
	r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow", Times: -1})
	p := r.plan(s)
	r.watch = once(func(e Event) bool { return strings.HasPrefix(e.Message, "the disk is full") }, h.letGo)
	done := make(chan error, 1)
	go func() { done <- r.Apply(context.WithoutCancel(t.Context()), p) }()
	<-h.held
	<-h.held
	release := r.fill(0)
	if err := <-done; err == nil {
		t.Error("nobody noticed")
	} else {
		t.Log(err)
	}
	release()
	r.finished(s, 3)
}
