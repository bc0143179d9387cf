package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fileSystems are the kinds by their magic number (statfs(2)); true where flock may not hold between computers, or where a
// program of somebody's decides.
var fileSystems = map[uint64]struct {
	name    string
	network bool
}{
	unix.EXT4_SUPER_MAGIC:      {"ext4", false}, // and its elders
	unix.XFS_SUPER_MAGIC:       {"xfs", false},
	unix.BTRFS_SUPER_MAGIC:     {"btrfs", false},
	unix.TMPFS_MAGIC:           {"tmpfs, which a reboot empties", false},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlayfs", false},
	unix.F2FS_SUPER_MAGIC:      {"f2fs", false},
	0x2fc12fc1:                 {"zfs", false},
	unix.NFS_SUPER_MAGIC:       {"nfs", true},
	unix.SMB_SUPER_MAGIC:       {"smb", true},
	unix.SMB2_SUPER_MAGIC:      {"smb2", true},
	unix.CIFS_SUPER_MAGIC:      {"cifs", true},
	unix.FUSE_SUPER_MAGIC:      {"fuse", true},
	unix.V9FS_MAGIC:            {"9p", true},
	unix.CEPH_SUPER_MAGIC:      {"ceph", true},
	unix.AFS_SUPER_MAGIC:       {"afs", true},
	unix.CODA_SUPER_MAGIC:      {"coda", true},
	unix.OCFS2_SUPER_MAGIC:     {"ocfs2", true},
	0x01161970:                 {"gfs2", true},
	0x0bd00bd0:                 {"lustre", true},
	0x786f4256:                 {"vboxsf", true},
}

func fileSystemOf(st *unix.Statfs_t) (name string, network bool) {
	magic := uint64(uint32(st.Type))
	if s, ok := fileSystems[magic]; ok {
		return s.name, s.network
	}
	return fmt.Sprintf("kind %#x", magic), false
}

// blockSize is what blocks are counted in, which is not always the best size to read.
func blockSize(st *unix.Statfs_t) uint64 {
	if st.Frsize > 0 {
		return uint64(st.Frsize)
	}
	return uint64(st.Bsize)
}

// shortPaths: a socket is reached through its opened folder.
func shortPaths() bool {
	_, err := os.Stat("/proc/self/fd")
	return err == nil
}

func memoryOf() Memory {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Memory{Err: err.Error()}
	}
	m := Memory{Total: kilobytes(string(b), "MemTotal:"), Available: kilobytes(string(b), "MemAvailable:")}
	if m.Total == 0 || m.Available == 0 {
		return Memory{Err: "the kernel does not say"}
	}
	for _, g := range []struct{ folder, limit, used string }{
		{"/sys/fs/cgroup/", "memory.max", "memory.current"},
		{"/sys/fs/cgroup/memory/", "memory.limit_in_bytes", "memory.usage_in_bytes"},
	} {
		limit, used := number(g.folder+g.limit), number(g.folder+g.used)
		if limit == 0 || limit >= m.Total { // a huge number stands for none
			continue
		}
		used -= min(used, idleCache(g.folder+"memory.stat"))
		m = Memory{Total: limit, Available: min(m.Available, limit-min(used, limit)), Limited: true}
	}
	return m
}

// idleCache is what counts as used and is given back to whoever needs it.
func idleCache(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "inactive_file "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64) // the kernel's own number
			return n
		}
	}
	return 0
}

// kilobytes returns the value of a line "Key:   123 kB", in bytes.
func kilobytes(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// number reads a file that holds one, 0 where there is none.
func number(path string) uint64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// umaskOf reads it where it need not be changed to be read.
func umaskOf() Umask {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Umask{Err: err.Error()}
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Umask:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 32)
			if err != nil {
				return Umask{Err: err.Error()}
			}
			return Umask{Value: uint32(n)}
		}
	}
	return Umask{Err: "the kernel does not say"}
}

// kernelClock asks adjtimex(2), which anybody may as long as nothing is set.
func kernelClock() Kernel {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Kernel{Err: err.Error()}
	}
	const ( // timex.h
		timeError  = 5
		statusFree = 0x40 // STA_UNSYNC
	)
	return Kernel{
		Synchronised: state != timeError && t.Status&statusFree == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond,
	}
}
