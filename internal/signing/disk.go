package signing

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// maxFile is more than any of the files in a signing folder has.
const maxFile = 64 << 10

// make makes the folder, durably, and says where it is.
func (f Folder) make() (Place, error) {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return Place{}, err
	}
	if err := sync(filepath.Dir(f.Dir)); err != nil {
		return Place{}, err
	}
	return PlaceOf(f.Dir)
}

// keyHere is the public half of the key file.
func (f Folder) keyHere() (ed25519.PublicKey, error) {
	key, err := atomicfile.Read(f.path(KeyFile), maxFile)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return PublicKey(key)
}

// replace writes one of the folder's files, durably.
func (f Folder) replace(name string, b []byte) error {
	if err := f.interrupt(); err != nil {
		return err
	}
	return atomicfile.Write(f.path(name), b, 0o600)
}

// rename moves a file, durably. The new name is on disk before the old one is gone for good.
func (f Folder) rename(from, to string) error {
	if err := f.interrupt(); err != nil {
		return err
	}
	err := os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) { // the home is on a volume of its own, and this folder is not
		return f.carry(from, to)
	}
	if err != nil {
		return err
	}
	return errors.Join(sync(filepath.Dir(to)), sync(filepath.Dir(from)))
}

// carry is rename between two file systems: for a moment there are both files.
func (f Folder) carry(from, to string) error {
	b, err := atomicfile.Read(from, maxFile)
	if err != nil {
		return err
	}
	defer clear(b)
	if err := atomicfile.Write(to, b, 0o600); err != nil {
		return err
	}
	if err := f.interrupt(); err != nil {
		return err
	}
	return discard(from)
}

// discard removes a file, durably, if it is there.
func discard(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return sync(filepath.Dir(path))
}

func (f Folder) interrupt() error {
	if f.before == nil {
		return nil
	}
	return f.before()
}

// makePrivate makes a key file that a daemon wrote durable and its owner's alone.
func makePrivate(path string) error {
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	return sync(path)
}

// sync makes a file's content, or the names in a folder, durable.
func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
