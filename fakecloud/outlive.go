package fakecloud

import (
	"os"
	"sync"
	"time"
)

// busy is held for reading by every call under way.
var busy sync.RWMutex

// outlive ends the program once its tofu is gone and no call is under way any more. When tofu is killed, real providers
// finish what they are doing, and then linger for ever: tests would leave them behind.
func outlive(parent int) {
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		if os.Getppid() != parent {
			busy.Lock()
			os.Exit(0)
		}
	}
}
