// Package node makes a daemon's home follow the roster: which keys of config.toml and app.toml a node of a given
// role must have, and how they get into the files that the daemon's own init wrote.
package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// DoubleSignCheckHeight is how many past blocks a node with a key of its own looks through for its own signature
// before it signs. One checks nothing before CometBFT 0.38.24 (off by one).
const DoubleSignCheckHeight = 10

// SnapshotInterval is how often a sentry keeps a state that others can sync from, in blocks.
const SnapshotInterval = 1000

// Where a host's armed consensus key and its sign state lie, as seen from the daemon's home.
const (
	ArmedKey   = "../signing/consensus_key.json"
	ArmedState = "../signing/consensus_state.json"
)

// Local is what only the host itself knows. None of it is in any roster.
type Local struct {
	P2P string // host:port to listen on for peers
	RPC string // host:port to listen on for questions
	// Machine: the host is a server of its own.
	Machine bool
	// Forwards: peers are reached through loopback ports that lead into the mesh, not at their mesh addresses.
	Forwards bool
	// KeyFile and StateFile are the consensus key and its sign state, relative to the home; empty where the node
	// must not sign for the deployment: it then runs with a throw-away key of its own.
	KeyFile, StateFile string
}

// LocalOf is what a host that listens like this renders with. Hosts that share a computer have a mesh in user space.
func LocalOf(l api.Listen) Local {
	return Local{P2P: l.P2P, RPC: l.RPC, Machine: l.Machine, Forwards: !l.Machine && loopback(l.P2P)}
}

// Files are the settings of the two files that every daemon has.
type Files struct {
	Comet []Setting // config/config.toml
	App   []Setting // config/app.toml
}

// Peer is a node that another one keeps a link to, and dials.
type Peer struct {
	Name    string `json:"name"`
	NodeID  string `json:"node_id"`
	Address string `json:"address"` // host:port
}

// String is CometBFT's id@host:port.
func (p Peer) String() string { return p.NodeID + "@" + p.Address }

// Settings returns what the files of member self must say. r must hold every node id.
func Settings(r *roster.Roster, self roster.Member, local Local) (Files, error) {
	if !r.Enrolled() {
		return Files{}, fmt.Errorf("render %q: the roster does not hold every node id yet", self.Name)
	}
	var p p2p
	switch self.Role {
	case roster.RoleValidator:
		p = hidden(r, self, local)
	case roster.RoleSentry:
		p = sentry(r, self, local)
	case roster.RoleGenesisValidator:
		p = open(r, self, local)
	default:
		return Files{}, fmt.Errorf("render %q: role %q is not known", self.Name, self.Role)
	}
	oneComputer := loopback(local.P2P) && !local.Machine
	comet := p.settings(local.P2P, oneComputer, oneComputer || r.Chain.Practice())
	comet = append(comet, rpc(local.RPC, followsLive(r, self, local))...)
	comet = append(comet, consensus(r.Chain, self.Role, local)...)
	return Files{Comet: comet, App: app(r.Chain, self.Role)}, nil
}

// Address is where self reaches a member's p2p port: inside the mesh where both are in it, else where the world does.
// Validators have no address of the second kind: they dial out only.
func Address(r *roster.Roster, self, m roster.Member, local Local) string {
	if r.MeshDriver == "" || !self.InMesh() || !m.InMesh() {
		return m.Endpoint
	}
	if local.Forwards {
		return Forward(self.Identity, m.Identity)
	}
	return netip.AddrPortFrom(r.MeshAddress(m.Identity), access.P2P.Port()).String()
}

// p2p is the part of config.toml that hides a validator or does not (design, Roles; CometBFT's sentry pattern).
type p2p struct {
	external      string
	pex           bool
	seeds         []string
	persistent    []Peer
	private       []string
	unconditional []string
	inbound       int
	outbound      int
	// live: a running node can be told other peers.
	live bool
}

