package doctor

import (
	"strings"

	"golang.org/x/sys/unix"
)

func fileSystemOf(st *unix.Statfs_t) (name string, network bool) {
	name = unix.ByteSliceToString(st.Fstypename[:])
	local := st.Flags&unix.MNT_LOCAL != 0
	return name, !local || strings.Contains(name, "fuse")
}

func blockSize(st *unix.Statfs_t) uint64 { return uint64(st.Bsize) }

// shortPaths: there is no way around the limit.
func shortPaths() bool { return false }

func memoryOf() Memory {
	return Memory{Err: "this system does not say without help of other programs"}
}

func umaskOf() Umask {
	return Umask{Err: "this system shows it only to those who change it"}
}

func kernelClock() Kernel {
	return Kernel{Err: "this system does not say"}
}
