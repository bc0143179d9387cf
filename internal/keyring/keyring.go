// Package keyring keeps the operator's secrets: the key that signs rosters,
// the age identity that opens backups, and the passphrase of the state of
// machines, in one file.
//
// The file is keyring.age, an age file under a passphrase. Only for practice
// networks it may be keyring.json, which is not encrypted and says so in its
// first line. A host has no keyring: with the recipient alone, which is not
// secret, [SealBackup] lets it hand the operator what it cannot read back.
package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
)

const (
	format       = 1
	kind         = "pressenter keyring"
	practiceOnly = "practice only: the keys below are not encrypted; whoever reads this file owns the deployment"

	maxFile = 64 << 10 // of a keyring in any form
	maxName = 128
)

// scryptLogN is the work factor of passphrases, written and accepted. 2^18
// takes about a second and 256 MiB.
var scryptLogN = 18

// Keyring is an operator's secrets. It prints as its name only; it encodes as
// nothing. Wipe it after use.
type Keyring struct {
	name    string
	created time.Time
	admin   Secret // ed25519 seed
	age     Secret // AGE-SECRET-KEY-1...
	state   Secret // passphrase
	dir     string // where it was saved to or opened from
}

// New returns a fresh keyring. The name is for people: who or what it is of.
func New(name string) (*Keyring, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make keyring: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return &Keyring{
		name:    name,
		created: time.Now().UTC().Truncate(time.Second),
		admin:   NewSecret(seed),
		age:     NewSecret([]byte(identity.String())),
		state:   NewSecret([]byte(rand.Text() + rand.Text())),
	}, nil
}

// checkName keeps terminals safe from names.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d bytes, want 1 to %d", len(name), maxName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return errors.New("name holds control characters")
		}
	}
	return nil
}

// Name returns whose keyring it is.
func (k *Keyring) Name() string { return k.name }

// Created returns when it was made, by the clock of that computer.
func (k *Keyring) Created() time.Time { return k.created }

// AdminKey returns the private key that signs rosters. It is a copy; the
// caller wipes it with clear. It is nil once the keyring is wiped.
func (k *Keyring) AdminKey() ed25519.PrivateKey {
	if len(k.admin.Bytes()) != ed25519.SeedSize {
		return nil
	}
	return ed25519.NewKeyFromSeed(k.admin.Bytes())
}

// AdminPublic returns the public half of the roster key.
func (k *Keyring) AdminPublic() ed25519.PublicKey {
	key := k.AdminKey()
	if key == nil {
		return nil
	}
	defer clear(key)
	return bytes.Clone(key.Public().(ed25519.PublicKey))
}

// StatePassphrase returns the passphrase for the state of machines.
func (k *Keyring) StatePassphrase() Secret { return NewSecret(bytes.Clone(k.state.Bytes())) }

// Recipient returns the age recipient of the keyring, which is not secret:
// what is sealed to it, only the keyring opens.
func (k *Keyring) Recipient() string {
	identity, err := k.identity()
	if err != nil {
		return "" // wiped
	}
	return identity.Recipient().String()
}

func (k *Keyring) identity() (*age.X25519Identity, error) {
	identity, err := age.ParseX25519Identity(string(k.age.Bytes()))
	if err != nil {
		return nil, errors.New("keyring has no valid age identity") // the cause would quote it
	}
	return identity, nil
}

// Wipe zeroes the secrets, as far as the language allows: copies that the
// runtime or a library made are out of reach.
func (k *Keyring) Wipe() {
	k.admin.Wipe()
	k.age.Wipe()
	k.state.Wipe()
}

// Format implements fmt.Formatter: every verb prints the name only.
func (k *Keyring) Format(s fmt.State, _ rune) {
	name := "none"
	if k != nil {
		name = k.name
	}
	fmt.Fprintf(s, "keyring(%s)", name)
}

