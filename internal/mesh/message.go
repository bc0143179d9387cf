package mesh

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/pressenter/pressenter/internal/roster"
)

// Sizes and counts of what goes over UDP.
const (
	messageVersion = 1
	maxMessage     = 1100 // bytes of a datagram that does not probe the size of packets
	maxProbe       = 9216 // bytes of one that does
	maxMoved       = 8
	maxTold        = 4  // heads in a message
	headers        = 48 // bytes of IPv6 and UDP before a datagram inside the tunnel
)

// kind says what a message is.
type kind string

const (
	ping kind = "ping"
	pong kind = "pong" // the answer to one ping
)

// message is a ping or a pong, all of its JSON in one spelling.
type message struct {
	Version    int            `json:"v"`
	Kind       kind           `json:"kind"`
	Nonce      uint64         `json:"nonce"` // of the ping
	Generation uint64         `json:"generation"`
	Heads      []roster.Hash  `json:"heads"` // see told
	Seen       netip.AddrPort `json:"seen,omitzero"`
	Moved      []sighting     `json:"moved,omitempty"`
	Pad        string         `json:"pad,omitempty"` // fills a ping that probes the size of packets; zeros
}

// sighting says where the sender's own tunnel heard a member, who is never a hidden one, and how long ago.
type sighting struct {
	Identity roster.Key     `json:"identity"`
	Address  netip.AddrPort `json:"address"`
	Age      uint32         `json:"age_s"`
}

// errVersion is the error for a message of another version.
var errVersion = errors.New("version of a ping that is not known here")

// encode returns the message as it is sent.
func (m message) encode() []byte {
	if m.Heads == nil {
		m.Heads = []roster.Hash{}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // no field can fail to marshal
	}
	return b
}

// padded returns a ping of exactly size bytes, or as small as it can be.
func (m message) padded(size int) []byte {
	m.Pad = "0"
	if n := size - len(m.encode()); n > 0 {
		m.Pad = string(bytes.Repeat([]byte{'0'}, n+1))
	}
	return m.encode()
}

// decodeMessage reads what encode writes, and nothing else.
func decodeMessage(b []byte) (message, error) {
	var m message
	if len(b) > maxProbe {
		return message{}, fmt.Errorf("read ping: %d bytes, more than %d", len(b), maxProbe)
	}
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		if json.Unmarshal(b, &head) == nil && head.Version != messageVersion {
			return message{}, errVersion
		}
		return message{}, fmt.Errorf("read ping: %w", err)
	}
	if m.Version != messageVersion {
		return message{}, errVersion
	}
	if m.Kind != ping && m.Kind != pong || len(m.Heads) > maxTold || len(m.Moved) > maxMoved {
		return message{}, errors.New("read ping: not a ping nor a pong, or too much in it")
	}
	if m.Pad == "" && len(b) > maxMessage || m.Pad != "" && m.Kind != ping {
		return message{}, errors.New("read ping: too long")
	}
	if !bytes.Equal(m.encode(), b) { // unknown, repeated, misspelt fields and other spellings
		return message{}, errors.New("read ping: bytes are not canonical")
	}
	return m, nil
}

// told returns what a message says of heads: themselves or, when there are too many, one hash over all of them. Only
// whether it is the same on both sides matters.
func told(heads []roster.Hash) []roster.Hash {
	if len(heads) <= maxTold {
		return heads
	}
	h := sha256.New()
	for _, head := range heads {
		h.Write(head[:])
	}
	return []roster.Hash{roster.Hash(h.Sum(nil))}
}

// plausible reports whether somebody may be at a, as far as one can tell by looking at it.
func plausible(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && ip.Zone() == "" && !ip.Is4In6() && !ip.IsUnspecified() && !ip.IsMulticast() &&
		!ip.IsLoopback() && !ip.IsLinkLocalUnicast()
}
