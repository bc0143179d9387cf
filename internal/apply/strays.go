package apply

import (
	"bytes"
	"context"
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

// recallServers takes servers of the config that are members of the roster, and that the inventory does not know, into it where
// they say that they are those members: an inventory that was lost or is older must not make a host invisible.
func (s *Session) recallServers(ctx context.Context) (recalled bool, err error) {
	head := s.own.rosters.State().Head
	if head == nil {
		return false, nil
	}
	for _, h := range s.want.Own.Hosts {
		was, known := s.own.inventory.Host(h.Name)
		m, member := head.Member(h.Name)
		if known && was.Exists() || !member || m.Role != h.Role || !h.OnMachine() || h.Bought() {
			continue
		}
		st, _ := s.Status(ctx, Target{s.own, h, false})
		if st.Enrolled != nil && bytes.Equal(st.Enrolled.Identity, m.Identity[:]) {
			h.Made, recalled = true, true
			s.own.inventory.Put(h)
		}
	}
	if recalled && len(s.locks) > 0 {
		err = s.remember(s.own, &s.want.Own, s.own.inventory.Hosts[0])
	}
	return recalled, err
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
