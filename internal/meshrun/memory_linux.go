package meshrun

import "golang.org/x/sys/unix"

// totalMemory is the host's memory in bytes, 0 where that is not known.
func totalMemory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return uint64(s.Totalram) * uint64(s.Unit) //nolint:unconvert // 32 bits on some systems
}
