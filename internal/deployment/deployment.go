// Package deployment is the operator's side of a deployment: the folder that holds its keyring, its inventory, every
// roster it has published or adopted, and the lock that keeps two operators apart.
//
// Nothing in it is needed by a running host; losing it loses the right to change the deployment (but for the
// recovery copy of the keyring), not the validator.
package deployment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// Dir is a deployment's folder, absolute.
type Dir string

func (d Dir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Operator is where the operator's own files are.
func (d Dir) Operator() string { return d.path("operator") }

// Hosts is where a local provider keeps its hosts.
func (d Dir) Hosts() string { return d.path("hosts") }

// Backups is where the sealed consensus keys are.
func (d Dir) Backups() string { return d.path("operator", "backups") }

// Genesis is the workshop in which a practice genesis is made.
func (d Dir) Genesis() string { return d.path("operator", "genesis") }

// Store is where daemons lie by content.
func (d Dir) Store() string { return d.path("store") }

// World is the folder of the practice network's other validators, a deployment of its own.
func (d Dir) World() Dir { return Dir(d.path("world")) }

// Rosters opens the log of rosters.
func (d Dir) Rosters() (*rosterdir.Store, error) {
	return rosterdir.Open(d.path("operator", "rosters"))
}

// Inventory says where hosts are. It holds what no roster does: underlay addresses.
type Inventory struct {
	Deployment string `json:"deployment"`
	ChainID    string `json:"chain_id"`
	Daemon     Daemon `json:"daemon"`
	MeshDriver string `json:"mesh_driver,omitempty"` // empty: no mesh
	// MeshProgram is the program that the mesh's driver runs on each host, as it was staged; empty: the driver runs none.
	MeshProgram Program `json:"mesh_program,omitzero"`
	// MachinesID is in the names and labels of everything that is bought: 12 lower-case hex digits; empty: nothing was.
	MachinesID string `json:"machines_id,omitempty"`
	// Clouds are those in which something was bought and not yet given back.
	Clouds []string `json:"clouds,omitempty"`
	// Destroying: a destroy was begun. Hosts that are not here any more were destroyed, and not lost.
	Destroying bool `json:"destroying,omitempty"`
	// Unprotected: a destroy that may not have begun took the clouds' protection off machines.
	Unprotected bool   `json:"unprotected,omitempty"`
	Hosts       []Host `json:"hosts"`
	// Replaced are machines whose host is another machine by now, or soon: they stay until that has joined.
	Replaced []Host `json:"replaced,omitempty"`
	// Devices are stock WireGuard devices in the mesh. They are of the config alone.
	Devices []Device `json:"-"`
	// AdminCIDRs are from where the clouds' firewalls let SSH in; none: from everywhere. On disk they are those that were last
	// applied; nil there: nobody noted them.
	AdminCIDRs []string `json:"admin_cidrs,omitzero"`
	// Openings are from where else SSH is let in, for a time. One is noted before a firewall is opened and until it is shut.
	Openings []Opening `json:"openings,omitempty"`
	// Adoption is the server whose node brought the network that is there already; nil: there is none.
	Adoption *Adoption `json:"adoption,omitempty"`
	// Invited are sentries on hosts that enrol themselves with a code. Where they are only the roster knows.
	Invited []Invited `json:"-"`
}

// Opening lets somebody in by SSH, through the clouds' firewalls, for a time.
type Opening struct {
	CIDR  string    `json:"cidr"`
	Until time.Time `json:"until"`
	By    string    `json:"by"`
}

// Invited is a sentry on a host that enrols itself.
type Invited struct {
	Name         string
	PrivatePeers []string // id@host:port, as of a Host
}

// Device is a stock WireGuard in the mesh.
type Device struct {
	Name string
	Key  roster.Key // public
}

// Daemon is the chain's program as it was staged.
type Daemon struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// Program is one that is brought to hosts by its content.
type Program struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Host is one host of a deployment.
type Host struct {
	Name string      `json:"name"`
	Role roster.Role `json:"role"`
	// Folder is where all of the host is. Of one on this computer it is absolute in memory and relative to the deployment on
	// disk; of a machine it is there.
	Folder string     `json:"folder"`
	Listen api.Listen `json:"listen"`
	// Provider supplies a machine; empty: the host is on this computer.
	Provider string `json:"provider,omitempty"`
	// Address is how a machine is reached over SSH, user@host:port or a name of ~/.ssh/config; empty: it is not bought yet.
	// Public is where the world reaches it, without port.
	Address string `json:"address,omitempty"`
	Public  string `json:"public,omitempty"`
	// Made: this program was brought to the machine, so it is not somebody else's.
	Made bool `json:"made,omitempty"`
	// Region and Size are what a bought machine is, in its cloud's own names.
	Region string `json:"region,omitempty"`
	Size   string `json:"size,omitempty"`
	// Spread is the number of the group of hosts that are on different hardware, of those in one region: a cloud takes only so
	// many into one. A host never changes it, because some clouds would replace its machine.
	Spread int `json:"spread,omitempty"`
	// VolumeGB is the size of the volume for the chain's data of a bought machine, and VolumeDevice where a machine finds its
	// volume, a path below /dev that may hold *. Both empty: the data is on the machine's own disk.
	VolumeGB     int    `json:"volume_gb,omitempty"`
	VolumeDevice string `json:"volume_device,omitempty"`
	// VolumeSet is the size of the volume when the machine was last set up with it.
	VolumeSet int `json:"volume_set,omitempty"`
	// PrivatePeers are other operators' nodes, id@host:port, of a sentry.
	PrivatePeers []string `json:"private_peers,omitempty"`
	// Number counts the machines that the host had before this one.
	Number int `json:"number,omitempty"`
	// Identity is the one that a replaced machine had in the roster.
	Identity roster.Key `json:"identity,omitzero"`
	// Removing marks a host that has left the roster and is not yet destroyed.
	Removing bool `json:"removing,omitempty"`
}

// OnMachine reports whether the host is a server of its own, and not a folder on this computer.
func (h Host) OnMachine() bool { return h.Provider != "" }

// Exists reports whether there is something of the host, as far as the inventory can tell.
func (h Host) Exists() bool { return !h.OnMachine() || h.Made || h.Bought() && h.Address != "" }

// Bought reports whether the host's machine is bought from a cloud.
func (h Host) Bought() bool { return h.Provider != "" && h.Provider != ProviderSSH }

// Machine names the machine that the host is: of two that are the same host, one after the other, each has a name of its own.
func (h Host) Machine() string {
	if h.Number == 0 {
		return h.Name
	}
	return fmt.Sprintf("%s--%d", h.Name, h.Number)
}

// ProviderSSH supplies machines that are there already.
const ProviderSSH = "ssh"

// MachineFolder is where all of a host is on a machine.
const MachineFolder = "/var/lib/pressenter"

// Host returns the host of that name.
func (i Inventory) Host(name string) (Host, bool) {
	for _, h := range i.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// InvitedHost returns the invited sentry of that name.
func (i Inventory) InvitedHost(name string) (Invited, bool) {
	for _, h := range i.Invited {
		if h.Name == name {
			return h, true
		}
	}
	return Invited{}, false
}

// OnMachineOf returns the host that is the machine of that name.
func (i Inventory) OnMachineOf(machine string) (Host, bool) {
	for _, h := range i.Hosts {
		if h.Machine() == machine {
			return h, true
		}
	}
	return Host{}, false
}

// All are the machines that there are: of hosts, and those that were replaced.
func (i Inventory) All() []Host { return slices.Concat(i.Hosts, i.Replaced) }

// Replace takes the machine of a host, of which the roster has this identity, aside, and lets next be the host.
func (i *Inventory) Replace(next Host, identity roster.Key) {
	was, _ := i.Host(next.Name)
	was.Identity = identity
	i.Replaced = append(slices.Clone(i.Replaced), was)
	i.Put(next)
}

// TakeBack lets a machine that was taken aside be its host again, and takes the one aside that the host is, if it may exist.
func (i *Inventory) TakeBack(machine string) {
	n := slices.IndexFunc(i.Replaced, func(h Host) bool { return h.Machine() == machine })
	if n < 0 {
		return
	}
	back := i.Replaced[n]
	next, _ := i.Host(back.Name)
	i.DropReplaced(machine)
	if next.Bought() || next.Exists() {
		i.Replaced = append(i.Replaced, next)
	}
	back.Identity = roster.Key{}
	i.Put(back)
}

// WasMachine returns the machine of that name, of those that were replaced.
func (i Inventory) WasMachine(machine string) (Host, bool) {
	for _, h := range i.Replaced {
		if h.Machine() == machine {
			return h, true
		}
	}
	return Host{}, false
}

// WasReplaced says whether a machine is one whose host is another machine now.
func (i Inventory) WasReplaced(h Host) bool {
	_, was := i.WasMachine(h.Machine())
	return was
}

// DropReplaced removes a machine that was replaced. Copies of the inventory keep it.
func (i *Inventory) DropReplaced(machine string) {
	i.Replaced = slices.DeleteFunc(slices.Clone(i.Replaced), func(h Host) bool { return h.Machine() == machine })
}

// Put adds or replaces a host, by name.
func (i *Inventory) Put(h Host) {
	i.Drop(h.Name)
	i.Hosts = append(i.Hosts, h)
	slices.SortFunc(i.Hosts, func(a, b Host) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// Drop removes a host. Copies of the inventory keep it.
func (i *Inventory) Drop(name string) {
	i.Hosts = slices.DeleteFunc(slices.Clone(i.Hosts), func(h Host) bool { return h.Name == name })
}

// LoadInventory reads the inventory; an empty one when there is none yet.
func (d Dir) LoadInventory() (Inventory, error) {
	var i Inventory
	b, err := os.ReadFile(d.path("operator", "inventory.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(b, &i); err != nil {
		return i, fmt.Errorf("read inventory of %q: %w", d, err)
	}
	for _, hosts := range [][]Host{i.Hosts, i.Replaced} {
		for n, h := range hosts {
			if !filepath.IsAbs(h.Folder) { // a deployment's folder may be moved, with all its hosts
				hosts[n].Folder = d.path(h.Folder)
			}
		}
	}
	if i.Daemon.Path != "" && !filepath.IsAbs(i.Daemon.Path) {
		i.Daemon.Path = d.path(i.Daemon.Path)
	}
	return i, nil
}

// SaveInventory replaces the inventory.
func (d Dir) SaveInventory(i Inventory) error {
	if err := os.MkdirAll(d.Operator(), 0o700); err != nil {
		return err
	}
	i.Hosts, i.Replaced = slices.Clone(i.Hosts), slices.Clone(i.Replaced)
	for _, hosts := range [][]Host{i.Hosts, i.Replaced} {
		for n, h := range hosts {
			hosts[n].Folder = d.relative(h.Folder)
		}
	}
	i.Daemon.Path = d.relative(i.Daemon.Path)
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(d.path("operator", "inventory.json"), append(b, '\n'), 0o600)
}

// relative returns path as seen from d where it lies inside.
func (d Dir) relative(path string) string {
	if r, err := filepath.Rel(string(d), path); err == nil && filepath.IsLocal(r) {
		return r
	}
	return path
}

// KeepBackup keeps a host's sealed consensus key. A different one of the same host is kept beside it, never over it.
func (d Dir) KeepBackup(host string, sealed []byte, born time.Time) error {
	if d.HasBackup(host, sealed) {
		return nil
	}
	if err := os.MkdirAll(d.Backups(), 0o700); err != nil {
		return err
	}
	err := atomicfile.WriteNew(filepath.Join(d.Backups(), host+".key.age"), sealed, 0o600)
	for n := 0; errors.Is(err, fs.ErrExist); n++ {
		name := fmt.Sprintf("%s.%s-%d.key.age", host, born.UTC().Format("20060102T150405"), n)
		err = atomicfile.WriteNew(filepath.Join(d.Backups(), name), sealed, 0o600)
	}
	return err
}

// HasBackup says whether this very backup of a host's consensus key is kept.
func (d Dir) HasBackup(host string, sealed []byte) bool {
	kept, err := filepath.Glob(filepath.Join(d.Backups(), host+".*key.age"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(kept, func(path string) bool {
		b, err := os.ReadFile(path)
		return err == nil && bytes.Equal(b, sealed)
	})
}

// Lock keeps other processes of this computer away from the operator's folder. It ends with this process.
func (d Dir) Lock(who string) (*process.Lock, error) {
	if err := os.MkdirAll(d.Operator(), 0o700); err != nil {
		return nil, err
	}
	return process.TryLock(d.path("operator", "lock"), who)
}
