// Package config is the YAML an operator writes: what a deployment should be, read strictly,
// with every problem reported at once and by line, written back for people, and described as JSON Schema.
package config

import "time"

// The values of apiVersion and kind that this version reads.
const (
	APIVersion = "pressenter/v1"
	Kind       = "Deployment"
)

// Values of keys that have one or two in this version.
const (
	ChainPractice  = "practice"  // chain: the built-in practice network
	ProviderLocal  = "local"     // provider: this computer
	ProviderInvite = "invite"    // sentries[].provider: a host that enrols itself with a code
	PolicyAsk      = "ask"       // upgrades.policy: a person agrees to each upgrade
	MeshWireGuard  = "wireguard" // mesh.driver: WireGuard, in the kernel or in user space
	MeshVpnCloud   = "vpncloud"  // mesh.driver: the program vpncloud, between servers
)

// ValidatorHost is the name of the validator's host.
const ValidatorHost = "validator"

// Deployment is one validator with what surrounds it.
type Deployment struct {
	APIVersion string
	Kind       string
	Name       string
	Chain      Chain
	Provider   string
	Validator  Validator
	Sentries   []Sentry
	Mesh       Mesh
	Devices    []Device
	Upgrades   Upgrades
	Practice   PracticeNetwork
	Admin      Admin
}

// Chain is the network to validate: the built-in practice network, or one run by another daemon, private or there already.
type Chain struct {
	Name         string
	ChainID      string // this and what follows are empty for the built-in network
	Daemon       string // base name of the executable
	Binary       string // where the executable is on this computer, absolute or relative to the config's folder
	Bech32Prefix string
	Denom        string
	// Exists: the network is there already, and nothing of it is made: its genesis and peers are those of a node that is
	// taken over.
	Exists bool
}

// BuiltIn reports whether c is the practice network that comes with the program.
func (c Chain) BuiltIn() bool { return c.Name == ChainPractice }

// Validator is the node that signs.
type Validator struct {
	Count int
	Machine
}

// Sentry is a node that stands between the world and the validator.
type Sentry struct {
	Name    string
	Machine // its Provider may be ProviderInvite
	// Relay: it relays the mesh's packets for members whose UDP is blocked, on a TCP port of its own.
	Relay bool
	// PrivatePeers are nodes of other operators, id@host:port, that it keeps a link to and tells nobody about.
	PrivatePeers []string
}

// Invited reports whether s is on a host that enrols itself with a code.
func (s Sentry) Invited() bool { return s.Provider == ProviderInvite }

// Mesh is the encrypted network between our own hosts.
type Mesh struct {
	Driver string
}

// Device is a stock WireGuard in the mesh, such as a laptop or a monitor. It reaches the sentries, and nobody reaches it.
type Device struct {
	Name string
	Key  string // its public key, as wg(8) prints it
}

// Upgrades says how a chain's upgrades are taken.
type Upgrades struct {
	Policy string
}

// PracticeNetwork is the rest of a practice network: the validators that are not ours.
type PracticeNetwork struct {
	Validators int
	BlockTime  time.Duration
}

// Practice returns the deployment that all defaults make: a practice network on this computer.
func Practice(name string) Deployment {
	return Deployment{
		APIVersion: APIVersion,
		Kind:       Kind,
		Name:       name,
		Chain:      Chain{Name: ChainPractice},
		Provider:   ProviderLocal,
		Validator:  Validator{Count: 1},
		Sentries:   []Sentry{{Name: "s1"}, {Name: "s2"}},
		Mesh:       Mesh{Driver: MeshWireGuard},
		Upgrades:   Upgrades{Policy: PolicyAsk},
		Practice:   PracticeNetwork{Validators: 3, BlockTime: time.Second},
	}
}

// Warnings says what is allowed in d and yet unwise, one sentence each, led by the path of the key.
func (d Deployment) Warnings() []string {
	var ws []string
	if len(d.Sentries) == 1 {
		ws = append(ws, "sentries: there is only one: whenever it is away the validator is cut off and signs nothing; two or more avoid that")
	}
	return ws
}

// Parse reads the config in src; file is its name in messages. An error is always of type Problems and holds all that is
// wrong: if the text cannot be read as YAML all that is wrong with the text, else all that is wrong with what it says.
func Parse(file string, src []byte) (*Deployment, error) {
	w := &walk{file: file}
	d := parse(w, src)
	if len(w.problems) > 0 {
		w.problems.sort()
		return nil, w.problems
	}
	return &d, nil
}

func parse(w *walk, src []byte) Deployment {
	root, ok := w.guarded(func() (node, bool) { return w.tree(src) })
	if !ok {
		return Deployment{}
	}
	if root.kind != mapping {
		w.report(root.at, "", "expected keys and values, got "+string(root.kind), "")
		return Deployment{}
	}
	for _, p := range root.pairs { // what another version's keys mean is not ours to judge
		if p.key == "apiVersion" && p.value.kind == text && p.value.text != APIVersion {
			message, suggestion := otherVersion(p.value.text)
			w.report(p.value.at, p.key, message, suggestion)
			return Deployment{}
		}
	}
	d := block(Practice(""), deploymentKeys).read(w, "", root)
	if len(w.problems) == 0 { // else what is missing may only be misspelt
		w.machines(d, root)
		w.driver(d, root)
		d.Practice = w.existing(d, root)
	}
	d.Validator.Machine = d.plainly(d.Validator.Machine)
	for i, sentry := range d.Sentries {
		d.Sentries[i].Machine = d.plainly(sentry.Machine)
	}
	return d
}
