package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/api"
)

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
