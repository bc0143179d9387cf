package atomicfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// SHA256 is the digest of the file at path, in hex.
func SHA256(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", fmt.Errorf("read file %q: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Differs says that a file is not the one that was to be copied.
type Differs struct{ Path, Have, Want string }

// Error implements error.
func (d *Differs) Error() string {
	return fmt.Sprintf("file %q has SHA-256 %s, expected %s", d.Path, d.Have, d.Want)
}

// Copy makes to a copy of from, with the permission bits perm, if its SHA-256 is want; else the error is a *Differs and
// nothing is left behind. A file to that has this content already is not touched. What is copied is hashed, not what
// was there before: from may change meanwhile.
func Copy(from, to, want string, perm fs.FileMode) error {
	return settle(to, want, perm, func(temp string) error { return copyTo(from, temp) }, from)
}

// Link is Copy that makes both the same file where the file system can: then from gets the permission bits too.
func Link(from, to, want string, perm fs.FileMode) error {
	return settle(to, want, perm, func(temp string) error {
		if err := os.Link(from, temp); err == nil {
			return nil
		}
		return copyTo(from, temp)
	}, from)
}

// settle lets bring make a temporary file and gives it its name if it is what is wanted. Its name is always the same,
// so that one that was killed in the midst of a large file leaves no more than one behind.
func settle(to, want string, perm fs.FileMode, bring func(temp string) error, from string) (err error) {
	if have, err := SHA256(to); err == nil && have == want {
		return nil
	}
	temp := filepath.Join(filepath.Dir(to), tempPrefix+filepath.Base(to)+tempSuffix)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // on a full disk it takes what is left
		}
	}()
	if err := bring(temp); err != nil {
		return fmt.Errorf("copy %q: %w", from, err)
	}
	have, err := SHA256(temp)
	if err != nil {
		return err
	}
	if have != want {
		return &Differs{from, have, want}
	}
	if err := os.Chmod(temp, perm); err != nil {
		return err
	}
	return Rename(temp, to)
}

// copyTo writes a new file, durably.
func copyTo(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return errors.Join(out.Sync(), out.Close())
}
