// Package tunnel says what a mesh's data plane is to its control plane: a network of its own on which a packet's
// source address proves who sent it, with one peer per key and one underlay endpoint per peer at a time. WireGuard in
// three forms and vpncloud implement it.
package tunnel

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Key is a peer's X25519 key, public or private. Its text is base64, as wg(8) prints it.
type Key [32]byte

// ParseKey reads what [Key.String] writes.
func ParseKey(s string) (k Key, err error) {
	err = k.UnmarshalText([]byte(s))
	return k, err
}

// NewPrivateKey returns a new private key, clamped as RFC 7748 section 5 says.
func NewPrivateKey() (k Key, err error) {
	if _, err := rand.Read(k[:]); err != nil {
		return Key{}, err
	}
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k, nil
}

// Public returns the public half of a private key.
func (k Key) Public() (Key, error) {
	p, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return Key{}, fmt.Errorf("derive public key: %w", err)
	}
	return Key(p.PublicKey().Bytes()), nil
}

// IsZero reports whether k is not set.
func (k Key) IsZero() bool { return k == Key{} }

// String returns k in base64. Never print a private key.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(b []byte) error {
	raw, err := base64.StdEncoding.Strict().AppendDecode(nil, b)
	if err != nil || len(raw) != len(k) {
		return errors.New("parse key: want 32 bytes in base64")
	}
	copy(k[:], raw)
	return nil
}

// Peer is who may send to us and be sent to. Nobody else's packets come in.
type Peer struct {
	Key Key
	// Address is the peer's one address inside the tunnel; invalid for a key that may shake hands and not speak yet,
	// as the next key of a member that rotates.
	Address netip.Addr
	// Endpoint is where to try it first; invalid where that is not known. A peer that the tunnel has heard of by
	// itself keeps its own.
	Endpoint netip.AddrPort
	// Keepalive keeps the way back through a NAT or firewall open; 0 for none.
	Keepalive time.Duration
}

// PeerState is what the tunnel knows of a peer.
type PeerState struct {
	Key       Key
	Endpoint  netip.AddrPort // where the last authenticated packet came from, or what was set
	Handshake time.Time      // the last one that was completed; zero for none
	Received  uint64         // bytes
	Sent      uint64         // bytes
}

// Tunnel is one host's end of the mesh. It may be used from several goroutines.
type Tunnel interface {
	// SetPeers makes peers the only ones, at once: whoever is not among them is cut off before it returns. Sessions
	// and roamed endpoints of those that stay are kept.
	SetPeers(peers []Peer) error
	// SetEndpoint sends to a peer at another underlay address from now on. The session goes on.
	SetEndpoint(key Key, endpoint netip.AddrPort) error
	// Reset forgets a peer's session and the newest handshake time it ever showed, and shakes hands anew where the
	// endpoint is known. It is for a peer that lost its keys, and for one whose clock went back: WireGuard takes only
	// handshakes with a newer time than any before (WireGuard paper, 5.1).
	Reset(key Key) error
	// Peers tells the state of every peer.
	Peers() ([]PeerState, error)
	// SetSegment limits what TCP puts into one packet to a peer, in bytes of inner packet; 0 for the tunnel's own MTU.
	SetSegment(address netip.Addr, packet int) error
	Network
}

// Network is the inside: ordinary sockets on the mesh address.
type Network interface {
	Address() netip.Addr // our own inside
	MTU() int
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	ListenTCP(port uint16) (net.Listener, error)
	// ListenUDP binds a port of the mesh address. Addresses are *net.UDPAddr.
	ListenUDP(port uint16) (net.PacketConn, error)
}
