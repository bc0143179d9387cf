// Package earlygc keeps the garbage collector off while the packages of the SDK are initialised, and for as long as
// a command is short.
//
// They allocate 16 MB of tables, nearly all of it for good, and Go collects four or five times meanwhile because its
// first goal is 4 MB: a fifth of the CPU time of a command such as `keys list`. Among packages that wait for no other,
// Go initialises first the one whose path sorts first, and nearly all that the SDK brings waits for a package under
// google.golang.org, which sorts after this one. GOGC and GOMEMLIMIT in the environment are obeyed.
package earlygc

import (
	"os"
	"runtime/debug"
)

// limit is the memory at which it is collected after all, so that no command runs away. A node is beyond it soon
// enough, or calls On.
const limit = 512 << 20

var (
	percent = debug.SetGCPercent(-1)
	memory  = debug.SetMemoryLimit(-1)
)

func init() {
	if os.Getenv("GOGC") != "" {
		debug.SetGCPercent(percent)
	} else if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}

// On gives collection back to Go, as a process that runs for long needs it.
func On() {
	debug.SetMemoryLimit(memory)
	debug.SetGCPercent(percent)
}
