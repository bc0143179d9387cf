// Package api is the contract between a host's agent and those who ask it: JSON over HTTP on a unix socket.
// The same types are used on both ends. The socket lies in a folder that only its owner may enter; that, and the
// kernel's word on who is on the other end, is the authentication.
//
// Builds that follow one another understand each other. Who gets an answer passes over fields that it does not know,
// and takes a missing one for what was before there was it. Who gets a request passes over unknown fields only where
// what is left still means the same or less: a lock, rosters (signed, and verified by themselves), the birth of a next
// mesh key. It refuses the whole request where an unknown field may be a condition, so that leaving it out would do
// more than was asked or what cannot be undone: an enrolment (keys are born once), an intent (what is left of "keep it
// silent" starts a node), a consensus key that is brought back, and arming it. Such types say so. Apply restarts
// agents of another build before it asks them for anything.
package api

import (
	"time"

	"github.com/pressenter/pressenter/internal/health"
)

// Paths of the agent's routes.
const (
	PathStatus  = "/v1/status"
	PathEnroll  = "/v1/enroll"
	PathGenesis = "/v1/genesis"
	PathRoster  = "/v1/roster"
	PathIntent  = "/v1/intent"
	PathLock    = "/v1/lock"
	PathCommit  = "/v1/commit"
	PathPeers   = "/v1/peers"
	PathKey     = "/v1/key"
	PathArm     = "/v1/key/arm"
	PathLogs    = "/v1/logs"
	PathRotate  = "/v1/mesh/rotate" // POST: bear the next mesh key
	PathSeen    = "/v1/seen"        // GET ?address=&height=: Seen
)

// Limits on what crosses the socket, in bytes.
const (
	MaxRequest  = 64 << 20 // a genesis file is the largest thing sent to an agent
	MaxResponse = 16 << 20
)

// EnrollRequest makes a bare host into one that can hold a node: the daemon's home is made by the daemon's own init
// and the host's keys are born. Asking again with the same content changes nothing and answers the same. An agent that
// does not know a field refuses it: keys are born once, and for what it understood.
type EnrollRequest struct {
	Name       string `json:"name"`       // host's name in the roster
	Deployment string `json:"deployment"` // the deployment's name
	Role       string `json:"role"`
	ChainID    string `json:"chain_id"`
	Moniker    string `json:"moniker"`
	Daemon     string `json:"daemon"`        // base name of the executable
	Binary     string `json:"binary"`        // path on the host to copy or link it from
	BinaryHash string `json:"binary_sha256"` // hex; the agent checks it
	Listen     Listen `json:"listen"`
	// BackupTo is the age recipient that a consensus key born here is sealed to at once.
	BackupTo string `json:"backup_to"`
	// MeshDriver is the mesh that the host's keys are born for; empty: none.
	MeshDriver string `json:"mesh_driver,omitempty"`
	// MeshProgram is the path on the host of the program that a driver runs; empty: the host has its own, or the driver
	// runs none. The agent checks its hash, in hex.
	MeshProgram     string `json:"mesh_program,omitempty"`
	MeshProgramHash string `json:"mesh_program_sha256,omitempty"`
}

// Listen holds the host's own addresses, host:port. They are known to the host and the operator and are in no roster.
type Listen struct {
	P2P     string `json:"p2p"`
	RPC     string `json:"rpc"`
	PrivVal string `json:"privval,omitempty"`
	// Mesh is where the tunnel takes UDP; port 0 for a host that dials out only.
	Mesh string `json:"mesh,omitempty"`
	// Relay is where the host relays, TCP; empty: it does not.
	Relay string `json:"relay,omitempty"`
	// Machine: the host is a server of its own. The mesh is a network device of it, and its other devices are filtered.
	Machine bool `json:"machine,omitempty"`
}

// Enrolled is the public half of what was born on a host.
type Enrolled struct {
	Name     string `json:"name"`
	Identity []byte `json:"identity"` // ed25519 public key
	NodeID   string `json:"node_id"`
	MeshKey  []byte `json:"mesh_key,omitempty"` // X25519 public key; empty where the host is in no mesh
	MeshTLS  []byte `json:"mesh_tls,omitempty"` // ed25519 public key, for relays
	// MeshDriver is what the mesh keys are for.
	MeshDriver string `json:"mesh_driver,omitempty"`
	// MeshProgram is the hex SHA-256 of the program that the driver runs, where the host was given one.
	MeshProgram string `json:"mesh_program,omitempty"`
	// NextMeshKey is what the host changes its mesh key to once the roster has announced it.
	NextMeshKey []byte `json:"next_mesh_key,omitempty"`
	Consensus   []byte `json:"consensus,omitempty"` // ed25519 public key, of validators
	// Backup is the consensus key sealed to EnrollRequest.BackupTo; empty where the host has none.
	Backup []byte `json:"backup,omitempty"`
}

