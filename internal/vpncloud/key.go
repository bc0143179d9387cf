package vpncloud

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// digits are those of vpncloud's numbers. They are math/big's but for the case of the letters.
const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// errLeadingZero is about keys that vpncloud 2.3.0 writes as a number and reads back a byte short.
var errLeadingZero = errors.New("vpncloud cannot read a key whose first byte is 0: make another")

// NewSeed returns a new private key that vpncloud can use, and the public half of which it can. One of 128 random keys
// is of no use to it.
func NewSeed() (seed tunnel.Key, err error) {
	for {
		if _, err := rand.Read(seed[:]); err != nil {
			return tunnel.Key{}, err
		}
		if _, err := PublicKey(seed); err == nil {
			return seed, nil
		}
	}
}

// PublicKey returns the Ed25519 public key that vpncloud makes of a seed, which is what its peers trust. It is an error
// if vpncloud cannot use one of the two; [NewSeed] returns only seeds that it can.
func PublicKey(seed tunnel.Key) (public tunnel.Key, err error) {
	if seed[0] == 0 {
		return tunnel.Key{}, fmt.Errorf("private key: %w", errLeadingZero)
	}
	copy(public[:], ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
	return public, Usable(public)
}

// Usable says why vpncloud cannot trust a public key; nil if it can.
func Usable(public tunnel.Key) error {
	if public[0] == 0 {
		return fmt.Errorf("public key: %w", errLeadingZero)
	}
	return nil
}

// Text writes a key as vpncloud does: a number, most significant digit first.
func Text(key tunnel.Key) string { return base62(key[:]) }

// ParseText reads what [Text] and vpncloud genkey write.
func ParseText(s string) (key tunnel.Key, err error) {
	b, err := parse62(s)
	if err != nil || len(b) != len(key) {
		return tunnel.Key{}, errors.New("parse vpncloud key: want 32 bytes in base 62, the first of which is not 0")
	}
	return tunnel.Key(b), nil
}

func base62(b []byte) string {
	var out []byte
	radix, rest := big.NewInt(int64(len(digits))), new(big.Int)
	for n := new(big.Int).SetBytes(b); n.Sign() > 0; {
		n.DivMod(n, radix, rest)
		out = append(out, digits[rest.Int64()])
	}
	slices.Reverse(out)
	return string(out)
}

// maxText is more than any key or list of endpoints has.
const maxText = 1 << 14

func parse62(s string) ([]byte, error) {
	if len(s) > maxText {
		return nil, errors.New("parse base 62: too long")
	}
	n, radix := new(big.Int), big.NewInt(int64(len(digits)))
	for i := range len(s) {
		d := int64(-1)
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case c >= 'A' && c <= 'Z':
			d = int64(c-'A') + 10
		case c >= 'a' && c <= 'z':
			d = int64(c-'a') + 36
		}
		if d < 0 {
			return nil, fmt.Errorf("parse base 62: %q is no digit", s[i])
		}
		n.Mul(n, radix).Add(n, big.NewInt(d))
	}
	return n.Bytes(), nil
}
