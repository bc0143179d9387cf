package keyring

import "fmt"

// Secret is bytes that do not print, log or encode. The zero value is empty.
type Secret struct {
	// A function, because fmt calls no method on unexported fields and prints
	// what they hold, sometimes through a pointer, but never calls them.
	at func() *[]byte
}

// NewSecret returns b as a secret. It keeps b, not a copy.
func NewSecret(b []byte) Secret { return Secret{func() *[]byte { return &b }} }

// Bytes returns the bytes themselves, nil after Wipe.
func (s Secret) Bytes() []byte {
	if s.at == nil {
		return nil
	}
	return *s.at()
}

// Wipe zeroes the bytes for all copies of s.
func (s Secret) Wipe() {
	if s.at != nil {
		clear(*s.at())
		*s.at() = nil
	}
}

// Format implements fmt.Formatter.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// MarshalText implements encoding.TextMarshaler, without giving anything away.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
