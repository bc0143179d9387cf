//go:build !linux

package provision

import (
	"fmt"
	"os"
)

// reserve makes the file at path and sees that there are n bytes for it now. They are not set aside.
func reserve(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := enough(path, n); err != nil {
		return fmt.Errorf("keep %d MiB for the journal %q: %w", n>>20, path, err)
	}
	return nil
}
