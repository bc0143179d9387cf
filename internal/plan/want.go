// Package plan decides: what a deployment should be, what it is, and the steps from one to the other, as values.
// Nothing here touches a file, a process or the network; package apply is the only doer.
package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/tofu"
)

// BuiltIn is the chain that comes with the program.
var BuiltIn = config.Chain{Name: config.ChainPractice, Daemon: "practiced", Bech32Prefix: "practice", Denom: "uprac"}

// Want is all that should be: the practice network's other validators first, then the deployment itself.
type Want struct {
	World deployment.Inventory
	Own   deployment.Inventory
	Chain roster.Chain // without the genesis, which is not made yet the first time
	// ReplaceLost says that a person knows a validator's host to be lost for ever and wants a new one in its place.
	ReplaceLost bool
	// Looked says that a person looked in the clouds for what is in doubt.
	Looked bool
	// Confirmed is the machine of a validator that a person named, so that it may be given back.
	Confirmed string
	// Replace names a sentry that is removed and made anew where it is; Begin one that gets another machine from now on; Back
	// one that keeps the machine that it had.
	Replace, Begin, Back string
	// Shut are openings for SSH that are over and were not taken back.
	Shut []deployment.Opening
	// Build is what an agent says of itself that is started now; empty: whatever runs will do.
	Build string
}

// OnMachines reports whether the deployment's own hosts are servers.
func (w Want) OnMachines() bool {
	return slices.ContainsFunc(w.Own.Hosts, deployment.Host.OnMachine)
}

// Facts is what Resolve must be told, because it is of this computer and not of the config.
type Facts struct {
	Dir    deployment.Dir
	World  deployment.Inventory // as last saved
	Own    deployment.Inventory
	Daemon deployment.Daemon // the program that was found
	Now    time.Time
	// Ports hands out addresses for hosts that have none yet.
	Ports func() (string, error)
	// Replace names a sentry that may get another machine, or get the one back that it had.
	Replace string
	// PublicOf is where an SSH destination leads, a name or an address without port: ~/.ssh/config may say so.
	PublicOf func(address string) (string, error)
}

// WorldName is the name of the deployment of a practice network's other validators.
func WorldName(name string) string { return name + "-world" }

// fixed says what of a deployment that exists the config may not change.
func fixed(c config.Deployment, own, world deployment.Inventory, replace string) error {
	if own.Deployment != "" && own.Deployment != c.Name {
		return &Refusal{
			Why:  fmt.Sprintf("this folder holds the deployment %q, the config says %q: a deployment keeps its name", own.Deployment, c.Name),
			Next: "put the old name back, or make the other deployment in a folder of its own",
		}
	}
	if id := c.Chain.ChainID; own.ChainID != "" && id != "" && id != own.ChainID {
		return &Refusal{
			Why:  fmt.Sprintf("this deployment is on the chain %q, the config says %q: a deployment keeps its chain", own.ChainID, id),
			Next: "put the old chain_id back, or make the other deployment in a folder of its own",
		}
	}
	if is := chainOf(c).Daemon; own.Daemon.Name != "" && own.Daemon.Name != is {
		return &Refusal{
			Why:  fmt.Sprintf("this deployment runs the daemon %q, the config says %q: every host was made by its daemon's own init", own.Daemon.Name, is),
			Next: "put the old chain.daemon back, or make the other deployment in a folder of its own",
		}
	}
	if err := moved(c, own, replace); err != nil {
		return err
	}
	for _, s := range c.Sentries {
		if h, is := own.OnMachineOf(s.Name); is && h.Name != s.Name {
			return &Refusal{Why: fmt.Sprintf("a sentry cannot be called %q: that is the machine of %s", s.Name, h.Name), Next: "give it another name"}
		}
	}
	for _, d := range c.Devices {
		if slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == d.Name }) {
			return &Refusal{Why: fmt.Sprintf("a sentry and a device are both called %q", d.Name), Next: "give the device another name"}
		}
	}
	for _, sentry := range c.Sentries {
		for i := range c.Practice.Validators {
			if sentry.Name == worldHost(i) {
				return &Refusal{
					Why:  fmt.Sprintf("a sentry cannot be called %q: that is one of the practice network's other validators", sentry.Name),
					Next: "give it another name, as s1",
				}
			}
		}
	}
	if n := len(world.Hosts); n > 0 && world.ChainID != "" && n != c.Practice.Validators && own.Deployment != "" {
		return &Refusal{
			Why:  fmt.Sprintf("the practice network was made with %d other validators, the config says %d: its genesis names them for ever", n, c.Practice.Validators),
			Next: fmt.Sprintf("set practice.validators to %d, or destroy the deployment and make it anew", n),
		}
	}
	return nil
}

// chainOf is the chain that a config names.
func chainOf(c config.Deployment) config.Chain {
	if c.Chain.BuiltIn() {
		return BuiltIn
	}
	return c.Chain
}

