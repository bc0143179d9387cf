package machine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file system that is in use grows with its device, and says so once.
func TestGrowVolume(t *testing.T) {
	path := image(t)
	if err := format(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", path).Output()
	if err != nil {
		t.Skipf("no loop device can be had: %v", err)
	}
	device, at := strings.TrimSpace(string(out)), t.TempDir()
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	if err := unix.Mount(device, at, "ext4", 0, ""); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })

	var r Report
	if err := growVolume(t.Context(), device, at, &r); err != nil || len(r.Changed) != 0 {
		t.Fatalf("with nothing to grow: %v, %v", r.Changed, err)
	}
	if err := large(device, 1); err == nil || !strings.Contains(err.Error(), "1 GB were bought") {
		t.Errorf("a device of 64 MiB: %v", err)
	}
	if err := os.Truncate(path, 2<<30); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "losetup", "--set-capacity", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := large(device, 1); err != nil {
		t.Error(err)
	}
	if err := growVolume(t.Context(), device, at, &r); err != nil && !mayResize(t) {
		t.Skipf("this computer lets nobody grow a file system that is in use: %v", err)
	} else if err != nil || len(r.Changed) != 1 {
		t.Fatalf("%v, %v", r.Changed, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil || int64(st.Blocks)*st.Bsize < 1<<30 {
		t.Errorf("%d blocks of %d, %v", st.Blocks, st.Bsize, err)
	}
}

// mayResize says whether this process has the capability that the kernel asks for.
func mayResize(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}
