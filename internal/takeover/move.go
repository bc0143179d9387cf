package takeover

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/signing"
)

// Files of a daemon's home, at the places where CometBFT puts them.
const (
	keyFile   = "config/priv_validator_key.json"
	stateFile = "data/priv_validator_state.json"
	maxFile   = 64 << 10
)

func (t *Taker) signing() signing.Folder { return signing.Folder{Dir: t.path("node", "signing")} }

// where is the home. Once it is ours, whatever is made at its old place means nothing.
func (t *Taker) where(o Order) string {
	if there(t.newHome()) {
		return t.newHome()
	}
	return o.Home
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// moveHome gives the daemon's home its place with us, as it is. That can be undone.
func (t *Taker) moveHome(j *journal) error {
	old, to := j.Order.Home, t.newHome()
	j.Notes = nil
	switch {
	case !there(to) && !there(old):
		return fmt.Errorf("there is neither %s nor %s", old, to)
	case !there(to):
		if err := t.change("home"); err != nil {
			return err
		}
		return rename(old, to)
	case there(old):
		j.Notes = []string{fmt.Sprintf("there is %s again: somebody made it since; nothing of ours uses it", old)}
	}
	return errors.Join(atomicfile.SyncFolder(filepath.Dir(to)), ignoreMissing(atomicfile.SyncFolder(filepath.Dir(old))))
}

// homeBack undoes moveHome.
func (t *Taker) homeBack(o Order) error {
	if !there(t.newHome()) {
		return nil
	}
	if err := t.change("home back"); err != nil {
		return err
	}
	if err := removeEmpty(o.Home); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one is nobody's
		return fmt.Errorf("somebody made %s again; move that away, the home that was there is %s: %w", o.Home, t.newHome(), err)
	}
	return rename(t.newHome(), o.Home)
}

// rename moves a folder, durably. No link is followed on the way to either place: a daemon's user may own the folder that
// its home is in.
func rename(from, to string) error {
	a, err := openFolder(filepath.Dir(from))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := openFolder(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer b.Close()
	if there(to) { // rename(2) replaces an empty folder
		return fmt.Errorf("there is %s already", to)
	}
	if err := unix.Renameat(int(a.Fd()), filepath.Base(from), int(b.Fd()), filepath.Base(to)); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return errors.Join(b.Sync(), a.Sync())
}

// removeEmpty removes a folder that has nothing in it. No link is followed on the way to it.
func removeEmpty(path string) error {
	in, err := openFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer in.Close()
	return unix.Unlinkat(int(in.Fd()), filepath.Base(path), unix.AT_REMOVEDIR)
}

// openFolder opens a folder by its absolute path, if there is no link in that.
func openFolder(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at, err := unix.Open("/", flags, 0)
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if err != nil || name == "" {
			break
		}
		next := 0
		next, err = unix.Openat(at, name, flags, 0)
		_ = unix.Close(at)
		at = next
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(at), path), nil
}

// ready says what of a home that is with us already, and that nobody else has open, keeps it from being ours for ever. And
// it seals the key to the operator: it never is in one place only.
func (t *Taker) ready(o Order) error {
	home := t.newHome()
	if err := t.checkParts(home); err != nil {
		return err
	}
	key, _, err := readKey(home, o)
	if err != nil {
		return err
	}
	defer clear(key)
	if there(t.signing().Dir) {
		return fmt.Errorf("there is %s already", t.signing().Dir)
	}
	if err := mayOwn(home); err != nil {
		return err
	}
	if err := t.change("seal"); err != nil {
		return err
	}
	sealed, err := seal(o, key)
	if err != nil {
		return err
	}
	return atomicfile.Write(t.backup(), sealed, 0o600)
}

// mayOwn says whether all of a folder can be given to somebody else, which files that may not be changed (chattr(1)) cannot:
// it gives each to whom it belongs. Programs are left out: they lose setuid and capabilities by that, which no undo brings back.
func mayOwn(path string) error {
	return eachBelow(path, func(dir *os.Root, p string, info fs.FileInfo) error {
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.ErrUnsupported
		}
		return dir.Lchown(p, int(st.Uid), int(st.Gid))
	})
}

