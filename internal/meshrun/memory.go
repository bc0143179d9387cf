package meshrun

import (
	"os"
	"runtime/debug"
)

// Small hosts trade speed for memory: WireGuard in user space keeps buffers for as many packets as it ever had at once.
// 'make bench-mesh' prints what both profiles give.
const (
	smallHost   = 2 << 30   // bytes of memory, below which a host is small
	memoryLimit = 100 << 20 // bytes; soft, as runtime/debug says
	gcPercent   = 200       // the limit bounds the heap, so that collecting more often would only cost time
)

// limitMemory bounds what the process takes, where the host is small or shared with other hosts and nobody said otherwise.
func limitMemory(shared bool) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	if total := totalMemory(); shared || total > 0 && total < smallHost {
		debug.SetMemoryLimit(memoryLimit)
		debug.SetGCPercent(gcPercent)
	}
}
