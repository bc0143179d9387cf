// Package roster is the resolved deployment: who is who, which chain it
// serves, and who may hold its consensus key.
//
// A [Roster] is one numbered generation, signed by admin keys that the
// generation before it lists, and chained to it by hash. A [Log] is the set of
// verified generations that a host or an operator knows; any two logs with the
// same set are in the same [State], in whatever order it was delivered.
//
// The package is pure: it decides, and touches neither files nor network nor
// clock. DESIGN.md argues its rules.
package roster

import (
	"slices"
	"strings"
	"time"
)

// FormatVersion is the version of the payload that this package reads and
// writes. A host that meets a newer one keeps its last roster.
const FormatVersion = 1

// What one roster may hold. The largest roster of all fits in an envelope.
const (
	MaxMembers    = 1000
	MaxAdmins     = 16
	MaxTombstones = 1500
	MaxPeers      = 128
	MaxPrivate    = 512 // private peers of all members
	MaxBinaries   = 16
)

// Role says what a member runs. Other values, "cosigner" among them, are
// refused: a host must not obey a roster whose safety rests on a role that it
// does not know.
type Role string

// The roles of format 1.
const (
	RoleValidator        Role = "validator"         // hidden; dials its sentries, listens to nobody
	RoleSentry           Role = "sentry"            // stands between the validator and the world
	RoleGenesisValidator Role = "genesis-validator" // another validator of a practice network, in the open
	RoleDevice           Role = "device"            // stock WireGuard without a node or an agent: somebody who looks on
)

// Roles returns every role.
func Roles() []Role { return []Role{RoleValidator, RoleSentry, RoleGenesisValidator, RoleDevice} }

// Capability is something an admin key may do.
type Capability string

// The capabilities of format 1.
const (
	CapAdmin  Capability = "admin"  // change the list of admins and their capabilities
	CapArm    Capability = "arm"    // arm a signer; the roster only records who may
	CapAssign Capability = "assign" // name the consensus key and its holder
	CapRoster Capability = "roster" // sign generations at all; retire the holder
)

// AllCapabilities returns every capability, in canonical order.
func AllCapabilities() []Capability {
	return []Capability{CapAdmin, CapArm, CapAssign, CapRoster}
}

// Roster is one generation of a deployment. In memory its lists may be in any
// order; [Roster.Bytes] sorts them.
type Roster struct {
	Format     int         `json:"format"`
	Deployment string      `json:"deployment"`  // name, for people and folders
	ID         Hash        `json:"id,omitzero"` // hash of generation 1; absent in generation 1
	Generation uint64      `json:"generation"`
	Parents    []Hash      `json:"parents"` // none in generation 1, else one; several heal a fork
	Admins     []Admin     `json:"admins"`
	Chain      Chain       `json:"chain"`
	MeshDriver string      `json:"mesh_driver,omitempty"` // wireguard or vpncloud; empty: no mesh
	Members    []Member    `json:"members"`
	Tombstones []Tombstone `json:"tombstones"`
	Signer     Assignment  `json:"signer"`
	Peers      []string    `json:"peers"` // id@host:port outside the deployment, for its sentries
}

// Admin is a key that signs generations, and what it may do in them.
type Admin struct {
	Name         string       `json:"name"`
	Key          Key          `json:"key"`
	Capabilities []Capability `json:"capabilities"`
}

// Chain is what a node needs to know of its chain to render its home.
type Chain struct {
	ID            string        `json:"id"`                      // never changes
	GenesisSHA256 Hash          `json:"genesis_sha256,omitzero"` // never changes once known
	Daemon        string        `json:"daemon,omitempty"`        // name of the chain's binary
	Binaries      []Binary      `json:"binaries"`
	Bech32Prefix  string        `json:"bech32_prefix,omitempty"`
	Denom         string        `json:"denom,omitempty"`
	MinGasPrice   string        `json:"min_gas_price,omitempty"` // as in app.toml: 0.025uatom
	BlockTime     time.Duration `json:"block_time_ns,omitempty"`
}

// Practice says whether it is a practice network: nobody else's block time is ours to set.
func (c Chain) Practice() bool { return c.BlockTime > 0 }

// Binary is the digest of the chain's binary for one platform.
type Binary struct {
	Platform string `json:"platform"` // GOOS/GOARCH
	SHA256   Hash   `json:"sha256"`
}

// Binary returns the digest of the daemon for a platform, GOOS/GOARCH.
func (c Chain) Binary(platform string) (Hash, bool) {
	for _, b := range c.Binaries {
		if b.Platform == platform {
			return b.SHA256, true
		}
	}
	return Hash{}, false
}

