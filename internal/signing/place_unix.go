//go:build unix

package signing

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Place ties an armed key to one folder of one machine. A copied or restored folder has another inode or, where the
// number was free again, another time of birth. What no place can tell from the original is a clone of the whole
// machine or of its disk.
type Place struct {
	Machine string `json:"machine"`
	Inode   uint64 `json:"inode"`
	Born    string `json:"born,omitempty"` // empty where the file system does not keep it
}

// PlaceOf is where dir is now.
func PlaceOf(dir string) (Place, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return Place{}, fmt.Errorf("look at %q: %w", dir, err)
	}
	return Place{Machine: machine(), Inode: st.Ino, Born: bornAt(dir, &st)}, nil
}

// machine is the operating system's lasting id of this machine, or its name where there is none.
func machine() string {
	if b, err := os.ReadFile("/etc/machine-id"); err == nil {
		if id := strings.TrimSpace(string(b)); id != "" {
			return id
		}
	}
	name, _ := os.Hostname() //nolint:errcheck // an empty name still compares
	return name
}
