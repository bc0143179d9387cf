// Package p2p speaks CometBFT's peer-to-peer protocol as a stranger does: a fresh key, no place in the network, and nothing to
// offer. It shows what a node tells, and whom it lets stay.
//
// Everything that arrives was written by somebody else: each connection has a limit of bytes, each message one of size, each
// answer one of addresses, and each wait an end.
package p2p

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"time"
)

// What a node can do to a stranger who dials it. Errors of this package match at most one of these.
var (
	ErrRefused      = errors.New("connection refused")             // the host answers, the port does not
	ErrUnreachable  = errors.New("no connection")                  // nobody answers
	ErrNoRoute      = errors.New("no way there from here")         // no route, no such name: this says nothing about the node
	ErrHandshake    = errors.New("handshake did not succeed")      // not a CometBFT node, or one that hung up before naming itself
	ErrWrongID      = errors.New("node has another id")            // somebody else answers at that address
	ErrIncompatible = errors.New("node is of another network")     // or of another block protocol, or shares no channel with us
	ErrClosed       = errors.New("closed by the node")             // it named itself, and hung up
	ErrNoPEX        = errors.New("node does not tell addresses")   // its channel of addresses is off
	ErrSilent       = errors.New("node does not answer")           // though it has the channel of addresses
	ErrOdd          = errors.New("node sent what no node sends")   // and was hung up on
	ErrTooMuch      = errors.New("node sent more than is allowed") // and was hung up on
)

// The channels a stranger claims to know. Any CometBFT node has BlockSync; PEX only where it tells addresses. The noisier
// channels are left out, so that nobody sends us their votes and transactions.
const (
	ChannelPEX       byte = 0x00
	ChannelBlockSync byte = 0x40
)

// MinSpacing is the least time between two asks on one connection. CometBFT bans for a day whoever asks again within 10 s (a
// third of the period of its address reactor), by its own clock.
const MinSpacing = 11 * time.Second

// A Stranger is who we say we are. The zero value is whoever the node would like to meet.
type Stranger struct {
	Key      ed25519.PrivateKey // nil: a new one for each connection
	Network  string             // chain id; empty: the one the node names
	Block    uint64             // block protocol version; 0: the one the node names
	P2P      uint64             // p2p protocol version; 0: the one the node names
	Version  string             // of the software; empty: the one the node names
	Moniker  string             // empty: "node"
	Channels []byte             // nil: ChannelPEX and ChannelBlockSync
	Spacing  time.Duration      // between two asks on one connection; 0: MinSpacing
	MaxBytes int                // read from one connection; 0: 8 MiB
}

// NodeInfo is what a node says of itself. Only its ID is proven.
type NodeInfo struct {
	ID         string `json:"id"`
	Network    string `json:"network"`
	Version    string `json:"version"`
	Moniker    string `json:"moniker"`
	ListenAddr string `json:"listen_addr"`
	RPCAddress string `json:"rpc_address"`
	Channels   []byte `json:"channels"`
	P2P        uint64 `json:"p2p"`
	Block      uint64 `json:"block"`
	App        uint64 `json:"app"`
}

// TellsAddresses says whether the node has the channel on which addresses are asked for.
func (n NodeInfo) TellsAddresses() bool {
	return slices.Contains(n.Channels, ChannelPEX)
}

// Outcome is what became of a stranger, in a word.
type Outcome string

// The outcomes, one for each error of this package, and Welcome for none.
const (
	Welcome      Outcome = "welcome"
	Refused      Outcome = "refused"
	Unreachable  Outcome = "unreachable"
	NoRoute      Outcome = "no way there"
	NoHandshake  Outcome = "no handshake"
	WrongID      Outcome = "another id"
	Incompatible Outcome = "another network"
	Closed       Outcome = "closed"
	NoPEX        Outcome = "tells no addresses"
	Silent       Outcome = "silent"
	Odd          Outcome = "odd"
	TooMuch      Outcome = "too much"
	Interrupted  Outcome = "interrupted" // by us: the context ended, or the address makes no sense
)

// OutcomeOf names err.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Welcome
	}
	for _, o := range []struct {
		err error
		is  Outcome
	}{
		{ErrRefused, Refused},
		{ErrUnreachable, Unreachable},
		{ErrNoRoute, NoRoute},
		{ErrHandshake, NoHandshake},
		{ErrWrongID, WrongID},
		{ErrIncompatible, Incompatible},
		{ErrClosed, Closed},
		{ErrNoPEX, NoPEX},
		{ErrSilent, Silent},
		{ErrOdd, Odd},
		{ErrTooMuch, TooMuch},
	} {
		if errors.Is(err, o.err) {
			return o.is
		}
	}
	return Interrupted
}
