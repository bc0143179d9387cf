//go:build !linux

package meshrun

// totalMemory is the host's memory in bytes, 0 where that is not known.
func totalMemory() uint64 { return 0 }