// firstDials is how often persistent_peers names each peer. CometBFT dials every entry once at start, each after a sleep
// of its own of up to three seconds (p2p/switch.go, dialPeersAsync), and does nothing where the peer is linked by then.
// So naming a peer again is what makes the first link come early, and what makes up for a dial that was refused, which is
// else repeated only after five to eight seconds. Nothing else dials for a validator, which has no PEX.
const firstDials = 4

// hidden: the validator dials its sentries and takes nobody in. With no inbound slots at all even a stranger who
// knows its address is turned away; the sentries' ids pass because they are unconditional.
func hidden(r *roster.Roster, self roster.Member, local Local) p2p {
	sentries := ids(r, roster.RoleSentry, self)
	return p2p{
		persistent: Dials(r, self, local), private: sentries, unconditional: sentries, live: followsLive(r, self, local),
	}
}

// followsLive says whether a node is told of other sentries while it runs, so that a sentry that comes or goes costs its
// validator no block. It takes a server of its own, since whoever reaches the node's RPC can then tell it as well, and on
// a person's computer every web page does (ADR 0019); and a mesh, which cuts off a sentry that has left: CometBFT lets go of
// nobody. What it does not take in while it runs, who may always come in and who is not told of, means nothing to a node
// that takes nobody in and tells nobody.
func followsLive(r *roster.Roster, self roster.Member, local Local) bool {
	return self.Role == roster.RoleValidator && local.Machine && r.MeshDriver != "" && self.InMesh()
}

// sentry: open to the world; never tells anybody of the validator, and always has room for it.
func sentry(r *roster.Roster, self roster.Member, local Local) p2p {
	private := PrivateIDs(r, self)
	return p2p{
		external: self.Endpoint, pex: true, inbound: 40, outbound: 10,
		seeds: r.Peers, persistent: Dials(r, self, local),
		private: private, unconditional: append(private, ids(r, roster.RoleSentry, self)...),
	}
}

// open: a genesis validator of a practice network, which stands for the rest of the world.
func open(r *roster.Roster, self roster.Member, local Local) p2p {
	dials := Dials(r, self, local)
	seeds := make([]string, len(dials))
	for i, d := range dials {
		seeds[i] = d.String()
	}
	return p2p{external: self.Endpoint, pex: true, inbound: 40, outbound: 10, seeds: seeds, persistent: dials}
}

// Dials returns the members that self dials and keeps a link to, by name.
//
// Of two members that should be linked only one dials: when both do at once, CometBFT takes each link for a
// duplicate of the other and drops both, and their next tries come seconds later. The validator dials its
// sentries; sentries dial the world; between equals the one whose name comes later dials.
func Dials(r *roster.Roster, self roster.Member, local Local) []Peer {
	var out []Peer
	if self.Role == roster.RoleSentry {
		for _, p := range r.Peers {
			out = append(out, outside("world", p))
		}
		for _, p := range self.PrivatePeers {
			out = append(out, outside("private peer", p))
		}
	}
	if self.Role == roster.RoleGenesisValidator {
		for _, p := range r.Peers {
			out = append(out, outside("sentry", p))
		}
	}
	for _, m := range r.Members {
		dial := false
		switch {
		case m.Name == self.Name || Address(r, self, m, local) == "":
		case self.Role == roster.RoleValidator:
			dial = m.Role == roster.RoleSentry
		case self.Role == m.Role:
			dial = m.Name < self.Name
		}
		if dial {
			out = append(out, Peer{Name: m.Name, NodeID: m.NodeID, Address: Address(r, self, m, local)})
		}
	}
	return out
}

// outside is a node of somebody else, id@host:port; the roster has checked its form.
func outside(name, peer string) Peer {
	id, addr, _ := strings.Cut(peer, "@")
	return Peer{Name: name, NodeID: id, Address: addr}
}

// PrivateIDs are the node ids that a member must never tell anybody.
func PrivateIDs(r *roster.Roster, self roster.Member) []string {
	if self.Role != roster.RoleSentry {
		return nil
	}
	out := ids(r, roster.RoleValidator, self)
	for _, p := range self.PrivatePeers {
		out = append(out, outside("", p).NodeID)
	}
	return out
}

