package remote_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/lab"
)

// disk is a file that is a block device of a lab's server.
type disk struct {
	file, device string
}

func newDisk(t *testing.T, h *lab.Host, bytes int64) disk {
	t.Helper()
	d := disk{file: filepath.Join(t.TempDir(), "disk")}
	if err := os.WriteFile(d.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.file, bytes); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", d.file).Output()
	if err != nil {
		t.Skipf("no loop device can be had: %v", err)
	}
	d.device = strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", d.device).Run() })
	var st unix.Stat_t
	if err := unix.Stat(d.device, &st); err != nil {
		t.Fatal(err)
	}
	in(t, h, fmt.Sprintf("mknod %s b %d %d", d.device, unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))))
	return d
}

// grow is what a cloud does when a volume is made larger.
func (d disk) grow(t *testing.T, bytes int64) {
	t.Helper()
	if err := os.Truncate(d.file, bytes); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "losetup", "--set-capacity", d.device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// grows makes the volume larger, as a cloud does while it is mounted. What is on it stays.
func (k *keeper) grows(t *testing.T, h *lab.Host, host deployment.Host, d disk) {
	t.Helper()
	d.grow(t, 11<<30)
	err := k.StartAgent(t.Context(), host)
	if err != nil && !mayGrow(t) {
		t.Skipf("this computer lets nobody grow a file system that is in use: %v", err)
	}
	if err != nil {
		t.Fatalf("a volume that grew: %v", err)
	}
	got := in(t, h, "df --output=size -BG /var/lib/pressenter/node/home | tail -1; ls /var/lib/pressenter/node/home/kept")
	if !regexp.MustCompile(`^\s*1[01]G\s`).MatchString(got) || !strings.Contains(got, "kept") {
		t.Errorf("the file system of 11 GB has %q", got)
	}
}

// mayGrow says whether this process has what the kernel asks for to grow a file system in use, and so a lab's servers.
func mayGrow(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// TestVolume sets a server up with a volume: the daemon's home goes there and what signs does not, it stays
// when the server forgets all else, and one that is smaller than was bought is not taken.
func TestVolume(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1})
	h := k.lab.Host("h1")
	d := newDisk(t, h, 64<<20)
	host := sentry(h)
	host.VolumeDevice = d.device[:len(d.device)-1] + "[" + d.device[len(d.device)-1:] + "]" // a pattern, as some clouds say it

	// Nothing makes links in /dev/disk in a lab: the first time it is formatted, and cannot be mounted.
	if err := k.StartAgent(t.Context(), host); err == nil || !strings.Contains(err.Error(), "mount volume") {
		t.Fatalf("a server without udev: %v", err)
	}
	in(t, h, "mkdir -p /dev/disk/by-uuid; ln -s "+d.device+" /dev/disk/by-uuid/$(blkid -p -s UUID -o value "+d.device+")")
	if err := k.StartAgent(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	const where = "findmnt -no SOURCE,FSTYPE --target "
	if got := in(t, h, where+"/var/lib/pressenter/node/home"); got != d.device+" ext4" {
		t.Errorf("the home is on %q", got)
	}
	if got := in(t, h, where+"/var/lib/pressenter/node/signing/.. | grep -c "+path.Base(d.device)+" || :"); got != "0" {
		t.Error("what signs is on the volume, too")
	}
	if got := in(t, h, "stat -c '%U %a' /var/lib/pressenter/node/home"); got != "pressenter-node 700" {
		t.Errorf("the home is %s", got)
	}

	in(t, h, "touch /var/lib/pressenter/node/home/kept")
	if err := k.StartAgent(t.Context(), host); err != nil {
		t.Errorf("once more: %v", err)
	}
	host.VolumeGB = 10
	if err := k.StartAgent(t.Context(), host); err == nil || !strings.Contains(err.Error(), "10 GB were bought") {
		t.Errorf("a volume that did not grow: %v", err)
	}
	t.Run("grows in use", func(t *testing.T) { k.grows(t, h, host, d) })
	if got := in(t, h, "systemctl show -p RequiresMountsFor --value pressenter-node"); !strings.Contains(got, "/var/lib/pressenter/node/home") {
		t.Errorf("the node needs %s", got)
	}

	if err := k.Destroy(t.Context(), host, ""); err != nil {
		t.Fatal(err)
	}
	if got := in(t, h, "mount "+d.device+" /mnt && ls /mnt/kept; umount /mnt"); got != "/mnt/kept" {
		t.Errorf("when the server is given back, %q is left on its volume", got)
	}
}
