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
	"math"
	"os"
	"path/filepath"
	"strconv"

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
	// LastHeight is the height in the sign state file.
	LastHeight int64
}

// Load reads the decision and checks that it still holds: that the key file is the one that was armed, that the
// sign state is there and not below its floor, and that the folder is where it was armed. A key that fails any of
// these is disarmed; the reason says what to do.
func (f Folder) Load() (Status, error) {
	rec, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.path(KeyFile)); err == nil {
			return Status{State: Disarmed, Reason: "a consensus key is here without a record of how it came; restore it with 'pressenter key restore'"}, nil
		}
		return Status{State: None}, nil
	}
	if err != nil {
		return Status{}, err
	}
	s := Status{State: rec.State, Reason: rec.Reason, PublicKey: rec.PublicKey, Floor: rec.Floor}
	state, stateErr := ReadState(f.path(StateFile))
	if stateErr == nil {
		s.LastHeight = state.Height
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
	key, err := os.ReadFile(f.path(KeyFile))
	if err != nil {
		return fmt.Sprintf("the key file cannot be read: %v", err)
	}
	pub, err := PublicKey(key)
	if err != nil {
		return err.Error()
	}
	if !pub.Equal(ed25519.PublicKey(rec.PublicKey)) {
		return "the key file holds another key than the one that was armed"
	}
	if stateErr != nil {
		return fmt.Sprintf("the sign state cannot be read: %v; restore the key with its high-water mark and arm it again", stateErr)
	}
	if state.Height < rec.Floor {
		return fmt.Sprintf("the sign state is at height %d, below the floor %d: it was rolled back; arm the key again", state.Height, rec.Floor)
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
	case err != nil:
		if _, err := os.Stat(f.path(KeyFile)); err == nil {
			return fmt.Errorf("consensus key in %q: there is a key without a record; nothing was changed", f.Dir)
		}
		key, err := os.ReadFile(initKey)
		if err != nil {
			return fmt.Errorf("read key made by init: %w", err)
		}
		pub, err := PublicKey(key)
		if err != nil {
			return err
		}
		rec = record{State: born, Reason: "being born", PublicKey: pub, Source: "born"}
		if err := f.write(rec); err != nil {
			return err
		}
	}
	if err := f.rename(initKey, f.path(KeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("move consensus key: %w", err)
	}
	return f.arm(rec, 0, nil, "born on this host")
}

// Restore puts a key that came from elsewhere into the folder, disarmed. floor is the highest height that it is
// known to have signed, 0 when that is not known. assigned is the deployment's consensus key: an armed key is replaced
// only if it is another one, with which no daemon was ever allowed to sign; it is kept aside.
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
	case now.PublicKey.Equal(pub):
		floor = max(floor, now.Floor, now.LastHeight) // the mark never falls
		if now.State == Armed {
			return errors.New("this very key is here and armed; there is nothing to restore")
		}
	case now.State == Armed && (len(assigned) == 0 || now.PublicKey.Equal(assigned)):
		return errors.New("this host's consensus key is armed and in use; it is never replaced")
	case now.State != None:
		if err := f.setAside(now.PublicKey); err != nil {
			return err
		}
	}
	rec := record{State: Disarmed, Reason: "restored: its silence is not proven yet; run 'pressenter key arm'", PublicKey: pub, Floor: floor, Source: "restored"}
	if err := f.write(rec); err != nil {
		return err
	}
	return f.replace(KeyFile, key)
}

// setAside keeps the key that is here, with its sign state, under a name of its own.
func (f Folder) setAside(pub ed25519.PublicKey) error {
	to := f.path("aside-" + Address(pub))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, name := range []string{armingFile, StateFile, KeyFile} {
		if err := f.rename(f.path(name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Arm lets the key sign if proof is sufficient. The sign state is set to the end of the watch before the record
// says armed, so that a crash between the two leaves the key disarmed.
func (f Folder) Arm(proof Proof) error {
	rec, err := f.read()
	if err != nil {
		return fmt.Errorf("arm consensus key: %w", err)
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

func (f Folder) arm(rec record, floor int64, proof *Proof, reason string) error {
	place, err := PlaceOf(f.Dir)
	if err != nil {
		return err
	}
	state := State{}
	if floor > 0 {
		// The highest round and the last step: nothing at the floor itself can be signed either.
		state = State{Height: floor, Round: math.MaxInt32, Step: 3}
	}
	if err := f.replace(StateFile, state.encode()); err != nil {
		return err
	}
	rec.State, rec.Reason, rec.Place, rec.Floor, rec.Proof = Armed, reason, place, floor, proof
	return f.write(rec)
}

func (f Folder) path(name string) string { return filepath.Join(f.Dir, name) }

func (f Folder) read() (record, error) {
	var rec record
	b, err := os.ReadFile(f.path(armingFile))
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
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return f.replace(armingFile, b)
}

func (f Folder) crash() error {
	if f.before == nil {
		return nil
	}
	return f.before()
}

func (f Folder) replace(name string, b []byte) error {
	if err := f.crash(); err != nil {
		return err
	}
	return atomicfile.Write(f.path(name), b, 0o600)
}

func (f Folder) rename(from, to string) error {
	if err := f.crash(); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// State is CometBFT's priv_validator_state.json, as far as we write and compare it
// (cometbft/privval/file.go, FilePVLastSignState).
type State struct {
	Height int64
	Round  int32
	Step   int8
}

// ReadState reads a priv_validator_state.json.
func ReadState(path string) (State, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return State{}, err
	}
	return ParseState(b)
}

// ParseState reads the bytes of a priv_validator_state.json, whose height is text in every line of CometBFT.
func ParseState(b []byte) (State, error) {
	var v struct {
		Height *string `json:"height"`
		Round  int32   `json:"round"`
		Step   int8    `json:"step"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return State{}, fmt.Errorf("read sign state: %w", err)
	}
	if v.Height == nil {
		return State{}, errors.New("read sign state: it has no height")
	}
	h, err := strconv.ParseInt(*v.Height, 10, 64)
	if err != nil || h < 0 {
		return State{}, fmt.Errorf("read sign state: height %q is not a height", *v.Height)
	}
	return State{Height: h, Round: v.Round, Step: v.Step}, nil
}

func (s State) encode() []byte {
	return fmt.Appendf(nil, "{\n  \"height\": %q,\n  \"round\": %d,\n  \"step\": %d\n}\n", strconv.FormatInt(s.Height, 10), s.Round, s.Step)
}
