package agent

import (
	"errors"
	"io/fs"

	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/signing"
)

// errCopy is the error for a folder that is not where its host was enrolled.
var errCopy = errors.New("this folder is a copy of a host; the original may be running")

// CheckPlace fails where the folder is not the one in which its host was enrolled: nothing is to run there in the
// host's name. A folder of which no host was enrolled is in its place.
func (f Folder) CheckPlace() error {
	h, err := f.loadHost()
	if errors.Is(err, fs.ErrPermission) && machine.Is(string(f)) {
		return nil // a machine's record is root's; its agent starts nothing in a copy
	}
	if err != nil || h == nil {
		return err
	}
	moved, err := f.moved(h)
	if moved {
		return errCopy
	}
	return err
}

// moved reports whether the folder is not where the host in it was enrolled.
func (f Folder) moved(h *host) (bool, error) {
	place, err := signing.PlaceOf(string(f))
	return err == nil && place != h.Place, err
}
