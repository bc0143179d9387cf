package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/daemon"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// enroll makes the host ready to hold a node: binary in cosmovisor's layout, home made by the daemon's own init,
// keys born and backed up. Every part may be done again after a crash; the record that says "enrolled" is last.
func (f Folder) enroll(ctx context.Context, r api.EnrollRequest) (*host, error) {
	if err := r.Valid(); err != nil {
		return nil, err
	}
	identity, err := f.loadIdentity()
	if err != nil {
		return nil, err
	}
	if f.onVolume() {
		if err := f.dropPrograms(); err != nil {
			return nil, err
		}
	}
	binary, err := f.installBinary(r)
	if err != nil {
		return nil, err
	}
	if err := f.initHome(ctx, binary, r); err != nil {
		return nil, err
	}
	out := api.Enrolled{Name: r.Name, Identity: identity.Public().(ed25519.PublicKey)}
	err = f.asNode(func() error {
		out.NodeID, err = comet.ReadNodeID(filepath.Join(f.Home(), "config", "node_key.json"))
		return err
	})
	if err != nil {
		return nil, err
	}
	if !holdsConsensusKey(roster.Role(r.Role)) {
		if err := f.holdsNone(r); err != nil {
			return nil, err
		}
	} else {
		if out.Consensus, out.Backup, err = f.bearConsensusKey(r); err != nil {
			return nil, err
		}
	}
	place, err := signing.PlaceOf(string(f))
	if err != nil {
		return nil, err
	}
	h := &host{Enrollment: r, Enrolled: out, Place: place, At: time.Now()}
	if err := f.bearMeshKeys(h, r); err != nil {
		return nil, err
	}
	return h, writeJSON(f.record(), h)
}

// adapt changes what may change of a host that is enrolled: its place in the mesh.
func (f Folder) adapt(known *host, r api.EnrollRequest) (*host, error) {
	h := *known
	if err := f.bearMeshKeys(&h, r); err != nil {
		return nil, err
	}
	if reflect.DeepEqual(h, *known) {
		return known, nil
	}
	return &h, writeJSON(f.record(), h)
}

// holdsConsensusKey says whether a host of this role is born with a consensus key.
func holdsConsensusKey(r roster.Role) bool {
	return r == roster.RoleValidator || r == roster.RoleGenesisValidator
}

// holdsNone refuses to make a host that is open to the world of one on which a consensus key is.
func (f Folder) holdsNone(r api.EnrollRequest) error {
	st, err := f.loadSigning()
	if err == nil && st.State != signing.None {
		err = fmt.Errorf("a consensus key is here, of the address %s: this cannot be a %s", signing.Address(st.PublicKey), r.Role)
	}
	return err
}

// installBinary puts the daemon where cosmovisor looks for it, as a link to the same file where that is possible. As long
// as the host is not enrolled it is the one that runs, whatever lies there; later a person may have put another one beside.
func (f Folder) installBinary(r api.EnrollRequest) (string, error) {
	dir := filepath.Join(f.Home(), "cosmovisor", "genesis", "bin")
	to := filepath.Join(dir, r.Daemon)
	known, err := f.loadHost()
	if err != nil {
		return "", err
	}
	return to, f.asNode(func() error {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := atomicfile.Link(r.Binary, to, r.BinaryHash, 0o700); err != nil {
			return fmt.Errorf("install daemon %q: %w", r.Daemon, err)
		}
		current := filepath.Join(f.Home(), "cosmovisor", "current")
		if known == nil {
			if err := os.RemoveAll(current); err != nil {
				return err
			}
		} else if _, err := os.Lstat(current); err == nil {
			return nil
		}
		if err := os.Symlink("genesis", current); err != nil {
			return err
		}
		return atomicfile.SyncFolder(filepath.Dir(current))
	})
}

