// Package signing decides whether a host may sign with the deployment's consensus key, and keeps that decision.
//
// A host's consensus key lies in a folder of its own, outside the daemon's home, with its sign state and a record
// that says whether the key is armed. The daemon is pointed at the key only while it is armed; otherwise it runs
// with a throw-away key that nobody knows, and cannot sign for the validator whatever else goes wrong.
//
// A key is armed in two cases only: it was born on this very host and never signed, or it came from elsewhere and
// this host has watched the chain for [SilentBlocks] blocks in which nobody signed with it. In the second case the
// sign state starts at the height at which the watch ended, so nothing at or below it can ever be signed here.
//
// This is the seam that threshold cosigners fill later: what the rest of the product asks is [Folder.Load].
package signing

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// Files of a signing folder. The key and state files have CometBFT's own format.
const (
	KeyFile    = "consensus_key.json"
	StateFile  = "consensus_state.json"
	armingFile = "arming.json"
)

// States of a consensus key on a host.
const (
	None     = "none"     // no consensus key here
	Disarmed = "disarmed" // a key is here and must not sign
	Armed    = "armed"    // the key may sign
)

// born marks a key that init has just made and that has not been armed yet: no daemon ever ran with it.
const born = "born"

// Folder is a host's signing folder. Only one agent, which holds the host's lock, may change it.
type Folder struct {
	Dir string
	// before is called before every change on disk, by tests that enumerate crashes; nil otherwise.
	before func() error
}

// record is the durable decision.
type record struct {
	State     string `json:"state"`
	Reason    string `json:"reason"`
	PublicKey []byte `json:"public_key"`
	Place     Place  `json:"place"`
	Floor     int64  `json:"floor"` // nothing at or below this height may be signed
	Proof     *Proof `json:"proof,omitempty"`
	Source    string `json:"source"` // "born" or "restored"
}

// Status is what the rest of the host may know of the key.
type Status struct {
	State     string
	Reason    string
	PublicKey ed25519.PublicKey
	// Floor is the height up to which nothing may be signed, as known when the key came.
	Floor int64
	// LastHeight, LastRound and LastStep are what the sign state file says.
	LastHeight int64
	LastRound  int32
	LastStep   int8
}

// Last is the sign state file.
func (s Status) Last() State {
	return State{Height: s.LastHeight, Round: s.LastRound, Step: s.LastStep}
}

// Load reads the decision and checks that it still holds: that the key file is the one that was armed, that the
// sign state is there and not below its floor, and that the folder is where it was armed. A key that fails any of
// these is disarmed; the reason says what to do.
func (f Folder) Load() (Status, error) {
	rec, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		pub, err := f.keyHere()
		if errors.Is(err, fs.ErrNotExist) {
			return Status{State: None}, nil
		}
		return Status{State: Disarmed, PublicKey: pub, Reason: "a consensus key is here without a record of how it came; restore it with 'pressenter key restore'"}, nil
	}
	if err != nil {
		return Status{}, err
	}
	s := Status{State: rec.State, Reason: rec.Reason, PublicKey: rec.PublicKey, Floor: rec.Floor}
	state, stateErr := ReadState(f.path(StateFile))
	if stateErr == nil {
		s.LastHeight, s.LastRound, s.LastStep = state.Height, state.Round, state.Step
	}
	if rec.State != Armed {
		s.State = Disarmed
		return s, nil
	}
	if reason := f.distrust(rec, state, stateErr); reason != "" {
		s.State, s.Reason = Disarmed, reason
	}
	return s, nil
}

// distrust returns why an armed record may not be believed, or "".
func (f Folder) distrust(rec record, state State, stateErr error) string {
	pub, err := f.keyHere()
	if err != nil {
		return fmt.Sprintf("the key file cannot be read: %v", err)
	}
	if !pub.Equal(ed25519.PublicKey(rec.PublicKey)) {
		return "the key file holds another key than the one that was armed"
	}
	if stateErr != nil {
		return fmt.Sprintf("the sign state cannot be read: %v; restore the key with its high-water mark and arm it again", stateErr)
	}
	if state.Before(stateAt(rec.Floor)) {
		return fmt.Sprintf("the sign state is at height %d, round %d, step %d, below the floor %d: it was rolled back; arm the key again", state.Height, state.Round, state.Step, rec.Floor)
	}
	place, err := PlaceOf(f.Dir)
	if err != nil {
		return err.Error()
	}
	if place != rec.Place {
		return "this folder was copied or restored: the key may still be signing where it came from; stop that for good, then run 'pressenter key arm'"
	}
	return ""
}

