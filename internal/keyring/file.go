package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// The two names that a keyring has in its folder.
const (
	ProtectedFile   = "keyring.age"
	UnprotectedFile = "keyring.json"
)

// MinPassphrase is the shortest passphrase that Save takes, in bytes.
const MinPassphrase = 8

// Errors that callers tell apart. A folder without a keyring is fs.ErrNotExist.
var (
	ErrPassphrase  = errors.New("wrong passphrase")
	ErrProtected   = errors.New("the keyring is protected by a passphrase and stays so")
	ErrPermissions = errors.New("others than its owner can reach it")
	ErrTwoKeyrings = errors.New("two different keyrings are in one folder")
)

// Protected reports whether the folder's keyring is under a passphrase. It is
// fs.ErrNotExist if there is none.
func Protected(dir string) (bool, error) {
	for _, name := range []string{ProtectedFile, UnprotectedFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return name == ProtectedFile, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("look for keyring: %w", err)
		}
	}
	return false, fmt.Errorf("look for keyring in %q: %w", dir, fs.ErrNotExist)
}

// Save writes the keyring into dir, which it makes if need be: encrypted by
// passphrase or, if that is nil, unprotected, which is for practice only.
//
// It never replaces another keyring (fs.ErrExist), and never takes protection
// away ([ErrProtected]). Saving the keyring that the folder holds changes its
// passphrase, or protects it.
func (k *Keyring) Save(dir string, passphrase []byte) error {
	if err := k.save(dir, passphrase); err != nil {
		return fmt.Errorf("save keyring in %q: %w", dir, err)
	}
	k.dir = filepath.Clean(dir)
	return nil
}

func (k *Keyring) save(dir string, passphrase []byte) error {
	if passphrase != nil && len(passphrase) < MinPassphrase {
		return fmt.Errorf("the passphrase is shorter than %d", MinPassphrase)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	protected, err := Protected(dir)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case exists && k.dir != filepath.Clean(dir):
		return fs.ErrExist
	case exists && protected && passphrase == nil:
		return ErrProtected
	}
	name, b, err := k.form(passphrase)
	if err != nil {
		return err
	}
	defer clear(b)
	write := atomicfile.WriteNew
	if exists && protected == (passphrase != nil) {
		write = atomicfile.Write
	}
	if err := write(filepath.Join(dir, name), b, 0o600); err != nil {
		return err
	}
	if exists && !protected && passphrase != nil {
		return os.Remove(filepath.Join(dir, UnprotectedFile))
	}
	return nil
}

// form returns the name and the bytes of the keyring's file.
func (k *Keyring) form(passphrase []byte) (name string, b []byte, err error) {
	if passphrase == nil {
		b, err = k.encode(practiceOnly)
		return UnprotectedFile, b, err
	}
	plain, err := k.encode("")
	if err != nil {
		return "", nil, err
	}
	defer clear(plain)
	to, _, err := underPassphrase(passphrase)
	if err != nil {
		return "", nil, err
	}
	b, err = seal(plain, to)
	return ProtectedFile, b, err
}

// Open reads the keyring in dir. It asks for the passphrase only if there is
// one, and wipes what it is given.
func Open(dir string, passphrase func() ([]byte, error)) (*Keyring, error) {
	k, err := openDir(dir, passphrase)
	if err != nil {
		return nil, fmt.Errorf("open keyring in %q: %w", dir, err)
	}
	k.dir = filepath.Clean(dir)
	return k, nil
}

func openDir(dir string, passphrase func() ([]byte, error)) (*Keyring, error) {
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	sealed, err := readPrivate(filepath.Join(dir, ProtectedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return openUnprotected(dir)
	} else if err != nil {
		return nil, err
	}
	if passphrase == nil {
		return nil, ErrPassphrase
	}
	pass, err := passphrase()
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	k, err := unlock(sealed, pass)
	if err != nil {
		return nil, err
	}
	if err := finishProtecting(dir, k); err != nil {
		k.Wipe()
		return nil, err
	}
	return k, nil
}

// unlock decrypts a keyring file.
func unlock(sealed, passphrase []byte) (*Keyring, error) {
	_, by, err := underPassphrase(passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	plain, err := unseal(bytes.NewReader(sealed), maxFile, by)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, ErrPassphrase
	} else if err != nil {
		return nil, err
	}
	defer clear(plain)
	return decode(plain, "")
}

func openUnprotected(dir string) (*Keyring, error) {
	plain, err := readPrivate(filepath.Join(dir, UnprotectedFile))
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return decode(plain, practiceOnly)
}

// finishProtecting removes the unprotected file of the same keyring, which a
// crash in the middle of Save leaves behind.
func finishProtecting(dir string, k *Keyring) error {
	left, err := openUnprotected(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer left.Wipe()
	if !bytes.Equal(left.admin.Bytes(), k.admin.Bytes()) {
		return ErrTwoKeyrings
	}
	return os.Remove(filepath.Join(dir, UnprotectedFile))
}

// checkFolder refuses a folder that others than its owner can reach.
func checkFolder(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%q is not a folder", dir)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("folder %q has mode %04o, want 0700: %w", dir, st.Mode().Perm(), ErrPermissions)
	}
	return nil
}

// readPrivate reads a file that only its owner can reach.
func readPrivate(path string) ([]byte, error) {
	// Before opening: opening a pipe would wait for its other end.
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("file %q has mode %04o, want 0600: %w", path, st.Mode().Perm(), ErrPermissions)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("file %q is larger than %d bytes", path, maxFile)
	}
	return b, nil
}
