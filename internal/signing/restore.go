package signing

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Restore puts a key that came from elsewhere into the folder, disarmed. floor is the highest height that it is
// known to have signed, 0 when that is not known; what this folder knows of the key, even if it was set aside long ago,
// counts as well. assigned is the deployment's consensus key: an armed key is replaced only if it is another one, with
// which no daemon was ever allowed to sign; it is kept aside.
func (f Folder) Restore(key []byte, floor int64, assigned ed25519.PublicKey) error {
	pub, err := PublicKey(key)
	if err != nil {
		return err
	}
	if floor < 0 {
		return fmt.Errorf("high-water mark %d: a height is not negative", floor)
	}
	now, err := f.Load()
	if err != nil {
		return err
	}
	switch {
	case now.State == Armed && now.PublicKey.Equal(pub):
		return errors.New("this very key is here and armed; there is nothing to restore")
	case now.State == Armed && (len(assigned) == 0 || now.PublicKey.Equal(assigned)):
		return errors.New("this host's consensus key is armed and in use; it is never replaced")
	}
	if _, err := f.make(); err != nil {
		return err
	}
	known, err := f.known(pub, floor > 0)
	if err != nil {
		return err
	}
	rec := record{
		State: Disarmed, Reason: "restored: its silence is not proven yet; run 'pressenter key arm'",
		PublicKey: pub, Floor: max(floor, known), Source: "restored",
	}
	if err := f.makeRoom(pub); err != nil {
		return err
	}
	if err := f.write(rec); err != nil {
		return err
	}
	if err := f.keepFloor(rec.Floor); err != nil {
		return err
	}
	return f.replace(KeyFile, key)
}

// keepFloor writes the mark as a sign state, too: whoever takes the host away keeps that file of it.
func (f Folder) keepFloor(floor int64) error {
	state, err := ReadState(f.path(StateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !state.Before(stateAt(floor)) {
		return nil
	}
	return f.replace(StateFile, stateAt(floor).encode())
}

// known is the highest height that anything in the folder says of a key: its record, its sign state, and what was set
// aside. A sign state that cannot be read is an error unless a person has told the mark.
func (f Folder) known(pub ed25519.PublicKey, told bool) (int64, error) {
	aside, err := filepath.Glob(f.path("aside-" + Address(pub) + "*"))
	if err != nil {
		return 0, err
	}
	var top int64
	for _, dir := range append(aside, f.Dir) {
		in := Folder{Dir: dir}
		rec, err := in.read()
		if err == nil && pub.Equal(ed25519.PublicKey(rec.PublicKey)) {
			top = max(top, rec.Floor)
		}
		if dir == f.Dir && !f.stateIsOf(pub) {
			continue
		}
		state, err := ReadState(in.path(StateFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !told {
			return 0, fmt.Errorf("restore consensus key: %w; say how far it has signed with its high-water mark", err)
		}
		top = max(top, state.Height)
	}
	return top, nil
}

// stateIsOf says whether the sign state in the folder belongs to a key: by the record, or without one by the key file.
// A state that is all that is left is anybody's.
func (f Folder) stateIsOf(pub ed25519.PublicKey) bool {
	if rec, err := f.read(); err == nil {
		return pub.Equal(ed25519.PublicKey(rec.PublicKey))
	}
	here, err := f.keyHere()
	return errors.Is(err, fs.ErrNotExist) || err == nil && here.Equal(pub)
}

// makeRoom sets aside what is here of other keys than pub, each under its own name and never over anything, and a sign
// state of pub that cannot be read.
func (f Folder) makeRoom(pub ed25519.PublicKey) error {
	rec, recErr := f.read()
	here, _ := f.keyHere() // nil when there is none, or none that can be read
	var err error
	switch _, stateErr := ReadState(f.path(StateFile)); {
	case f.stateIsOf(pub):
		if stateErr != nil && !errors.Is(stateErr, fs.ErrNotExist) {
			err = f.setAside("damaged", StateFile)
		}
	case recErr == nil && !here.Equal(ed25519.PublicKey(rec.PublicKey)):
		err = f.setAside(Address(rec.PublicKey), armingFile, StateFile)
	default: // the state before the key: alone it would be taken for anybody's
		err = f.setAside(ownerOf(here), armingFile, StateFile, KeyFile)
	}
	if err != nil || here.Equal(pub) {
		return err
	}
	if _, err := os.Lstat(f.path(KeyFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.setAside(ownerOf(here), KeyFile)
}

func ownerOf(key ed25519.PublicKey) string {
	if key == nil {
		return "unreadable"
	}
	return Address(key)
}

// setAside moves files into a new folder that bears the owner's name.
func (f Folder) setAside(owner string, names ...string) error {
	to := f.path("aside-" + owner)
	for n := 2; ; n++ {
		err := os.Mkdir(to, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		to = f.path("aside-" + owner + "-" + strconv.Itoa(n))
	}
	for _, name := range names {
		if err := f.rename(f.path(name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
