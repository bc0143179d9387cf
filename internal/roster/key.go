package roster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Key is an Ed25519 public key. Its text is 64 lower-case hex digits.
type Key [ed25519.PublicKeySize]byte

// KeyOf returns pub, which must have the right length, as a Key.
func KeyOf(pub ed25519.PublicKey) Key { return Key(pub) }

// ParseKey reads what [Key.String] writes.
func ParseKey(s string) (k Key, err error) {
	err = k.UnmarshalText([]byte(s))
	return k, err
}

// Public returns k for use with crypto/ed25519.
func (k Key) Public() ed25519.PublicKey { return bytes.Clone(k[:]) }

// IsZero reports whether k is not set.
func (k Key) IsZero() bool { return k == Key{} }

// String returns k in hex.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(b []byte) error { return unhex(k[:], b, "key") }

// Hash is the SHA-256 of something; of a roster it is its name.
type Hash [sha256.Size]byte

// ParseHash reads what [Hash.String] writes.
func ParseHash(s string) (h Hash, err error) {
	err = h.UnmarshalText([]byte(s))
	return h, err
}

// Compare orders hashes.
func (h Hash) Compare(o Hash) int { return bytes.Compare(h[:], o[:]) }

// IsZero reports whether h is not set.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns h in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns enough of h for people to tell hashes apart.
func (h Hash) Short() string { return h.String()[:12] }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error { return unhex(h[:], b, "hash") }

// unhex fills dst from exactly as many lower-case hex digits.
func unhex(dst, src []byte, what string) error {
	if len(src) != hex.EncodedLen(len(dst)) || !isHex(string(src)) {
		return fmt.Errorf("parse %s: want %d lower-case hex digits", what, hex.EncodedLen(len(dst)))
	}
	_, err := hex.Decode(dst, src)
	return err
}

// isHex reports whether s is lower-case hex digits only.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