// settings are those of package p2p. With oneComputer peers are at loopback; with oneAddress several of them share an
// address, as all that a practice network has on its operator's computer: CometBFT takes one link from each unless told.
func (p p2p) settings(listen string, oneComputer, oneAddress bool) []Setting {
	var persistent []string
	for range firstDials {
		for _, d := range p.persistent {
			persistent = append(persistent, d.String())
		}
	}
	return []Setting{
		text("p2p.laddr", "tcp://"+listen),
		text("p2p.external_address", p.external),
		flag("p2p.pex", p.pex),
		flag("p2p.seed_mode", false),
		list("p2p.seeds", p.seeds),
		list("p2p.persistent_peers", persistent).liveIf(p.live),
		list("p2p.private_peer_ids", p.private).liveIf(p.live),
		list("p2p.unconditional_peer_ids", p.unconditional).liveIf(p.live),
		number("p2p.max_num_inbound_peers", p.inbound),
		number("p2p.max_num_outbound_peers", p.outbound),
		flag("p2p.addr_book_strict", !oneComputer),
		flag("p2p.allow_duplicate_ip", oneAddress),
		// With libp2p on, private and unconditional ids mean nothing and the validator is not hidden.
		flag("p2p.libp2p.enabled", false).optional(),
	}
}

// rpc answers on this host alone. With dials it also takes the order to dial other peers (/dial_peers), which CometBFT
// calls unsafe.
func rpc(listen string, dials bool) []Setting {
	s := []Setting{
		text("rpc.laddr", "tcp://"+listen),
		flag("rpc.unsafe", dials),
		text("rpc.pprof_laddr", ""),
		text("rpc.grpc_laddr", "").optional(),
		flag("instrumentation.prometheus", false),
	}
	if dials { // some daemons' own init lets every origin read
		s = append(s, Setting{Key: "rpc.cors_allowed_origins", Value: "[]"})
	}
	return s
}

// consensus points the node at its key. A genesis validator of a practice network does not look for its own
// signatures in past blocks: were the whole network to stop and start, everybody would wait for blocks that nobody
// makes.
func consensus(c roster.Chain, role roster.Role, local Local) []Setting {
	s := []Setting{
		// A node that syncs blocks while it may vote could sign what it has not checked.
		flag("blocksync.adaptive_sync", false).optional(),
		text("tx_index.indexer", "null"),
		text("priv_validator_laddr", ""),
	}
	if c.BlockTime > 0 {
		s = append(s, duration("consensus.timeout_commit", c.BlockTime))
	}
	if local.KeyFile == "" {
		return append(s,
			text("priv_validator_key_file", "config/priv_validator_key.json"),
			text("priv_validator_state_file", "data/priv_validator_state.json"),
			number("consensus.double_sign_check_height", 0))
	}
	check := DoubleSignCheckHeight
	if role == roster.RoleGenesisValidator {
		check = 0
	}
	return append(s,
		text("priv_validator_key_file", local.KeyFile),
		text("priv_validator_state_file", local.StateFile),
		number("consensus.double_sign_check_height", check))
}

func app(c roster.Chain, role roster.Role) []Setting {
	interval := 0
	if role == roster.RoleSentry {
		interval = SnapshotInterval
	}
	return []Setting{
		text("minimum-gas-prices", c.MinGasPrice),
		flag("api.enable", false),
		flag("grpc.enable", false),
		flag("grpc-web.enable", false).optional(),
		number("state-sync.snapshot-interval", interval),
	}
}

func duration(key string, d time.Duration) Setting { return text(key, d.String()) }

// ids returns the node ids of the members of a role, but for self.
func ids(r *roster.Roster, role roster.Role, self roster.Member) []string {
	var out []string
	for _, m := range r.Members {
		if m.Role == role && m.Name != self.Name {
			out = append(out, m.NodeID)
		}
	}
	slices.Sort(out)
	return out
}

// loopback says whether a node listens on loopback, as on a practice network where peers share an address: CometBFT
// then takes the second one for an impostor unless told.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Port returns the port of host:port, 0 where there is none.
func Port(hostport string) int {
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}
