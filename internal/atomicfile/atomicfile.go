// Package atomicfile writes files so that a crash at any instant leaves the
// old content or the new, whole, never a mixture and never an empty file.
//
// Data goes to a temporary file in the same folder, is fsynced, takes the
// final name in one step, and the folder is fsynced. A temporary file that a
// crash leaves behind has a name that [IsTemp] knows; nothing else may use it.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tempPrefix = ".atomicfile-"
	tempSuffix = ".tmp"
)

// IsTemp reports whether name, a base name, is that of a temporary file of
// this package. Whoever lists a folder skips such names.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

// Write replaces the file at path with data and the permission bits perm,
// whatever the umask. A symbolic link at path is itself replaced.
//
// After nil the new content survives a power cut. After an error the file is
// the old one or the new one, whole; a caller that needs to know reads it.
func Write(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Rename)
}

// WriteNew is Write for a file that must not be there yet: it fails with
// fs.ErrExist if path exists, even as a dangling link. Of several that race,
// one succeeds.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	// A link, unlike a rename, never replaces; and unlike O_EXCL on the final
	// name, it cannot leave a half-written file under that name.
	return place(path, data, perm, os.Link)
}

// place writes a temporary file, gives it its final name through name and
// makes the name durable.
func place(path string, data []byte, perm fs.FileMode, name func(from, to string) error) error {
	if IsTemp(filepath.Base(path)) {
		return fmt.Errorf("write file %q: the name is reserved for temporary files", path)
	}
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, data, perm)
	if err != nil {
		return fmt.Errorf("write file %q: %w", path, err)
	}
	err = name(temp, path)
	// After a rename the temporary name is gone; after a link, or an error, it
	// has to go.
	if rmErr := os.Remove(temp); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) && err == nil {
		err = rmErr
	}
	if err != nil {
		return fmt.Errorf("write file %q: %w", path, err)
	}
	if err := SyncFolder(dir); err != nil {
		return fmt.Errorf("write file %q: %w", path, err)
	}
	return nil
}

// writeTemp returns the name of a new file in dir that durably holds data.
func writeTemp(dir string, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(dir, tempPrefix+"*"+tempSuffix)
	if err != nil {
		return "", fmt.Errorf("create temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return "", fmt.Errorf("write temporary file: %w", err)
	}
	if err := f.Chmod(perm); err != nil {
		return "", fmt.Errorf("set mode of temporary file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("sync temporary file: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("close temporary file: %w", err)
	}
	return f.Name(), nil
}

// SyncFolder makes the names in dir durable, and that those are gone which were removed.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// Rename moves a file of the same file system over another one. After nil the
// move survives a power cut.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}
