package takeover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/signing"
)

// Files of a daemon's home, at the places where CometBFT puts them.
const (
	keyFile   = "config/priv_validator_key.json"
	stateFile = "data/priv_validator_state.json"
	maxFile   = 64 << 10
)

func (t *Taker) signing() signing.Folder { return signing.Folder{Dir: t.path("node", "signing")} }

// moveKey puts the consensus key into the signing folder, disarmed, and then takes it out of the home. For a moment both
// have it: the old unit is masked, and what lies in the signing folder is not armed.
func (t *Taker) moveKey(o Order) error {
	from := filepath.Join(o.Home, keyFile)
	if _, err := os.Lstat(o.Home); errors.Is(err, fs.ErrNotExist) {
		from = filepath.Join(t.newHome(), keyFile)
	}
	key, err := atomicfile.Read(from, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return t.keyMoved(o)
	}
	if err != nil {
		return err
	}
	defer clear(key)
	pub, err := signing.PublicKey(key)
	if err != nil {
		return err
	}
	if !bytes.Equal(pub, o.PubKey) {
		return fmt.Errorf("%s has another key, of the address %s: nothing was changed", from, signing.Address(pub))
	}
	state, err := signing.ReadState(filepath.Join(filepath.Dir(filepath.Dir(from)), stateFile))
	if err != nil {
		return fmt.Errorf("how far it has signed is not known: %w", err)
	}
	if err := t.change("key"); err != nil {
		return err
	}
	if err := t.signing().Restore(key, max(state.Height, o.Mark), nil); err != nil {
		return err
	}
	if err := t.keyMoved(o); err != nil {
		return err
	}
	if err := t.change("remove key"); err != nil {
		return err
	}
	if err := os.Remove(from); err != nil {
		return err
	}
	return atomicfile.SyncFolder(filepath.Dir(from))
}

// keyMoved says whether the signing folder has the key, and is not allowed to sign with it.
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
	return nil
}

// programs is where cosmovisor has the daemon's programs in a home. Ours go there, too.
const programs = "cosmovisor"

// moveHome makes the daemon's home this host's.
func (t *Taker) moveHome(o Order) error {
	to := t.newHome()
	_, oldErr := os.Lstat(o.Home)
	_, newErr := os.Lstat(to)
	switch {
	case oldErr == nil && errors.Is(newErr, fs.ErrNotExist):
		if err := t.change("home"); err != nil {
			return err
		}
		if err := os.Rename(o.Home, to); err != nil {
			return err
		}
	case oldErr == nil:
		return fmt.Errorf("there are both %s and %s", o.Home, to)
	case newErr != nil:
		return fmt.Errorf("there is neither %s nor %s", o.Home, to)
	}
	// After a crash too: it may have come between the two.
	if err := errors.Join(atomicfile.SyncFolder(filepath.Dir(to)), atomicfile.SyncFolder(filepath.Dir(o.Home))); err != nil {
		return err
	}
	if err := t.putAside(filepath.Join(to, programs)); err != nil {
		return err
	}
	if err := t.change("own"); err != nil {
		return err
	}
	if err := errors.Join(t.Own(t.signing().Dir), t.Own(to)); err != nil {
		return err
	}
	if err := t.change("note home"); err != nil {
		return err
	}
	return t.Noted(to)
}

// putAside keeps programs that somebody left where ours will be.
func (t *Taker) putAside(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := t.change("programs"); err != nil {
		return err
	}
	return atomicfile.Rename(path, path+asideSuffix)
}

// check says what a takeover would fail of. It changes nothing.
func (t *Taker) check(ctx context.Context, o Order) error {
	u, err := t.System.Show(ctx, o.Unit)
	switch {
	case err != nil:
		return err
	case u.Load != "loaded":
		return fmt.Errorf("%s is %s", o.Unit, u.Load)
	case strings.HasPrefix(u.Fragment, "/run/"):
		return fmt.Errorf("%s is in %s: a mask does not hold against it", o.Unit, u.Fragment)
	}
	if to, err := os.Readlink(filepath.Join(t.Units, o.Unit)); err == nil { // disabling takes such a link away, and undo could not bring it back
		return fmt.Errorf("the file of %s is a link to %s: copy it to its place, and run 'systemctl daemon-reload'", o.Unit, to)
	}
	if _, err := os.Lstat(filepath.Join(t.Units, o.Unit+asideSuffix)); err == nil {
		return fmt.Errorf("there is %s already: look at it, and remove it", filepath.Join(t.Units, o.Unit+asideSuffix))
	}
	if err := t.checkHome(o.Home); err != nil {
		return err
	}
	key, err := atomicfile.Read(filepath.Join(o.Home, keyFile), maxFile)
	if err != nil {
		return err
	}
	defer clear(key)
	if pub, err := signing.PublicKey(key); err != nil {
		return err
	} else if !bytes.Equal(pub, o.PubKey) {
		return fmt.Errorf("the key in %s has the address %s, which is not what was seen", o.Home, signing.Address(pub))
	}
	if _, err := signing.ReadState(filepath.Join(o.Home, stateFile)); err != nil {
		return err
	}
	for _, path := range []string{t.newHome(), t.signing().Dir} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is %s already", path)
		}
	}
	return nil
}

// checkHome says whether the home can be moved by a single rename.
func (t *Taker) checkHome(home string) error {
	if real, err := filepath.EvalSymlinks(home); err != nil || real != home {
		return errors.Join(fmt.Errorf("%s is %s", home, real), err)
	}
	at := filepath.Dir(t.Root)
	want, err := deviceOf(at)
	if err != nil {
		return err
	}
	for _, path := range []string{home, filepath.Join(home, "config"), filepath.Join(home, "data")} {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		device, err := deviceOf(path)
		if err != nil {
			return err
		}
		if !info.IsDir() || device != want {
			return fmt.Errorf("%s is not a folder on the file system of %s: moving a home between two is not in this version", path, at)
		}
	}
	return nil
}
