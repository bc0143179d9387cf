package signing

import (
	"fmt"
	"syscall"
)

// bornAt is when the folder was made, to the nanosecond.
func bornAt(_ string, st *syscall.Stat_t) string {
	return fmt.Sprintf("%d.%09d", st.Birthtimespec.Sec, st.Birthtimespec.Nsec)
}