// initHome lets the daemon make its home in a folder of its own and moves the parts into place, so that a home is
// either not there or whole. A home that was not made so is refused: the key in it would be taken for one that never
// signed.
func (f Folder) initHome(ctx context.Context, binary string, r api.EnrollRequest) error {
	switch there, ours, err := f.homeHere(); {
	case err != nil:
		return err
	case there && ours:
		return nil
	case there && f.onVolume():
		return f.takeOver(ctx, binary, r)
	case there:
		return fmt.Errorf("home %q was not made here, and a key in it may be signing elsewhere: remove it, and bring the key with 'pressenter key restore'", f.Home())
	}
	making, err := f.makeHome(ctx, binary, r)
	if err != nil {
		return err
	}
	place, err := f.placeOf(filepath.Join(making, "data"))
	if err != nil {
		return err
	}
	if err := writeJSON(f.made(), place); err != nil {
		return err
	}
	return f.asNode(func() error { return f.moveIn(making) })
}

// homeHere says whether there is a home, and whether it was made, or taken over, by this very host.
func (f Folder) homeHere() (there, ours bool, err error) {
	place, err := f.placeOf(filepath.Join(f.Home(), "data"))
	if err != nil {
		return false, false, ignoreMissing(err)
	}
	var made signing.Place
	err = readJSON(f.made(), &made) // one that cannot be read says nothing
	return true, err == nil && made == place, nil
}

// NoteHome notes that the home at a path was brought here by somebody who took the consensus key out of it, and knows of
// nobody else who has one: it counts as made here.
func (f Folder) NoteHome(home string) error {
	key := filepath.Join(home, "config", "priv_validator_key.json")
	if _, err := os.Lstat(key); !errors.Is(err, fs.ErrNotExist) { // it would be taken for one that never signed
		return errors.Join(fmt.Errorf("home %q has a consensus key in it", home), err)
	}
	place, err := signing.PlaceOf(filepath.Join(home, "data"))
	if err != nil {
		return err
	}
	return writeJSON(f.made(), place)
}

// makeHome lets the daemon make a home beside what will be moved into place: a volume has the home, and nothing is moved
// from one file system to another.
func (f Folder) makeHome(ctx context.Context, binary string, r api.EnrollRequest) (making string, err error) {
	making = filepath.Join(f.Home(), "home.new")
	if err := f.asNode(func() error { return os.RemoveAll(making) }); err != nil {
		return "", err
	}
	user, err := f.owner(f.node())
	if err != nil {
		return "", err
	}
	init := daemon.Command{Binary: binary, Home: making, User: user.Credential()}
	_, err = init.Run(ctx, "init", r.Moniker, "--chain-id", r.ChainID)
	return making, err
}

// placeOf is where a part of the node's folder is.
func (f Folder) placeOf(path string) (place signing.Place, err error) {
	err = f.asNode(func() error { place, err = signing.PlaceOf(path); return err })
	return place, err
}

// moveIn makes what init has made the home.
func (f Folder) moveIn(making string) error {
	// Until a genesis is installed there is none: the one that init makes is nobody's.
	if err := os.Remove(filepath.Join(making, "config", "genesis.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, part := range []string{"config", "data"} { // data last: it says that the home is whole
		to := filepath.Join(f.Home(), part)
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(making, part), to); err != nil {
			return err
		}
	}
	return os.RemoveAll(making)
}

// bearConsensusKey takes the key that init made into the signing folder, armed because it never signed, and seals
// a backup of it.
func (f Folder) bearConsensusKey(r api.EnrollRequest) (pub, backup []byte, err error) {
	var status signing.Status
	var key []byte
	err = f.asNode(func() error {
		if err := f.Signing().TakeBorn(filepath.Join(f.Home(), "config", "priv_validator_key.json")); err != nil {
			return err
		}
		if status, err = f.Signing().Load(); err != nil {
			return err
		}
		key, err = atomicfile.Read(filepath.Join(f.Signing().Dir, signing.KeyFile), 64<<10)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	// Anew, whatever is there: it may be sealed to somebody who is no operator of this deployment any more.
	backup, err = keyring.SealBackup(r.BackupTo, keyring.Backup{
		Deployment: r.Deployment, Host: r.Name, PubKey: status.PublicKey, Created: time.Now().UTC(), KeyFile: keyring.NewSecret(key),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("back up consensus key: %w", err)
	}
	if err := atomicfile.Write(f.backup(), backup, 0o600); err != nil {
		return nil, nil, err
	}
	return status.PublicKey, backup, nil
}