// document is a keyring in clear text.
type document struct {
	Unprotected string    `json:"unprotected,omitempty"`
	Format      int       `json:"format"`
	Kind        string    `json:"kind"`
	Name        string    `json:"name"`
	Created     time.Time `json:"created"`
	AdminSeed   []byte    `json:"admin_seed"`
	AgeIdentity []byte    `json:"age_identity"`
	StatePass   []byte    `json:"state_passphrase"`
}

// encode returns the keyring in clear text, labelled if it is to stay so.
func (k *Keyring) encode(label string) ([]byte, error) {
	if len(k.admin.Bytes()) != ed25519.SeedSize {
		return nil, errors.New("encode keyring: it is wiped")
	}
	b, err := json.MarshalIndent(document{
		Unprotected: label,
		Format:      format,
		Kind:        kind,
		Name:        k.name,
		Created:     k.created,
		AdminSeed:   k.admin.Bytes(),
		AgeIdentity: k.age.Bytes(),
		StatePass:   k.state.Bytes(),
	}, "", "  ")
	if err != nil {
		return nil, errors.New("encode keyring: the date cannot be written")
	}
	return append(b, '\n'), nil
}

// decode reads a keyring in clear text. Its errors quote nothing of it.
func decode(b []byte, label string) (*Keyring, error) {
	var d document
	if err := decodeJSON(b, &d); err != nil {
		return nil, fmt.Errorf("decode keyring: %w", err)
	}
	defer d.wipe()
	switch {
	case d.Kind != kind:
		return nil, errors.New("decode keyring: it is something else")
	case d.Format != format:
		return nil, fmt.Errorf("decode keyring: format %d, this program knows %d", d.Format, format)
	case d.Unprotected != label:
		return nil, errors.New("decode keyring: its label says that it is protected otherwise")
	case len(d.AdminSeed) != ed25519.SeedSize:
		return nil, errors.New("decode keyring: it has no admin key")
	case len(d.StatePass) == 0 || len(d.StatePass) > maxName:
		return nil, errors.New("decode keyring: it has no state passphrase")
	}
	if err := checkName(d.Name); err != nil {
		return nil, fmt.Errorf("decode keyring: %w", err)
	}
	k := &Keyring{
		name:    d.Name,
		created: d.Created,
		admin:   NewSecret(bytes.Clone(d.AdminSeed)),
		age:     NewSecret(bytes.Clone(d.AgeIdentity)),
		state:   NewSecret(bytes.Clone(d.StatePass)),
	}
	if _, err := k.identity(); err != nil {
		k.Wipe()
		return nil, fmt.Errorf("decode keyring: %w", err)
	}
	return k, nil
}

func (d *document) wipe() {
	clear(d.AdminSeed)
	clear(d.AgeIdentity)
	clear(d.StatePass)
}

// decodeJSON decodes one strict JSON document. The errors of encoding/json can
// quote what they read, so they stay here.
func decodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return errors.New("not a document of the expected form")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

// seal encrypts plaintext to recipients.
func seal(plaintext []byte, to age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unseal decrypts at most limit bytes.
func unseal(r io.Reader, limit int64, by age.Identity) ([]byte, error) {
	plain, err := age.Decrypt(r, by)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(plain, limit+1))
	if err != nil {
		clear(b)
		return nil, err
	}
	if int64(len(b)) > limit {
		clear(b)
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, nil
}

// underPassphrase returns the recipient and the identity of a passphrase.
func underPassphrase(passphrase []byte) (*age.ScryptRecipient, *age.ScryptIdentity, error) {
	s := string(passphrase)
	to, err := age.NewScryptRecipient(s)
	if err != nil {
		return nil, nil, errors.New("the passphrase cannot be used")
	}
	by, err := age.NewScryptIdentity(s)
	if err != nil {
		return nil, nil, errors.New("the passphrase cannot be used")
	}
	to.SetWorkFactor(scryptLogN)
	by.SetMaxWorkFactor(scryptLogN)
	return to, by, nil
}
