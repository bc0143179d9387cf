package keyring

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
)

const (
	backupKind = "pressenter consensus key backup"
	maxSealed  = 1 << 20
	maxKeyFile = 16 << 10
)

// Backup is a consensus key on its way to the operator. All of it is inside
// the encryption, so its labels cannot be exchanged without the key.
//
// The recipient is public: anybody can make a backup, of a key of his own. A
// caller compares PubKey with the roster's before he believes one.
type Backup struct {
	Deployment string            // name of the deployment
	Host       string            // name of the member that had the key
	PubKey     ed25519.PublicKey // consensus public key
	Created    time.Time         // by the clock of that host
	KeyFile    Secret            // priv_validator_key.json
}

// backupDocument is a backup in clear text.
type backupDocument struct {
	Format     int       `json:"format"`
	Kind       string    `json:"kind"`
	Deployment string    `json:"deployment"`
	Host       string    `json:"host"`
	PubKey     []byte    `json:"pub_key"`
	Created    time.Time `json:"created"`
	KeyFile    []byte    `json:"key_file"`
}

// SealBackup encrypts b to a keyring's recipient. It refuses a key file that
// does not hold the private half of b.PubKey: no backup is better than one
// that turns out to be something else when it is needed.
func SealBackup(recipient string, b Backup) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("seal backup: %w", err)
	}
	plain, err := json.Marshal(backupDocument{
		Format:     format,
		Kind:       backupKind,
		Deployment: b.Deployment,
		Host:       b.Host,
		PubKey:     b.PubKey,
		Created:    b.Created,
		KeyFile:    b.KeyFile.Bytes(),
	})
	if err != nil {
		return nil, errors.New("seal backup: the date cannot be written")
	}
	defer clear(plain)
	return Seal(recipient, plain)
}

// OpenBackup decrypts a backup and checks that it holds the key that it says.
func (k *Keyring) OpenBackup(sealed []byte) (*Backup, error) {
	plain, err := k.Unseal(sealed)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	defer clear(plain)
	b, err := decodeBackup(plain)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	return b, nil
}

func decodeBackup(plain []byte) (*Backup, error) {
	var d backupDocument
	if err := decodeJSON(plain, &d); err != nil {
		return nil, err
	}
	b := &Backup{Deployment: d.Deployment, Host: d.Host, PubKey: d.PubKey, Created: d.Created, KeyFile: NewSecret(d.KeyFile)}
	if d.Kind != backupKind || d.Format != format {
		b.KeyFile.Wipe()
		return nil, fmt.Errorf("not a backup of format %d", format)
	}
	if err := b.check(); err != nil {
		b.KeyFile.Wipe()
		return nil, err
	}
	return b, nil
}

// check holds that the labels are sane and the key is the one they name.
func (b Backup) check() error {
	for _, s := range []string{b.Deployment, b.Host} {
		if err := checkName(s); err != nil {
			return err
		}
	}
	if n := len(b.KeyFile.Bytes()); n == 0 || n > maxKeyFile {
		return fmt.Errorf("key file of %d bytes, want 1 to %d", n, maxKeyFile)
	}
	return checkKeyFile(b.KeyFile.Bytes(), b.PubKey)
}

// checkKeyFile holds that a priv_validator_key.json is an ed25519 key with the
// public half pub. Its errors quote nothing of it.
func checkKeyFile(file []byte, pub ed25519.PublicKey) error {
	type typed struct {
		Type  string `json:"type"`
		Value []byte `json:"value"`
	}
	var f struct {
		Address string `json:"address"`
		PubKey  typed  `json:"pub_key"`
		PrivKey typed  `json:"priv_key"`
	}
	defer func() { clear(f.PrivKey.Value) }()
	if err := decodeJSON(file, &f); err != nil {
		return fmt.Errorf("read key file: %w", err)
	}
	if f.PrivKey.Type != "tendermint/PrivKeyEd25519" || len(f.PrivKey.Value) != ed25519.PrivateKeySize {
		return errors.New("read key file: it holds no ed25519 key")
	}
	derived := ed25519.NewKeyFromSeed(f.PrivKey.Value[:ed25519.SeedSize])
	defer clear(derived)
	if !bytes.Equal(derived, f.PrivKey.Value) || !bytes.Equal(derived.Public().(ed25519.PublicKey), f.PubKey.Value) {
		return errors.New("read key file: its halves do not belong together")
	}
	if !bytes.Equal(f.PubKey.Value, pub) {
		return errors.New("read key file: it holds another key")
	}
	return nil
}

// Seal encrypts plaintext, up to 1 MiB, to a keyring's recipient.
func Seal(recipient string, plaintext []byte) ([]byte, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, errors.New("seal: not an age X25519 recipient") // what it is may be a secret
	}
	if len(plaintext) > maxSealed {
		return nil, fmt.Errorf("seal: %d bytes, more than %d", len(plaintext), maxSealed)
	}
	b, err := seal(plaintext, to)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return b, nil
}

// Unseal decrypts what was sealed to the keyring's recipient. Whoever knows
// the recipient can have sealed it.
func (k *Keyring) Unseal(sealed []byte) ([]byte, error) {
	identity, err := k.identity()
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	b, err := unseal(bytes.NewReader(sealed), maxSealed, identity)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	return b, nil
}
