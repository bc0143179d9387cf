package provision

import "golang.org/x/sys/unix"

// room is how many bytes are free for us on the file system of path.
func room(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

func enough(path string, n int64) error {
	free, err := room(path)
	if err == nil && free < uint64(n) {
		err = unix.ENOSPC
	}
	return err
}