// TakeBorn moves the key that the daemon's init just wrote at initKey into the folder and arms it: it was born
// here and no daemon ever ran with it. It may be called again after a crash at any point.
func (f Folder) TakeBorn(initKey string) error {
	rec, err := f.read()
	switch {
	case err == nil && rec.State != born:
		return nil // armed or disarmed before; never decided again here
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	recorded := err == nil
	place, err := f.make()
	if err != nil {
		return err
	}
	if recorded && rec.Place != place {
		return fmt.Errorf("consensus key in %q: this folder is a copy of one in which a key was being born", f.Dir)
	}
	if state, err := ReadState(f.path(StateFile)); err == nil && state.Height > 0 {
		return fmt.Errorf("consensus key in %q: its sign state is at height %d, so it was not born just now", f.Dir, state.Height)
	}
	pub, err := f.keyHere()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		rec, err = f.bear(initKey, place)
	case err == nil && !recorded:
		err = fmt.Errorf("consensus key in %q: there is a key without a record; nothing was changed", f.Dir)
	case err == nil && !pub.Equal(ed25519.PublicKey(rec.PublicKey)):
		err = fmt.Errorf("consensus key in %q: it is another one than was being born; nothing was changed", f.Dir)
	case err == nil: // a move between two file systems may have been cut short, with the key at both ends
		err = discard(initKey)
	}
	if err != nil {
		return err
	}
	return f.arm(rec, 0, nil, "born on this host")
}

// bear notes the key at initKey as being born and then moves it here. What an interrupted birth noted of another key
// is forgotten: that one was lost before anybody could use it.
func (f Folder) bear(initKey string, place Place) (record, error) {
	key, err := atomicfile.Read(initKey, maxFile)
	if err != nil {
		return record{}, fmt.Errorf("read key made by init: %w", err)
	}
	pub, err := PublicKey(key)
	if err != nil {
		return record{}, err
	}
	rec := record{State: born, Reason: "being born", PublicKey: pub, Place: place, Source: "born"}
	if err := f.write(rec); err != nil {
		return record{}, err
	}
	if err := makePrivate(initKey); err != nil {
		return record{}, fmt.Errorf("protect consensus key: %w", err)
	}
	if err := f.rename(initKey, f.path(KeyFile)); err != nil {
		return record{}, fmt.Errorf("move consensus key: %w", err)
	}
	return rec, nil
}

// Arm lets the key sign if proof is sufficient. The sign state is set to the end of the watch before the record
// says armed, so that a crash between the two leaves the key disarmed.
func (f Folder) Arm(proof Proof) error {
	now, err := f.Load()
	if err != nil {
		return fmt.Errorf("arm consensus key: %w", err)
	}
	if now.State == Armed {
		return errors.New("arm consensus key: it is armed already")
	}
	rec, err := f.read()
	if err != nil {
		return fmt.Errorf("arm consensus key: %w", err)
	}
	if rec.State == born {
		return errors.New("arm consensus key: it is being born; let the host be enrolled")
	}
	pub, err := f.keyHere()
	if err != nil {
		return fmt.Errorf("arm consensus key: %w", err)
	}
	if !pub.Equal(ed25519.PublicKey(rec.PublicKey)) {
		return errors.New("arm consensus key: the key file holds another key than the record")
	}
	state, err := ReadState(f.path(StateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("arm consensus key: %w", err)
	}
	floor, err := Floor(max(rec.Floor, state.Height), proof)
	if err != nil {
		return err
	}
	return f.arm(rec, floor, &proof, "silence proven by watching the chain")
}

// Disarm notes why an armed key must not sign until it is armed again.
func (f Folder) Disarm(reason string) error {
	rec, err := f.read()
	if err != nil {
		return fmt.Errorf("disarm consensus key: %w", err)
	}
	if rec.State != Armed {
		return nil
	}
	rec.State, rec.Reason = Disarmed, reason
	return f.write(rec)
}

func (f Folder) arm(rec record, floor int64, proof *Proof, reason string) error {
	place, err := PlaceOf(f.Dir)
	if err != nil {
		return err
	}
	if err := f.replace(StateFile, stateAt(floor).encode()); err != nil {
		return err
	}
	rec.State, rec.Reason, rec.Place, rec.Floor, rec.Proof = Armed, reason, place, floor, proof
	return f.write(rec)
}

func (f Folder) path(name string) string { return filepath.Join(f.Dir, name) }

func (f Folder) read() (record, error) {
	var rec record
	b, err := atomicfile.Read(f.path(armingFile), maxFile)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("read %q: %w", f.path(armingFile), err)
	}
	if len(rec.PublicKey) != ed25519.PublicKeySize {
		return rec, fmt.Errorf("read %q: the public key has %d bytes", f.path(armingFile), len(rec.PublicKey))
	}
	return rec, nil
}

func (f Folder) write(rec record) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return f.replace(armingFile, b)
}
