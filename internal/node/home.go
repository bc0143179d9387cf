package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// maxFile is more than any of these files has: the largest is the address book of a busy node.
const maxFile = 64 << 20

// Revision names a set of settings: equal files have equal revisions. It is what a restart brings into effect.
func (f Files) Revision() string { return f.sum(func(Setting) bool { return true }) }

// Core names those of the settings that nothing but a restart brings into effect. Where two sets differ in the others
// alone, a node that runs can follow from one to the other.
func (f Files) Core() string { return f.sum(func(s Setting) bool { return !s.live }) }

func (f Files) sum(counts func(Setting) bool) string {
	h := sha256.New()
	for _, s := range slices.Concat(f.Comet, f.App) {
		if counts(s) {
			fmt.Fprintf(h, "%s=%s\n", s.Key, s.Value)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Write makes the files in home follow f and reports whether any had to change. The files must be there: the
// daemon's own init made them.
func (f Files) Write(home string) (changed bool, err error) {
	for name, settings := range map[string][]Setting{"config.toml": f.Comet, "app.toml": f.App} {
		path := filepath.Join(home, "config", name)
		old, err := atomicfile.Read(path, maxFile)
		if err != nil {
			return changed, fmt.Errorf("read what the daemon's init wrote: %w", err)
		}
		edited, err := Edit(old, settings)
		if err != nil {
			return changed, fmt.Errorf("edit %q: %w", path, err)
		}
		if bytes.Equal(old, edited) {
			continue
		}
		if err := atomicfile.Write(path, edited, 0o600); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// PurgeAddressBook removes a home's address book when it holds any of the ids, and reports whether it did: telling
// a node to keep an id private does not make it forget what it wrote down before. The node must not be running.
func PurgeAddressBook(home string, ids []string) (bool, error) {
	path := filepath.Join(home, "config", "addrbook.json")
	b, err := atomicfile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(string(b), id) }) {
		return false, nil
	}
	return true, os.Remove(path)
}

// Signs says whether a daemon that runs on home may hold the consensus key: its configuration names the key, or cannot
// be read. What a daemon was started with is what the file says for as long as nobody arms or disarms a home under a
// running daemon; whoever takes the key away ends the daemon first.
func Signs(home string) bool {
	b, err := atomicfile.Read(filepath.Join(home, "config", "config.toml"), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	return err != nil || bytes.Contains(b, []byte(ArmedKey))
}
