package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// Our own processes say little: this much of each log is kept, and as much again of what it held before.
const (
	LogMax  = 8 << 20
	LogKeep = 1
)

// RotateLog makes the log at path, a [Spec.LogPath], empty if it is longer than limit, and keeps what it held as path.1 to
// path.KEEP. Who writes it has the file open and appends, so the file stays and its content moves. What is written in
// between is lost.
func RotateLog(path string, limit int64, keep int) (rotated bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its process writes elsewhere
	}
	if err != nil {
		return false, fmt.Errorf("rotate %q: %w", path, err)
	}
	long := info.Size()
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
