package doctor

import (
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/process"
)

// Facts are what was measured. An Err says why something could not be; "" means that it was.
type Facts struct {
	Program  Program
	Chain    ChainProgram
	Memory   Memory
	Files    Files
	Umask    Umask
	Folder   Place
	Clock    Clock
	Sides    []Side
	Hosts    []Host
	Invited  []Invited
	Expected int // hosts on this computer that the deployment has or is to have
}

// Invited is a sentry that enrolled itself: nobody here can ask its agent.
type Invited struct {
	Name, NodeID string
	Endpoint     string // host:port
}

// Program is this program.
type Program struct {
	Version  string
	Platform string // GOOS/GOARCH
}

// ChainProgram is the chain's daemon.
type ChainProgram struct {
	Path     string
	Wanted   string // hex SHA-256 that hosts were enrolled with, "" where there are none
	SHA256   string
	Mode     fs.FileMode
	Platform string // GOOS/GOARCH, "" for a program that is not Go's
	Comet    string // version of CometBFT that is linked in, whatever the program says of itself
	Missing  bool   // there is no such file
	Err      string // it cannot be read
	RunErr   string // it was started, and did not end well
}

// Memory is in bytes.
type Memory struct {
	Total, Available uint64
	Limited          bool // by a control group, and not by the computer
	Err              string
}

// Files is how many files a process may have open.
type Files struct {
	Limit uint64 // to which a program may raise it by itself
	Err   string
}

// Umask is what is taken from the permissions of new files.
type Umask struct {
	Value uint32
	Err   string
}

// Place is the folder that a deployment is in, or will be.
type Place struct {
	Path                string
	Exists              bool // else the nearest folder above it was looked at
	Free, Size          uint64
	FreeFiles, MaxFiles uint64 // MaxFiles 0: the file system has no limit
	System              string // kind of file system
	Network             bool
	WriteErr            string
	Wrote               time.Duration // a small file, and its way to the disk
	Socket              int           // bytes in the path of the longest socket
	ShortPaths          bool          // longer ones can be had all the same
	Err                 string
}

// Clock is this computer's, beside what else tells the time.
type Clock struct {
	Start, End time.Time     // as the clock said
	Elapsed    time.Duration // between them, by a clock that nobody can set
	Built      time.Time     // this program, if it knows
	Newest     time.Time     // change of a file of the deployment; zero: there is none
	NewestPath string
	Kernel     Kernel
	Blocks     []Block
	Interval   time.Duration // between blocks, as the chain is configured; 0: not known
}

// Kernel is what the kernel knows of how its clock is kept.
type Kernel struct {
	Synchronised bool
	MaxError     time.Duration
	Err          string
}

// Block is the newest block of a node.
type Block struct {
	Host   string
	Height int64
	Time   time.Time
	Seen   time.Time
	Fresh  bool // it was not there before we looked
}

// Side is the operator's side of a deployment.
type Side struct {
	Name       string
	World      bool
	Practice   bool // nothing of value is in it
	Generation uint64
	Heads      []string
	Fork       bool
	Mesh       netip.Prefix // of its tunnels; zero: there are none
	Driver     string       // what carries their packets
	Keyring    Keyring
	Modes      []Mode
	Err        string // what is wrong with its files
}

// Keyring is the operator's.
type Keyring struct {
	Path      string
	Present   bool
	Protected bool
	Err       string // it cannot be opened; protected ones are not tried
}

// Mode is who may do what with a file.
type Mode struct {
	Path   string // from the deployment's folder on
	Want   fs.FileMode
	Got    fs.FileMode
	Owned  bool // by us
	Folder bool
	Err    string
}

// Host is a host of the deployment.
type Host struct {
	deployment.Host
	World    bool
	Exists   bool
	Agent    bool // it answered; Status is then its own word, else what can be seen without it
	Status   api.HostStatus
	Met      []string // host:port: where the world meets its node, or would if that let it; none: not known
	Ports    []Port
	Modes    []Mode
	Backup   Backup
	Practice bool
}

// Meshes are the networks of tunnels, of which nobody may tell an address.
func (f Facts) Meshes() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range f.Sides {
		if s.Mesh.IsValid() {
			out = append(out, s.Mesh)
		}
	}
	return out
}

// here are the hosts on this computer.
func (f Facts) here() []Host {
	return slices.DeleteFunc(slices.Clone(f.Hosts), func(h Host) bool { return h.OnMachine() })
}

// Port is one that a host's node listens on.
type Port struct {
	Name   string // "p2p", "rpc"
	Addr   string
	Free   bool
	Holder process.Identity // zero: nobody, or somebody whose files we may not see
	Who    string
	Err    string // holders cannot be found on this system
}

// Backup is the sealed copy of a validator's consensus key on the operator's side.
type Backup struct {
	Path    string
	Present bool
	Opened  bool   // and holds the key of the host
	Err     string // it does not
}

// Key says whether the host holds a consensus key of which there must be a backup.
func (h Host) Key() bool { return h.Status.Enrolled != nil && len(h.Status.Enrolled.Consensus) > 0 }
