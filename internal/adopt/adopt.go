// Package adopt reads a server on which systemd runs a chain's daemon already, and says what taking it over would mean.
// It changes nothing there, leaves nothing there and learns no secret: scripts tell it what units, processes and the
// daemon's home say, and of keys their public halves.
//
// Everything that comes from the server may be a lie or an attack: it is bounded, parsed strictly and cleaned of what a
// terminal would obey before anybody sees it.
package adopt

import (
	"context"
	"time"

	"github.com/pressenter/pressenter/internal/health"
)

// Shell runs a script with sh, as root, on the server, and returns at most limit bytes of what it prints. More is an error.
type Shell interface {
	Run(ctx context.Context, script string, limit int64, args ...string) ([]byte, error)
}

// Found is a daemon that runs under a unit of systemd, or would.
type Found struct {
	Unit    Unit    `json:"unit"`
	Program Program `json:"program"`
	Home    Home    `json:"home"`
	Node    Node    `json:"node"`
	Key     Key     `json:"key"`
	Role    Role    `json:"role"`

	notes  []health.Finding // of looking: what was not read or is not understood
	opened []string         // homes in which the daemon has databases open
	apart  []string         // what keeps the home from being moved by a rename
	unfit  string           // why its files cannot become a validator's here
}

// Role is what a node is for.
type Role string

// Roles. A node whose key has signed and is not in the set now is a validator, too: it may be in it again.
const (
	RoleValidator Role = "validator"
	RoleSentry    Role = "sentry" // it keeps nodes private
	RoleFull      Role = "full node"
	RoleUnknown   Role = "unknown"
)

// Unit is what systemd says.
type Unit struct {
	Name     string   `json:"name"`
	State    string   `json:"state"`   // active, inactive, failed, ...
	Enabled  string   `json:"enabled"` // enabled, disabled, static, masked, ...
	File     string   `json:"file"`
	DropIns  []string `json:"drop_ins,omitempty"`
	User     string   `json:"user"` // that its processes have; its name, where it is known
	Restart  string   `json:"restart"`
	KillMode string   `json:"kill_mode"`
	// Starters are units that start it beside a person and the boot.
	Starters []string  `json:"starters,omitempty"`
	Since    time.Time `json:"since,omitzero"`

	uid, gid string
}

// Program is what runs.
type Program struct {
	Path       string `json:"path"`
	SHA256     string `json:"sha256,omitempty"`
	Pid        int    `json:"pid,omitempty"` // 0: it does not run
	Cosmovisor bool   `json:"cosmovisor,omitempty"`
	// Flags are the names of those that it was started with.
	Flags []string `json:"flags,omitempty"`
	// Others is how many other processes the unit has, cosmovisor's included.
	Others int       `json:"others,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Home is the daemon's.
type Home struct {
	Path  string `json:"path"`
	Mount string `json:"mount,omitempty"` // where its file system is mounted
	Real  string `json:"real,omitempty"`  // Path without links
	// Genesis is the file that has the network's.
	Genesis string `json:"genesis,omitempty"`
}

// Node is what the home's files and the running node say of the node.
type Node struct {
	ChainID string `json:"chain_id"`
	NodeID  string `json:"node_id"`
	Moniker string `json:"moniker,omitempty"`
	P2P     string `json:"p2p,omitempty"`
	RPC     string `json:"rpc,omitempty"`
	// Services are other addresses at which it listens, by what for.
	Services map[string]string `json:"services,omitempty"`
	Peers    int               `json:"persistent_peers"`
	// Dials are those of them that can be understood, id@host:port.
	Dials   []string `json:"dials,omitempty"`
	Private int      `json:"private_peers"`
	PEX     bool     `json:"pex"`
	// MinGasPrice is what it takes transactions for at least.
	MinGasPrice string `json:"min_gas_price,omitempty"`
	// Answers: its RPC was asked and answered. What follows is known only then.
	Answers    bool   `json:"answers"`
	CatchingUp bool   `json:"catching_up,omitempty"`
	Height     int64  `json:"height,omitempty"`
	Comet      string `json:"comet,omitempty"`
	// BlockTime is about how long its newest blocks took; 0: that is not known.
	BlockTime time.Duration `json:"block_time_ns,omitempty"`
}

// Key is the public half of the consensus key, and how far it has signed.
type Key struct {
	Type      string `json:"type,omitempty"`
	PublicKey []byte `json:"public_key,omitempty"`
	Address   string `json:"address,omitempty"`
	File      string `json:"file,omitempty"`
	StateFile string `json:"state_file,omitempty"`
	// Remote is where a signer elsewhere connects to; the file's key then signs nothing.
	Remote string `json:"remote,omitempty"`
	// Mark is how far it has signed, by its sign state.
	Mark Mark `json:"mark"`
	// Power is its voting power, and Signed a recent height at which the chain has its signature; 0: none was seen.
	Power  int64 `json:"voting_power"`
	Signed int64 `json:"signed,omitempty"`
}

// Mark is a height, round and step; Known is false where no sign state was read.
type Mark struct {
	Known  bool  `json:"known"`
	Height int64 `json:"height"`
	Round  int64 `json:"round"`
	Step   int64 `json:"step"`
}
