package keyring

import "fmt"

// Secret is bytes that do not print, log or encode. The zero value is empty.
type Secret struct {
	// A pointer, because fmt calls no method on unexported fields and prints
	// what they hold, but never follows a pointer inside them.
	b *[]byte
}

// NewSecret returns b as a secret. It keeps b, not a copy.
func NewSecret(b []byte) Secret { return Secret{&b} }

// Bytes returns the bytes themselves, nil after Wipe.
func (s Secret) Bytes() []byte {
	if s.b == nil {
		return nil
	}
	return *s.b
}

// Wipe zeroes the bytes for all copies of s.
func (s Secret) Wipe() {
	if s.b != nil {
		clear(*s.b)
		*s.b = nil
	}
}

// Format implements fmt.Formatter.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// MarshalText implements encoding.TextMarshaler, without giving anything away.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