// moved says which host that exists would become another one by an edit. What runs where it was would go on, and nobody
// would know of it.
func moved(c config.Deployment, own deployment.Inventory, replace string) error {
	check := func(name string, m config.Machine) error {
		was, known := own.Host(name)
		if !known || was.Removing || !was.Exists() || name == replace {
			return nil
		}
		provider, why := suppliedBy(c, m), ""
		switch {
		case provider != was.Provider:
			why = fmt.Sprintf("host %q is %s, the config says %s", name, supplied(was.Provider), supplied(provider))
		case goesElsewhere(c, m, was):
			why = fmt.Sprintf("host %q is the server %s, the config says %s", name, was.Address, m.Address)
		default:
			return nil
		}
		next := fmt.Sprintf("run 'pressenter replace %s', which moves it: the new one joins before the old one goes; or put it back", name)
		if name == config.ValidatorHost {
			next = "put it back: moving a validator to another machine is not in this version"
		}
		return &Refusal{Why: why + ": a host keeps its machine", Next: next}
	}
	if err := check(config.ValidatorHost, c.Validator.Machine); err != nil {
		return err
	}
	for _, s := range c.Sentries {
		if s.Invited() {
			continue
		}
		if err := check(s.Name, s.Machine); err != nil {
			return err
		}
		for _, was := range own.Replaced {
			if s.Name != replace && was.Provider == config.ProviderSSH && c.ProviderOf(s.Machine) == was.Provider && s.Address == was.Address {
				return &Refusal{
					Why: fmt.Sprintf("host %q is to be the server %s, which %s was before it was replaced and which is to be cleared", s.Name, s.Address, was.Name),
					Next: fmt.Sprintf("run 'pressenter replace %s --cancel' if it is to stay there; or put the config back as it was and apply first",
						was.Name),
				}
			}
		}
	}
	return nil
}

// suppliedBy is the provider of a machine as an inventory has it.
func suppliedBy(c config.Deployment, m config.Machine) string {
	if provider := c.ProviderOf(m); provider != config.ProviderLocal {
		return provider
	}
	return ""
}

// goesElsewhere says whether the config has another machine for a host than the one that it is.
func goesElsewhere(c config.Deployment, m config.Machine, was deployment.Host) bool {
	provider := suppliedBy(c, m)
	return provider != was.Provider || provider == config.ProviderSSH && m.Address != was.Address
}

// supplied is a provider in words.
func supplied(provider string) string {
	switch provider {
	case "":
		return "on this computer"
	case config.ProviderSSH:
		return "a server that was there already"
	}
	return "a machine of " + provider
}

// Resolve turns the config into hosts. Hosts that were there before keep their addresses.
func Resolve(c config.Deployment, f Facts) (Want, error) {
	if err := fixed(c, f.Own, f.World, f.Replace); err != nil {
		return Want{}, err
	}
	if err := joinable(c, f.Own); err != nil {
		return Want{}, err
	}
	chain := chainOf(c)
	id := f.Own.ChainID // once chosen it stays
	if id == "" {
		if id = chain.ChainID; id == "" {
			id = "practice-" + c.Name
		}
	}
	w := Want{
		World: deployment.Inventory{Deployment: WorldName(c.Name), ChainID: id, Daemon: f.Daemon},
		Own:   deployment.Inventory{Deployment: c.Name, ChainID: id, Daemon: f.Daemon, MeshDriver: c.Mesh.Driver, MachinesID: f.Own.MachinesID, AdminCIDRs: slices.Clone(c.Admin.CIDRs)},
		Chain: roster.Chain{
			ID: id, Daemon: chain.Daemon, Bech32Prefix: chain.Bech32Prefix, Denom: chain.Denom,
			MinGasPrice: "0" + chain.Denom, BlockTime: c.Practice.BlockTime,
		},
	}
	w.Own.Openings = Opened(f.Own.Openings, f.Now)
	for _, o := range f.Own.Openings {
		if !slices.Contains(w.Own.Openings, o) {
			w.Shut = append(w.Shut, o)
		}
	}
	r := resolver{Facts: f}
	for i := range c.Practice.Validators {
		r.add(&w.World, f.World, f.Dir.World(), worldHost(i), roster.RoleGenesisValidator)
	}
	if w.join(c, f.Own.Adoption); w.hasValidator() {
		r.own(&w.Own, c, config.ValidatorHost, roster.RoleValidator, c.Validator.Machine)
	}
	for _, s := range c.Sentries {
		if s.Invited() {
			w.Own.Invited = append(w.Own.Invited, deployment.Invited{Name: s.Name, PrivatePeers: slices.Clone(s.PrivatePeers)})
			continue
		}
		r.own(&w.Own, c, s.Name, roster.RoleSentry, s.Machine)
		r.sentry(&w.Own, s)
	}
	for _, d := range c.Devices {
		key, err := tunnel.ParseKey(d.Key)
		if err != nil {
			return Want{}, fmt.Errorf("key of device %q: %w", d.Name, err)
		}
		w.Own.Devices = append(w.Own.Devices, deployment.Device{Name: d.Name, Key: roster.Key(key)})
	}
	return w, r.err
}

// worldHost is the name of one of the practice network's other validators.
func worldHost(i int) string { return "w" + strconv.Itoa(i+1) }

type resolver struct {
	Facts
	err error
}

