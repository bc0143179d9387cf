package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// Folder is the folder of one host: everything that a machine would hold, and nothing outside it.
type Folder string

// Paths within a host's folder.
func (f Folder) path(elem ...string) string {
	return filepath.Join(append([]string{string(f)}, elem...)...)
}

// Home is the daemon's home.
func (f Folder) Home() string { return filepath.Join(f.node(), supervisor.HomeDir) }

// Signing is where the consensus key and its sign state are.
func (f Folder) Signing() signing.Folder {
	return signing.Folder{Dir: filepath.Join(f.node(), "signing")}
}

// Log returns the path of one of the host's logs: "node", "supervisor", "agent" or "mesh".
func (f Folder) Log(name string) (string, error) {
	switch name {
	case "node", "supervisor":
		return filepath.Join(f.node(), name+".log"), nil
	case "agent", "mesh":
		return f.path(name + ".log"), nil
	}
	return "", fmt.Errorf("log %q: a host has the logs node, supervisor, agent and mesh", name)
}

func (f Folder) lock() string     { return f.path("agent.lock") }
func (f Folder) record() string   { return f.path("agent", "host.json") }
func (f Folder) identity() string { return f.path("agent", "identity.key") }
func (f Folder) intent() string   { return f.path("agent", "intent.json") }
func (f Folder) made() string     { return f.path("agent", "home.json") }
func (f Folder) rosters() string  { return f.path("agent", "rosters") }
func (f Folder) backup() string   { return f.path("agent", "consensus-key.age") }
func (f Folder) genesis() string  { return filepath.Join(f.Home(), "config", "genesis.json") }

// host is what an agent durably knows of its own host; written once, when the host is enrolled.
type host struct {
	Enrollment api.EnrollRequest `json:"enrollment"`
	Enrolled   api.Enrolled      `json:"enrolled"`
	// Place ties the host's folder to where it was enrolled: a copied folder must not start a second node with the
	// same keys.
	Place signing.Place `json:"place"`
	At    time.Time     `json:"at"`
}

// loadHost reads the host's record; nil when the host is not enrolled.
func (f Folder) loadHost() (*host, error) {
	var h host
	if err := readJSON(f.record(), &h); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &h, nil
}

// Enrollment is what the host was told when it was enrolled; enrolled is false where it was not.
func (f Folder) Enrollment() (e api.EnrollRequest, enrolled bool, err error) {
	h, err := f.loadHost()
	if err != nil || h == nil {
		return api.EnrollRequest{}, false, err
	}
	return h.Enrollment, true, nil
}

// loadIntent reads what a person asked of this host. A file that cannot be read counts as "stopped": what a person
// stopped must stay stopped even when the disk is damaged.
func (f Folder) loadIntent() api.Intent {
	var i struct {
		api.Intent
		// Both are always written: a file without them is damaged.
		Stopped *bool `json:"stopped"`
		Held    *bool `json:"held"`
	}
	err := readJSON(f.intent(), &i)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.Intent{}
	case err == nil && (i.Stopped == nil || i.Held == nil):
		err = errors.New("it says nothing")
	}
	if err != nil {
		return api.Intent{Stopped: true, By: "unreadable intent file: " + err.Error()}
	}
	i.Intent.Stopped, i.Intent.Held = *i.Stopped, *i.Held
	return i.Intent
}

// loadIdentity returns the host's identity key, born at first use.
func (f Folder) loadIdentity() (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(f.identity())
	if errors.Is(err, fs.ErrNotExist) {
		seed := make([]byte, ed25519.SeedSize)
		if _, err := rand.Read(seed); err != nil {
			return nil, err
		}
		if err := atomicfile.Write(f.identity(), seed, 0o600); err != nil {
			return nil, err
		}
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) != ed25519.SeedSize {
		return nil, fmt.Errorf("identity key %q has %d bytes, not %d", f.identity(), len(b), ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(b), nil
}

// ignoreMissing: a file that is not there is no trouble.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readJSON reads a small file of our own.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}
