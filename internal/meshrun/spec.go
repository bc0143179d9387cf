// Package meshrun is the mesh process of one host: it opens the tunnel, runs the mesh's control plane on it, carries
// services through it where it is in user space, and answers the agent. It is a process of its own, so that no tunnel
// ends with the agent.
package meshrun

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/roster"
)

// Where things lie in a host's folder. All of it is the mesh process's own but for the spec, which the agent writes.
const (
	Folder   = "mesh"
	LockFile = "mesh/lock" // held by the mesh process
	specFile = "spec.json"
	// TunnelKey holds the private tunnel key in base64, NextKey the one to change to, RelayKey an Ed25519 seed in base64.
	TunnelKey = "tunnel.key"
	NextKey   = "next.key"
	RelayKey  = "relay.key"
)

// Spec is what the agent wants of the mesh process. It is read again whenever it changes.
type Spec struct {
	Deployment roster.Hash `json:"deployment"` // hash of generation 1; nothing else is believed
	Identity   roster.Key  `json:"identity"`   // which member this host is
	Driver     string      `json:"driver"`     // roster.MeshWireGuard or roster.MeshVpnCloud
	// Program is the path of the program that the driver runs; empty: it is looked for in PATH, or the driver runs none.
	Program string `json:"program,omitempty"`
	// Public is the UDP endpoint at which the roster says that others reach this host, for drivers that answer from any of
	// its addresses if they are not told.
	Public string `json:"public,omitempty"`
	// Backend is "kernel", "tun" or "netstack"; empty lets the process choose the best that there is.
	Backend string `json:"backend,omitempty"`
	// Interface names the device in the kernel; not used by netstack.
	Interface string `json:"interface,omitempty"`
	// Listen is where to take UDP, host:port; an empty host is every address, port 0 any.
	Listen string `json:"listen"`
	// Relay is where to relay for others, TCP host:port; empty: nowhere.
	Relay string `json:"relay,omitempty"`
	// Underlay: the host is ours alone, so its other network devices are filtered too.
	Underlay bool `json:"underlay,omitempty"`
	// Open are TCP ports that stay open to the world then, as sshd's.
	Open []uint16 `json:"open,omitempty"`
	// Serve are the services that peers may reach here where the mesh is in user space.
	Serve []Served `json:"serve,omitempty"`
	// Forwards are loopback ports that lead to peers' services where the mesh is in user space.
	Forwards []api.Forward `json:"forwards,omitempty"`
}

// SameProcess reports whether a running process can go from s to o by itself.
func (s Spec) SameProcess(o Spec) bool {
	s.Serve, s.Forwards = o.Serve, o.Forwards
	return reflect.DeepEqual(s, o)
}

// Served is a service of this host that peers may reach.
type Served struct {
	Service string `json:"service"` // of package access
	To      string `json:"to"`      // host:port on this host
}

// ReadSpec reads the spec of the host in dir.
func ReadSpec(dir string) (Spec, error) {
	path := filepath.Join(dir, Folder, specFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, err
	}
	var s Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return Spec{}, fmt.Errorf("read %q: %w", path, err)
	}
	return s, nil
}

// WriteSpec replaces the spec of the host in dir.
func WriteSpec(dir string, s Spec) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, Folder), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, Folder, specFile), append(b, '\n'), 0o600)
}