func (r *resolver) add(to *deployment.Inventory, saved deployment.Inventory, dir deployment.Dir, name string, role roster.Role) {
	h, known := saved.Host(name)
	if !known || h.Role != role {
		h = deployment.Host{
			Name: name, Role: role, Folder: filepath.Join(dir.Hosts(), name),
			Listen: api.Listen{P2P: r.port(), RPC: r.port()},
		}
	}
	h.Removing = false
	if to.MeshDriver != "" && h.Listen.Mesh == "" {
		h.Listen.Mesh = "127.0.0.1:0" // dials out only
		if role == roster.RoleSentry {
			h.Listen.Mesh = r.port()
		}
	}
	to.Put(h)
}

// own adds a host of the deployment itself.
func (r *resolver) own(to *deployment.Inventory, c config.Deployment, name string, role roster.Role, m config.Machine) {
	if c.ProviderOf(m) == config.ProviderLocal {
		r.add(to, r.Own, r.Dir, name, role)
		return
	}
	h := deployment.Host{
		Name: name, Role: role, Folder: deployment.MachineFolder, Provider: c.ProviderOf(m), Address: m.Address, Public: m.Public,
		Listen: api.Listen{P2P: everywhere(portP2P), RPC: loopback(portRPC), Machine: true},
	}
	h.VolumeGB, h.VolumeDevice = m.VolumeGB, m.VolumeDevice
	if was, known := r.Own.Host(name); known {
		h.Made, h.VolumeSet, h.Number = was.Made, was.VolumeSet, was.Number
		if h.Bought() {
			h.VolumeDevice = was.VolumeDevice
		}
	} else {
		h.Number = fresh(name, c, r.Own)
	}
	if role == roster.RoleValidator {
		h.Listen.P2P = loopback(portP2P) // it takes nobody in
	} else if h.Public == "" && !h.Bought() {
		public, err := r.PublicOf(h.Address)
		if err != nil {
			r.err = fmt.Errorf("find where %q is: %w", name, err)
		}
		h.Public = public
	}
	if h.Bought() {
		r.buy(&h, *to, c, m)
	}
	if to.MeshDriver != "" {
		h.Listen.Mesh = everywhere(0) // dials out only
		if role == roster.RoleSentry {
			h.Listen.Mesh = everywhere(portMesh)
		}
	}
	to.Put(h)
}

// buy says what machine a host gets. One that has its machine keeps it, whatever is usual by now.
func (r *resolver) buy(h *deployment.Host, to deployment.Inventory, c config.Deployment, m config.Machine) {
	cloud, ok := tofu.Lookup(h.Provider)
	if !ok {
		r.err = fmt.Errorf("buy a machine for %q: there is no cloud %q", h.Name, h.Provider)
		return
	}
	h.Region, h.Size = elsewhere(cloud, h.Name, c, to, r.Own), cloud.Sizes[string(h.Role)]
	h.Public = NotYet
	if was, known := r.Own.Host(h.Name); known && was.Provider == h.Provider {
		h.Region, h.Size, h.Address = was.Region, was.Size, was.Address
		if was.Public != "" {
			h.Public = was.Public
		}
	}
	if m.Region != "" {
		h.Region = m.Region
	}
	if m.Size != "" {
		h.Size = m.Size
	}
	h.Spread = apart(cloud, *h, to, r.Own)
}

// NotYet stands for the address of a machine that is not bought yet.
const NotYet = "not-bought-yet.invalid"

// Ports of a machine. The relay's is that of HTTPS, which networks that block the rest let through.
const (
	portP2P   = 26656
	portRPC   = 26657
	portMesh  = 51820
	portRelay = 443
)

// hostport writes host:port, an IPv6 address in brackets.
func hostport(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

func everywhere(port int) string { return hostport("::", port) }
func loopback(port int) string   { return hostport("127.0.0.1", port) }

// sentry adds what the config says of a sentry alone.
func (r *resolver) sentry(to *deployment.Inventory, c config.Sentry) {
	h, _ := to.Host(c.Name)
	h.PrivatePeers = slices.Clone(c.PrivatePeers)
	switch {
	case !c.Relay:
		h.Listen.Relay = ""
	case h.OnMachine():
		h.Listen.Relay = everywhere(portRelay)
	case h.Listen.Relay == "":
		h.Listen.Relay = r.port()
	}
	to.Put(h)
}

func (r *resolver) port() string {
	p, err := r.Ports()
	if err != nil {
		r.err = err
	}
	return p
}

// Endpoint is where the world reaches a host; empty for a validator, whose address nobody is told.
func Endpoint(h deployment.Host) string { return reached(h, h.Listen.P2P) }

// reached is where others reach what a host listens to; empty for a validator, and for what is not there.
func reached(h deployment.Host, listen string) string {
	switch {
	case h.Role == roster.RoleValidator || listen == "":
		return ""
	case !h.OnMachine():
		return listen
	}
	return hostport(h.Public, node.Port(listen))
}

// Moniker is the name that a node tells its peers: the validator's says nothing about what it is.
func Moniker(h deployment.Host) string {
	if h.Role == roster.RoleValidator {
		return "node"
	}
	return h.Name
}
