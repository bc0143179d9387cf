package mesh

import (
	"syscall"
	"time"
)

// wallNow is the real time, also where time is virtual.
func wallNow() time.Time {
	var tv syscall.Timeval
	if err := syscall.Gettimeofday(&tv); err != nil {
		panic(err)
	}
	return time.Unix(tv.Unix())
}