// Member is a host of the deployment. Name, Role, Identity and Since never
// change, NodeID only from empty; a host that changes in one of these is a new
// member, and the old one leaves a tombstone.
type Member struct {
	Name     string `json:"name"`
	Role     Role   `json:"role"`
	Identity Key    `json:"identity"`           // of the host, born on it
	NodeID   string `json:"node_id,omitempty"`  // CometBFT's, 40 hex digits; empty until enrolled
	Endpoint string `json:"endpoint,omitempty"` // public p2p host:port; always empty for a validator
	Mesh     Mesh   `json:"mesh,omitzero"`
	// PrivatePeers are other operators' nodes, id@host:port, that a sentry keeps a link to and tells nobody about.
	PrivatePeers []string `json:"private_peers,omitempty"`
	Restart      uint64   `json:"restart,omitempty"` // newest generation that restarts the node for its configuration
	Since        uint64   `json:"since"`             // generation that admitted it
}

// Tombstone is a member that was removed. Its identity and its node id never
// come back; its name may.
type Tombstone struct {
	Name     string `json:"name"`
	Identity Key    `json:"identity"`
	NodeID   string `json:"node_id,omitempty"`
	Since    uint64 `json:"since"` // generation that removed it
}

// Assignment says which member may sign with the deployment's consensus key.
// It is necessary for signing, never sufficient: what a host's own record
// forbids, no roster allows.
type Assignment struct {
	Holder string `json:"holder,omitempty"` // name of a validator; empty: nobody
	PubKey Key    `json:"ed25519,omitzero"` // consensus public key; zero: none yet
	Epoch  uint64 `json:"epoch,omitempty"`  // counts assignments
}

// New returns an unsigned generation 1.
func New(deployment string, admins []Admin, chain Chain) *Roster {
	r := &Roster{Format: FormatVersion, Deployment: deployment, Generation: 1, Admins: admins, Chain: chain}
	return r.Clone()
}

// DeploymentID returns the hash of generation 1, which identifies the
// deployment for ever and which hosts pin.
func (r *Roster) DeploymentID() Hash {
	if r.Generation == 1 {
		return r.Hash()
	}
	return r.ID
}

// Member returns the member of that name.
func (r *Roster) Member(name string) (Member, bool) {
	for _, m := range r.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// MemberByIdentity returns the member with that identity.
func (r *Roster) MemberByIdentity(k Key) (Member, bool) {
	for _, m := range r.Members {
		if m.Identity == k {
			return m, true
		}
	}
	return Member{}, false
}

// Tombstoned reports whether a member with that identity was removed.
func (r *Roster) Tombstoned(k Key) bool {
	return slices.ContainsFunc(r.Tombstones, func(t Tombstone) bool { return t.Identity == k })
}

// Holder returns the member that may sign. A host compares identities, never
// names: names are used again.
func (r *Roster) Holder() (Member, bool) {
	if r.Signer.Holder == "" {
		return Member{}, false
	}
	return r.Member(r.Signer.Holder)
}

// outside returns all nodes outside the deployment that r names.
func (r *Roster) outside() []string {
	out := slices.Clone(r.Peers)
	for _, m := range r.Members {
		out = append(out, m.PrivatePeers...)
	}
	return out
}

// Can reports whether an admin key has a capability.
func (r *Roster) Can(k Key, c Capability) bool {
	for _, a := range r.Admins {
		if a.Key == k {
			return slices.Contains(a.Capabilities, c)
		}
	}
	return false
}

// Enrolled reports whether every member's node id, and its mesh key where there
// is a mesh, is known. Nodes start only then, so that no node ever runs without
// the peers that hide it.
func (r *Roster) Enrolled() bool {
	return !slices.ContainsFunc(r.Members, func(m Member) bool {
		return m.Role != RoleDevice && (m.NodeID == "" || r.MeshDriver != "" && !m.Mesh.inMesh())
	})
}

// Clone returns a deep copy in canonical order, with no nil lists.
func (r *Roster) Clone() *Roster {
	c := *r
	c.Parents = slices.SortedFunc(slices.Values(r.Parents), Hash.Compare)
	c.Admins = sorted(r.Admins, func(a Admin) string { return a.Name })
	for i, a := range c.Admins {
		c.Admins[i].Capabilities = sorted(a.Capabilities, func(c Capability) string { return string(c) })
	}
	c.Chain.Binaries = sorted(r.Chain.Binaries, func(b Binary) string { return b.Platform })
	c.Members = sorted(r.Members, func(m Member) string { return m.Name })
	for i, m := range c.Members {
		if c.Members[i].PrivatePeers = nil; len(m.PrivatePeers) > 0 {
			c.Members[i].PrivatePeers = sorted(m.PrivatePeers, func(s string) string { return s })
		}
	}
	c.Tombstones = sorted(r.Tombstones, Tombstone.order)
	c.Peers = sorted(r.Peers, func(s string) string { return s })
	if c.Parents == nil {
		c.Parents = []Hash{}
	}
	return &c
}

// order is what tombstones are sorted by: all that makes one unique.
func (t Tombstone) order() string { return t.Name + " " + t.Identity.String() + " " + t.NodeID }

// sorted returns a copy of s ordered by key, never nil. Equal keys are refused
// by Check, so their order does not matter.
func sorted[T any](s []T, key func(T) string) []T {
	c := slices.Clone(s)
	if c == nil {
		c = []T{}
	}
	slices.SortStableFunc(c, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return c
}
