package ssh

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// NewIdentity makes a key file that logs in, unless it is there, and returns its public half as authorized_keys has it.
// The file is not encrypted.
func NewIdentity(path, comment string) (public string, err error) {
	public, err = PublicIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return public, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return "", err
	}
	if err := atomicfile.WriteNew(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", fmt.Errorf("keep SSH key %q: %w", path, err)
	}
	return PublicIdentity(path)
}

// PublicIdentity returns the public half of an unencrypted key file.
func PublicIdentity(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	key, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return "", fmt.Errorf("read SSH key %q: %w", path, err)
	}
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(key.PublicKey()))), nil
}
