package takeover

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFS makes all that was changed on the file system of a folder outlive a power cut.
func syncFS(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