// PublishRequest carries roster envelopes in an order in which each one's parents come first. Fields that an agent does
// not know are passed over: each envelope is signed, and says itself which readers may take it.
type PublishRequest struct {
	Envelopes [][]byte `json:"envelopes"`
	// Evidence takes what is good in any order, forks included, instead of insisting that each generation follows
	// exactly what the host knows.
	Evidence bool `json:"evidence,omitempty"`
	// Newest says that the sender asked everyone it could reach and knows of nothing newer. A host that has just
	// come up starts no node before it has been told so.
	Newest bool `json:"newest"`
}

// RosterReply is all that a host knows of the roster, parents first.
type RosterReply struct {
	Envelopes [][]byte `json:"envelopes"`
}

// Intent is what a person asked of a host. It outlives agent, supervisor and reboot. An agent that does not know a field
// refuses it: what is left would be taken for the wish that the node run.
type Intent struct {
	// Stopped: the node is down because a person wants it so; nothing starts it but a person.
	Stopped bool `json:"stopped"`
	// Held: nothing is repaired, started, stopped or rewritten until a person says so.
	Held  bool      `json:"held"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// LockHolder says who holds a deployment's lock. The lock lasts as long as the connection that took it.
type LockHolder struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
}

// HostStatus is all that a host tells of itself.
type HostStatus struct {
	Name       string      `json:"name"`
	Deployment string      `json:"deployment"`
	Role       string      `json:"role"`
	Agent      AgentStatus `json:"agent"`
	Enrolled   *Enrolled   `json:"enrolled,omitempty"`
	Listen     Listen      `json:"listen"`
	// GenesisHash is the hex SHA-256 of the genesis file in the daemon's home; empty where there is none.
	GenesisHash string        `json:"genesis_sha256,omitempty"`
	Roster      RosterStatus  `json:"roster"`
	Intent      Intent        `json:"intent"`
	Signing     SigningStatus `json:"signing"`
	Node        NodeStatus    `json:"node"`
	Mesh        *MeshStatus   `json:"mesh,omitempty"` // nil where there is none, or it does not answer
	MeshPID     int           `json:"mesh_pid,omitempty"`
	// Reason says why the agent wants the node up or down.
	Reason   string           `json:"reason,omitempty"`
	Findings []health.Finding `json:"findings,omitempty"`
}

// AgentStatus describes the agent's own process.
type AgentStatus struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Build names the program that runs more exactly than Version: the revision that it was built from or, where that
	// is not the whole truth, the digest of the executable. Empty for agents that do not tell.
	Build    string    `json:"build,omitempty"`
	Since    time.Time `json:"since"`
	RSSBytes uint64    `json:"rss_bytes,omitempty"`
	CPUSecs  float64   `json:"cpu_seconds,omitempty"`
}

// RosterStatus is the host's view of who is who.
type RosterStatus struct {
	ID         string   `json:"id,omitempty"`
	Generation uint64   `json:"generation"`
	Heads      []string `json:"heads"`
	Fork       bool     `json:"fork,omitempty"`
	// Applied is the head that the host's files and processes were last made to follow.
	Applied string `json:"applied,omitempty"`
	// Behind says why they do not follow the newest roster yet; empty where they do.
	Behind string `json:"behind,omitempty"`
	// Learned: the host has been told since it came up that it holds the newest roster.
	Learned bool `json:"learned"`
}

// SigningStatus says whether the host may sign with the consensus key, and what it signed.
type SigningStatus struct {
	// State is "none" (no consensus key here), "disarmed" or "armed".
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Watching: the host is reading blocks to find out whether somebody else signs.
	Watching  bool   `json:"watching,omitempty"`
	PublicKey []byte `json:"public_key,omitempty"`
	Address   string `json:"address,omitempty"` // upper-case hex of the consensus address
	// LastHeight is the high-water mark in the sign state file.
	LastHeight int64 `json:"last_height"`
	// Missed and Window are the chain's own slashing record; Window is 0 where it is not known.
	Missed     int64  `json:"missed"`
	Window     int64  `json:"window"`
	MinSigned  string `json:"min_signed,omitempty"`
	Jailed     bool   `json:"jailed,omitempty"`
	Tombstoned bool   `json:"tombstoned,omitempty"`
}

// NodeStatus is what the supervisor reports and the node's RPC answers.
type NodeStatus struct {
	SupervisorPID int `json:"supervisor_pid,omitempty"`
	DaemonPID     int `json:"daemon_pid,omitempty"`
	// Phase is the supervisor's word for how the node is; "down" once it was seen that nothing runs and nothing is about to;
	// "unknown" where that cannot be told.
	Phase    string    `json:"phase"`
	Since    time.Time `json:"since,omitzero"`
	Restarts int       `json:"restarts"`
	// RestartToken is the roster generation whose restart is in effect.
	RestartToken uint64 `json:"restart_token"`
	// Revision is the configuration that is in effect, Core what of it takes a restart to change; empty: all of it.
	Revision   string    `json:"revision,omitempty"`
	Core       string    `json:"core,omitempty"`
	Answers    bool      `json:"answers"` // the RPC answered
	Version    string    `json:"version,omitempty"`
	Network    string    `json:"network,omitempty"`
	NodeID     string    `json:"node_id,omitempty"`
	Height     int64     `json:"height"`
	BlockTime  time.Time `json:"block_time,omitzero"`
	CatchingUp bool      `json:"catching_up"`
	Peers      []Peer    `json:"peers,omitempty"`
	// Findings are moved to the host's own by whoever fills both.
	Findings []health.Finding `json:"-"`
}

// Peer is one live peer of a node.
type Peer struct {
	NodeID   string `json:"node_id"`
	Moniker  string `json:"moniker"`
	RemoteIP string `json:"remote_ip"`
	Listen   string `json:"listen"`
	Outbound bool   `json:"outbound"`
}

// Commit is the newest LastCommit that a node holds, as read from a block.
type Commit struct {
	Height int64     `json:"height"` // the height that was committed
	Time   time.Time `json:"time"`
	// Signers are the consensus addresses (upper-case hex) with a precommit for the block.
	Signers []string `json:"signers"`
	Total   int      `json:"total"` // validators in the commit, present or not
}

// Seen is what a host's own node, which keeps up, sees of a consensus address.
type Seen struct {
	Height int64     `json:"height"` // of its newest block
	Time   time.Time `json:"time"`   // of that block
	InSet  bool      `json:"in_set"` // the address may vote there
	// Signed: the commit of the height that was asked for, below Height, holds a vote of it, whatever for.
	Signed bool `json:"signed"`
}

// PeersReply is what a host's node knows of others, to judge whether the validator is hidden.
type PeersReply struct {
	Peers       []Peer         `json:"peers"`
	AddressBook []AddressEntry `json:"address_book"`
}

// AddressEntry is one entry of a node's address book.
type AddressEntry struct {
	NodeID string `json:"node_id"`
	Addr   string `json:"addr"` // host:port
	// SourceID and Source are of the node that told it.
	SourceID string `json:"source_id,omitempty"`
	Source   string `json:"source,omitempty"` // host:port
}

// RestoreRequest brings a consensus key back to a host. It is left disarmed. An agent that does not know a field refuses
// it: that may say what the key signed already.
type RestoreRequest struct {
	Key []byte `json:"key"` // priv_validator_key.json
	// HighWaterMark is the highest height that this key is known to have signed, from a state file; 0 = not known.
	HighWaterMark int64 `json:"high_water_mark"`
}

// ArmRequest asks a host to watch the chain for signatures of its consensus key and, if nobody signs, to let the key
// sign. The host believes nobody's word about it; the answer comes at once and the watch goes on by itself. An agent
// that does not know a field refuses it: that may be a further condition.
type ArmRequest struct {
	By string `json:"by"`
}

// Problem is an agent's answer when it cannot do as asked.
type Problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	// Code lets a caller branch: "conflict", "locked", "not-enrolled", "invalid", "older" (the request has a field that
	// the agent does not know and must not pass over), "unsafe", "internal".
	Code string      `json:"code"`
	Lock *LockHolder `json:"lock,omitempty"`
	// Missing names roster parents that the host lacks, by hash.
	Missing []string `json:"missing,omitempty"`
}
