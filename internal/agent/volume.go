package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/machine"
)

// onVolume says whether the home is on a volume, which may have been another server's.
func (f Folder) onVolume() bool { return machine.Is(string(f)) && machine.IsMount(f.Home()) }

// dropPrograms removes what programs a volume brought from another server: a daemon that somebody took over there could
// have left one that would run beside the consensus key here. Interrupted, it is done again, as the home is not noted as
// ours before its end; whatever was removed stays removed when the power fails after that.
func (f Folder) dropPrograms() error {
	if _, ours, err := f.homeHere(); err != nil || ours {
		return err
	}
	return f.asNode(func() error {
		if err := os.RemoveAll(filepath.Join(f.Home(), "cosmovisor")); err != nil {
			return err
		}
		return atomicfile.SyncFolder(f.Home())
	})
}

// takeOver makes a home of the volume that another server had: the chain's data stays, and everything that said who the
// former node was is made anew. Keys are nobody's to inherit: what signs was never on the volume, and whatever lies where
// init puts a key is removed unread.
func (f Folder) takeOver(ctx context.Context, binary string, r api.EnrollRequest) error {
	making, err := f.makeHome(ctx, binary, r)
	if err != nil {
		return err
	}
	place, err := f.placeOf(filepath.Join(f.Home(), "data"))
	if err != nil {
		return err
	}
	err = f.asNode(func() error {
		if err := os.Remove(filepath.Join(making, "config", "genesis.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(filepath.Join(f.Home(), "config")); err != nil {
			return err
		}
		const state = "priv_validator_state.json" // of a key that was never here; a daemon without one does not start
		if err := os.Rename(filepath.Join(making, "data", state), filepath.Join(f.Home(), "data", state)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(filepath.Join(making, "config"), filepath.Join(f.Home(), "config")); err != nil {
			return err
		}
		return os.RemoveAll(making)
	})
	if err != nil {
		return err
	}
	return writeJSON(f.made(), place) // last: interrupted, all of it is done again
}
