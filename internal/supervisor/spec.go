package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// Defaults of a Spec.
const (
	defaultGrace     = 30 * time.Second
	defaultBlockTime = 6 * time.Second
	defaultLogMax    = 64 << 20
	defaultLogKeep   = 3
)

const maxSpec = 1 << 20

// Spec is what the supervisor shall do: node.json, written by the agent. Durations are in nanoseconds.
type Spec struct {
	Daemon string   `json:"daemon"`         // base name of the executable in home/cosmovisor/current/bin
	Args   []string `json:"args,omitempty"` // after "start --home HOME"
	RPC    string   `json:"rpc"`            // http://127.0.0.1:PORT of this node

	// Peers are the nodes that this one dials and must keep a link to. A start waits, for a while, until one of them
	// listens: so among nodes that start together there must be one without any, or with NoWait.
	Peers  []Peer `json:"peers,omitempty"`
	NoWait bool   `json:"no_wait,omitempty"`

	GracePeriod time.Duration `json:"grace_period,omitempty"` // between asking to end and killing; 0: 30 s
	BlockTime   time.Duration `json:"block_time,omitempty"`   // the chain's usual; 0: 6 s

	// Revision names the rendered configuration. A new one does not restart the daemon; a new RestartToken does.
	Revision     string `json:"revision,omitempty"`
	RestartToken uint64 `json:"restart_token,omitempty"`
	// Core names what of the configuration takes a restart. Where a new Revision has the Core that the daemon was started
	// with, the daemon is told to dial Peers instead, while it runs. Empty: it cannot be told.
	Core string `json:"core,omitempty"`

	LogMaxBytes int64 `json:"log_max_bytes,omitempty"` // node.log is rotated beyond; 0: 64 MiB
	LogKeep     int   `json:"log_keep,omitempty"`      // old ones kept; 0: 3
}

// Peer is a node that the daemon must keep a link to.
type Peer struct {
	NodeID  string `json:"node_id"`
	Address string `json:"address"` // host:port
	Name    string `json:"name"`    // for people
}

// ReadSpec reads node.json of the host folder dir, with defaults filled in.
func ReadSpec(dir string) (Spec, error) {
	path := filepath.Join(dir, SpecFile)
	b, err := atomicfile.Read(path, maxSpec)
	if err != nil {
		return Spec{}, fmt.Errorf("read node spec: %w", err)
	}
	var s Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return Spec{}, fmt.Errorf("read node spec %q: %w", path, err)
	}
	if err := s.validate(); err != nil {
		return Spec{}, fmt.Errorf("read node spec %q: %w", path, err)
	}
	return s.withDefaults(), nil
}

// WriteSpec replaces node.json of the host folder dir. A running supervisor takes it up within a second.
func WriteSpec(dir string, s Spec) error {
	if err := s.validate(); err != nil {
		return fmt.Errorf("write node spec: %w", err)
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write node spec: %w", err)
	}
	return writeFile(filepath.Join(dir, SpecFile), append(b, '\n'))
}

func (s Spec) validate() error {
	var problems []error
	if s.Daemon == "" || s.Daemon != filepath.Base(s.Daemon) || strings.HasPrefix(s.Daemon, ".") {
		problems = append(problems, fmt.Errorf("daemon %q: must be the base name of an executable", s.Daemon))
	}
	if !strings.HasPrefix(s.RPC, "http://") {
		problems = append(problems, fmt.Errorf("rpc %q: must start with http://", s.RPC))
	}
	for _, p := range s.Peers {
		if p.NodeID == "" || p.Address == "" {
			problems = append(problems, fmt.Errorf("peer %q: needs node id and address", p.Name))
		}
	}
	return errors.Join(problems...)
}

func (s Spec) withDefaults() Spec {
	if s.GracePeriod <= 0 {
		s.GracePeriod = defaultGrace
	}
	if s.BlockTime <= 0 {
		s.BlockTime = defaultBlockTime
	}
	if s.LogMaxBytes <= 0 {
		s.LogMaxBytes = defaultLogMax
	}
	if s.LogKeep <= 0 {
		s.LogKeep = defaultLogKeep
	}
	return s
}

// specFile follows node.json. It keeps the last good one.
type specFile struct {
	dir  string
	seen os.FileInfo
	Spec Spec
}

// reload reads the file again if it looks changed. A bad one is an error once, and Spec stays as it was.
func (f *specFile) reload() (changed bool, err error) {
	info, err := os.Stat(filepath.Join(f.dir, SpecFile))
	if err != nil {
		return false, fmt.Errorf("read node spec: %w", err)
	}
	if f.seen != nil && os.SameFile(f.seen, info) && f.seen.ModTime().Equal(info.ModTime()) && f.seen.Size() == info.Size() {
		return false, nil
	}
	spec, err := ReadSpec(f.dir)
	f.seen = info
	if err != nil {
		return false, err
	}
	f.Spec = spec
	return true, nil
}
