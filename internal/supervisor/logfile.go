package supervisor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// tailBytes is how much of a run's output is read to say why it ended.
const tailBytes = 256 << 10

// readTail reads the end of the file at path, at most limit bytes and nothing before start. A file that got shorter than
// start was rotated since; then all of it counts.
func readTail(path string, start, limit int64) []byte {
	b, _ := readFrom(path, start, limit)
	return b
}

// readFrom is readTail that also returns where to go on.
func readFrom(path string, start, limit int64) (b []byte, next int64) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, start
	}
	if start > info.Size() {
		start = 0
	}
	start = max(start, info.Size()-limit)
	b, err = io.ReadAll(io.NewSectionReader(f, start, info.Size()-start))
	if err != nil {
		return nil, start
	}
	return b, start + int64(len(b))
}

// rotate makes path empty if it is longer than limit, and keeps what it held as path.1, path.2, ... The daemon has the
// file open and appends, so the file stays and its content moves. What is written in between is lost.
func rotate(path string, limit int64, keep int) (rotated bool, err error) {
	long := size(path)
	if long <= limit {
		return false, nil
	}
	fresh := path + ".new"
	if err := copyFile(path, fresh); err != nil {
		err = errors.Join(fmt.Errorf("rotate %q: %w", path, err), os.Remove(fresh))
		if long <= 2*limit {
			return false, err
		}
		return true, errors.Join(err, os.Truncate(path, 0)) // a log that cannot be kept must not fill the disk
	}
	for n := keep; n > 1; n-- {
		err := os.Rename(numbered(path, n-1), numbered(path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("rotate %q: %w", path, err)
		}
	}
	if err := os.Rename(fresh, numbered(path, 1)); err != nil {
		return false, fmt.Errorf("rotate %q: %w", path, err)
	}
	if err := os.Truncate(path, 0); err != nil {
		return false, fmt.Errorf("rotate %q: %w", path, err)
	}
	return true, nil
}

func numbered(path string, n int) string { return path + "." + strconv.Itoa(n) }

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
