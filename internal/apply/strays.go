package apply

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// adoptStrays takes hosts that are there and that the inventory does not name into it, by what they know of
// themselves: an inventory that was lost or is older must not make a host invisible.
func adoptStrays(dir deployment.Dir, inv *deployment.Inventory) error {
	folders, err := filepath.Glob(filepath.Join(dir.Hosts(), "*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if _, known := inv.Host(filepath.Base(folder)); known {
			continue
		}
		e, enrolled, err := agent.Folder(folder).Enrollment()
		if err != nil {
			return fmt.Errorf("look at host %q, which the inventory does not name: %w", folder, err)
		}
		if !enrolled {
			continue
		}
		inv.Put(deployment.Host{Name: e.Name, Role: roster.Role(e.Role), Folder: folder, Listen: e.Listen})
		if inv.Deployment == "" {
			inv.Deployment, inv.ChainID = e.Deployment, e.ChainID
			inv.Daemon = deployment.Daemon{Name: e.Daemon, Path: e.Binary, SHA256: e.BinaryHash}
		}
	}
	return nil
}

// removeEmpty removes a folder and its subfolders as far as they are empty. What is not says that something is left
// that nobody told us to delete.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%q still holds %q, which is no host of this deployment; nothing more was deleted", dir, entries[0].Name())
	}
	return os.Remove(dir)
}