// eachBelow calls do for a folder and all that is in it. No link is followed, also none that somebody makes meanwhile.
func eachBelow(path string, do func(dir *os.Root, p string, info fs.FileInfo) error) error {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return fs.WalkDir(dir.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := do(dir, p, info); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}

func seal(o Order, key []byte) ([]byte, error) {
	sealed, err := keyring.SealBackup(o.BackupTo, keyring.Backup{
		Deployment: o.Deployment, Host: o.Host, PubKey: o.PubKey, Created: time.Now().UTC(), KeyFile: keyring.NewSecret(key),
	})
	if err != nil {
		return nil, fmt.Errorf("back up the consensus key: %w", err)
	}
	return sealed, nil
}

// mostAhead is how many blocks a sign state may be ahead of what the chain showed when the takeover was ordered. A mark that
// no chain reaches would keep the key from ever signing again.
const mostAhead = 100_000

// readKey reads the key of a home, and how far it has signed.
func readKey(home string, o Order) (key []byte, height int64, err error) {
	state, err := signing.ReadState(filepath.Join(home, stateFile))
	if err != nil {
		return nil, 0, fmt.Errorf("how far the key has signed is not known: %w", err)
	}
	if state.Height > o.Mark+mostAhead {
		return nil, 0, fmt.Errorf("%s says height %d, and the chain was at %d: the key could not sign before that", filepath.Join(home, stateFile), state.Height, o.Mark)
	}
	if key, err = atomicfile.Read(filepath.Join(home, keyFile), maxFile); err != nil {
		return nil, 0, err
	}
	pub, err := signing.PublicKey(key)
	if err == nil && !bytes.Equal(pub, o.PubKey) {
		err = fmt.Errorf("the key in %s has the address %s, which is not what was seen", home, signing.Address(pub))
	}
	if err != nil {
		clear(key)
		return nil, 0, err
	}
	return key, max(state.Height, o.Mark), nil
}

// moveKey puts the consensus key into the signing folder, disarmed, and then takes it out of the home. For a moment both
// have it: nobody runs on the home, and what lies in the signing folder is not armed.
func (t *Taker) moveKey(o Order) error {
	from := filepath.Join(t.newHome(), keyFile)
	if !there(from) {
		return t.keyMoved(o)
	}
	key, mark, err := readKey(t.newHome(), o)
	if err != nil {
		return err
	}
	defer clear(key)
	if err := t.change("key"); err != nil {
		return err
	}
	if err := t.signing().Restore(key, mark, nil); err != nil {
		return err
	}
	if err := t.keyMoved(o); err != nil {
		return err
	}
	if err := t.change("remove key"); err != nil {
		return err
	}
	home, err := os.OpenRoot(t.newHome()) // whoever still has a folder of it open makes no link of it that leads out
	if err != nil {
		return err
	}
	defer home.Close()
	if err := home.Remove(keyFile); err != nil {
		return err
	}
	config, err := home.Open(filepath.Dir(keyFile))
	if err != nil {
		return err
	}
	return errors.Join(config.Sync(), config.Close())
}

// keyMoved says whether the signing folder has the key, and is not allowed to sign with it, and the operator's is sealed.
func (t *Taker) keyMoved(o Order) error {
	st, err := t.signing().Load()
	if err != nil {
		return err
	}
	b, err := atomicfile.Read(filepath.Join(t.signing().Dir, signing.KeyFile), maxFile)
	if err != nil {
		return err
	}
	defer clear(b)
	pub, err := signing.PublicKey(b)
	if err != nil {
		return err
	}
	if st.State != signing.Disarmed || !bytes.Equal(pub, o.PubKey) || !bytes.Equal(st.PublicKey, o.PubKey) {
		return fmt.Errorf("the signing folder has a key that is %s, of the address %s", st.State, signing.Address(pub))
	}
	_, err = atomicfile.Read(t.backup(), maxFile)
	return err
}

// programs is where cosmovisor has the daemon's programs in a home. Ours go there, too.
const programs = "cosmovisor"

// settle makes the home one of this host's.
func (t *Taker) settle() error {
	if err := t.putAside(filepath.Join(t.newHome(), programs)); err != nil {
		return err
	}
	if err := t.change("own"); err != nil {
		return err
	}
	if err := errors.Join(t.Own(t.signing().Dir), t.Own(t.newHome())); err != nil {
		return err
	}
	if err := t.change("note home"); err != nil {
		return err
	}
	return t.Noted(t.newHome())
}

// putAside keeps programs that somebody left where ours will be.
func (t *Taker) putAside(path string) error {
	if !there(path) {
		return nil
	}
	if err := t.change("programs"); err != nil {
		return err
	}
	return atomicfile.Rename(path, asideOf(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
