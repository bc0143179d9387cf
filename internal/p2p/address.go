package p2p

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

const idLength = 20

// Address is where a node is said to be. What a node told is kept as told, also when it is nonsense: see Valid.
type Address struct {
	ID   string `json:"id,omitempty"` // 40 lower-case hex digits; empty: not known
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// ParseAddress reads "host:port" or "id@host:port", with or without "tcp://" before it.
func ParseAddress(s string) (Address, error) {
	var a Address
	rest := s
	if _, after, ok := strings.Cut(rest, "://"); ok {
		rest = after
	}
	if id, after, ok := strings.Cut(rest, "@"); ok {
		if !validID(strings.ToLower(id)) {
			return Address{}, fmt.Errorf("parse address %q: the id is not 40 hex digits", s)
		}
		a.ID, rest = strings.ToLower(id), after
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return Address{}, fmt.Errorf("parse address %q: %w", s, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return Address{}, fmt.Errorf("parse address %q: want host:port", s)
	}
	a.Host, a.Port = PlainHost(host), uint16(n)
	return a, nil
}

// HostPort is the address as it is dialed.
func (a Address) HostPort() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

func (a Address) String() string {
	if a.ID == "" {
		return a.HostPort()
	}
	return a.ID + "@" + a.HostPort()
}

// Valid says whether a is an id, an IP address and a port that could be dialed.
func (a Address) Valid() bool {
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && !ip.IsUnspecified() && a.Port != 0 && validID(a.ID)
}

// Loopback says whether a is on this very machine.
func (a Address) Loopback() bool {
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.IsLoopback()
}

func (a Address) compare(b Address) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}

// NodeID is the id by which CometBFT knows the holder of key.
func NodeID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:idLength])
}

func validID(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == idLength && s == strings.ToLower(s)
}

// PlainHost writes an IP address in its one short form, so that two spellings of it are equal.
func PlainHost(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return ip.Unmap().String()
}

// clean takes from s, which a stranger wrote, what could do harm on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
