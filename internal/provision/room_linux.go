package provision

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes the file at path and sets n bytes of the disk aside for it, which nobody else can take. Its length stays
// what it is.
func reserve(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) { // at least there should be as much
		err = enough(path, n)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set %d MiB aside for the journal %q: %w", n>>20, path, err)
	}
	return nil
}
