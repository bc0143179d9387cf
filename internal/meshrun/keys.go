package meshrun

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

// Keys are the public halves of a host's mesh keys. Private ones never leave the host.
type Keys struct {
	Tunnel roster.Key // in use
	Next   roster.Key // to change to; zero: none
	TLS    roster.Key // Ed25519, for relays
}

// BearKeys returns the public halves of the mesh keys of the host in dir for a driver, born at first use.
func BearKeys(dir, driver string) (Keys, error) {
	if err := os.MkdirAll(filepath.Join(dir, Folder), 0o700); err != nil {
		return Keys{}, err
	}
	var k Keys
	private, err := bear(tunnelKey(dir, driver), born(driver))
	if err != nil {
		return Keys{}, fmt.Errorf("bear tunnel key: %w", err)
	}
	if k.Tunnel, err = public(driver, private); err != nil {
		return Keys{}, err
	}
	seed, err := bear(filepath.Join(dir, Folder, RelayKey), newSeed)
	if err != nil {
		return Keys{}, fmt.Errorf("bear relay key: %w", err)
	}
	k.TLS = roster.KeyOf(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
	if driver != roster.MeshWireGuard {
		return k, nil
	}
	next, err := readKey(filepath.Join(dir, Folder, NextKey))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return Keys{}, err
	}
	k.Next, err = public(driver, next)
	return k, err
}

// PrivateKeys returns the private keys that BearKeys made for a driver, for a host that proves that it holds them: the
// tunnel's, which for vpncloud is a seed, and the Ed25519 key for relays. They are not to be kept, told or printed.
func PrivateKeys(dir, driver string) (tunnel.Key, ed25519.PrivateKey, error) {
	private, err := readKey(tunnelKey(dir, driver))
	if err != nil {
		return tunnel.Key{}, nil, fmt.Errorf("read tunnel key: %w", err)
	}
	seed, err := readKey(filepath.Join(dir, Folder, RelayKey))
	if err != nil {
		return tunnel.Key{}, nil, fmt.Errorf("read relay key: %w", err)
	}
	return private, ed25519.NewKeyFromSeed(seed[:]), nil
}

// BearNext makes the key that the host in dir changes to, if it has none yet, and returns all public halves.
func BearNext(dir, driver string) (Keys, error) {
	if _, err := bear(filepath.Join(dir, Folder, NextKey), born(driver)); err != nil {
		return Keys{}, fmt.Errorf("bear next tunnel key: %w", err)
	}
	return BearKeys(dir, driver)
}

// takeNext makes the next tunnel key the one in use. A crash in between leaves either.
func takeNext(dir string) error {
	return atomicfile.Rename(filepath.Join(dir, Folder, NextKey), filepath.Join(dir, Folder, TunnelKey))
}

// tunnelKey is where the private tunnel key for a driver is. Each has its own: they are of different kinds.
func tunnelKey(dir, driver string) string {
	if driver == roster.MeshVpnCloud {
		return filepath.Join(dir, Folder, "vpncloud.key")
	}
	return filepath.Join(dir, Folder, TunnelKey)
}

// born makes a private tunnel key for a driver.
func born(driver string) func() (tunnel.Key, error) {
	if driver == roster.MeshVpnCloud {
		return vpncloud.NewSeed
	}
	return tunnel.NewPrivateKey
}

// public is what the roster holds of a private tunnel key.
func public(driver string, private tunnel.Key) (roster.Key, error) {
	if driver == roster.MeshVpnCloud {
		k, err := vpncloud.PublicKey(private)
		return roster.Key(k), err
	}
	k, err := private.Public()
	return roster.Key(k), err
}

func newSeed() (k tunnel.Key, err error) {
	_, err = rand.Read(k[:])
	return k, err
}

// bear reads a private key, or makes it. One that cannot be read is never replaced: the roster holds its public half.
func bear(path string, newKey func() (tunnel.Key, error)) (tunnel.Key, error) {
	k, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = newKey(); err != nil {
		return tunnel.Key{}, err
	}
	return k, writeKey(path, k)
}

func writeKey(path string, k tunnel.Key) error {
	return atomicfile.Write(path, []byte(k.String()+"\n"), 0o600)
}

// readKey reads a private key. The text of a bad one is not told.
func readKey(path string) (k tunnel.Key, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if err := k.UnmarshalText([]byte(strings.TrimSpace(string(b)))); err != nil || k.IsZero() {
		return k, fmt.Errorf("key in %q is not %d bytes in base64", path, base64.StdEncoding.DecodedLen(44)-1)
	}
	return k, nil
}
