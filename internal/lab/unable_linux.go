package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// tools are what a lab runs on this computer, with Debian's package for each.
var tools = [][2]string{
	{"debootstrap", "debootstrap"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"ssh-keygen", "openssh-client"},
	{"nsenter", "util-linux"},
	{"mkfs.ext4", "e2fsprogs"},
}

// Why reports what keeps labs from running here, or "".
var Why = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	for _, t := range tools {
		if _, err := exec.LookPath(t[0]); err != nil {
			return fmt.Sprintf("%s is not installed; on Debian: apt-get install %s", t[0], t[1])
		}
	}
	if _, err := controlGroups(); err != nil {
		return err.Error()
	}
	if err := overlayFits(); err != nil {
		return err.Error()
	}
	c := exec.Command("true")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := c.Run(); err != nil {
		return fmt.Sprintf("make namespaces: %v", err)
	}
	return ""
})

// controlGroups is where this computer has control groups version 2: all of them, or beside version 1.
func controlGroups() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("this computer has no control groups version 2")
}

// overlayFits reports whether disks of hosts can be where the cache is. An overlay cannot lie on another one.
func overlayFits() error {
	folder, err := cache()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return err
	}
	if s.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on an overlay file system: set XDG_CACHE_HOME to another", folder)
	}
	return nil
}
