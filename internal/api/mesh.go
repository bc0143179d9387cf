package api

import "time"

// Paths of the routes of a host's mesh process, on its own socket. The agent asks it; it asks nobody.
const (
	PathMesh       = "/v1/mesh"        // GET MeshStatus
	PathMeshRoster = "/v1/mesh/roster" // GET RosterReply; PUT PublishRequest, taken as evidence
)

// Forms of a path to a peer.
const (
	PathDirect = "direct" // UDP, straight
	PathRelay  = "relay"  // through a sentry's relay, as ciphertext
	PathDown   = "down"   // nothing comes back
)

// MeshStatus is one host's view of the mesh.
type MeshStatus struct {
	PID     int       `json:"pid,omitempty"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since,omitzero"` // when this mesh process started
	Driver  string    `json:"driver"`
	// Backend is "kernel", "tun" or "netstack" for WireGuard, Reason why that one was chosen.
	Backend string `json:"backend"`
	Reason  string `json:"reason,omitempty"`
	Address string `json:"address"` // inside the mesh
	Key     string `json:"key"`     // public tunnel key in use, base64
	MTU     int    `json:"mtu"`
	// Generation and Heads are of the roster that the mesh obeys.
	Generation uint64   `json:"generation"`
	Heads      []string `json:"heads"`
	Fork       bool     `json:"fork,omitempty"`
	// Learned: since it started, this host has compared rosters with at least half of the other members.
	Learned bool       `json:"learned"`
	Peers   []MeshPeer `json:"peers"`
	// Relaying is how many members use this host as their relay now.
	Relaying int `json:"relaying,omitempty"`
	// Notes are what a person should know, as a roster of a newer format that was met.
	Notes []string `json:"notes,omitempty"`
}

// MeshPeer is one member as another one sees it.
type MeshPeer struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Address string `json:"address"`
	Path    string `json:"path"` // PathDirect, PathRelay or PathDown
	// Via is the name of the relay.
	Via string `json:"via,omitempty"`
	// Endpoint is where the peer's packets go; "hidden" for a member whose address must not be told.
	Endpoint string    `json:"endpoint,omitempty"`
	Why      string    `json:"why"` // in words, why this path
	Since    time.Time `json:"since,omitzero"`
	// RTT is the smoothed round-trip time through the tunnel, Loss the part of the last 60 pings without an answer.
	RTT       time.Duration `json:"rtt_ns,omitempty"`
	Loss      float64       `json:"loss"`
	Handshake time.Time     `json:"handshake,omitzero"`
	Received  uint64        `json:"received"`
	Sent      uint64        `json:"sent"`
	// Packet is the largest inner packet that is known to get through.
	Packet int `json:"packet,omitempty"`
	// History are the last changes of path, newest last.
	History []MeshChange `json:"history,omitempty"`
}

// MeshChange is one change of the path to a peer.
type MeshChange struct {
	At   time.Time `json:"at"`
	Path string    `json:"path"`
	Via  string    `json:"via,omitempty"`
	Why  string    `json:"why"`
}

// Forward is a loopback port of a host that leads to a peer's service inside the mesh, where the mesh is in user space.
type Forward struct {
	Peer    string `json:"peer"` // name of the member
	Service string `json:"service"`
	Listen  string `json:"listen"` // host:port on loopback
}
