package comet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

const maxFile = 64 << 20 // an address book of a busy seed has some MiB

// SignState is a key's high-water mark: what priv_validator_state.json says was signed last.
type SignState struct {
	Height Int `json:"height"`
	Round  Int `json:"round"`
	Step   Int `json:"step"`
}

// UpgradeInfo is what the chain application writes to data/upgrade-info.json at an upgrade's height. The file stays after
// the upgrade.
type UpgradeInfo struct {
	Name   string    `json:"name"`
	Height Int       `json:"height"`
	Info   string    `json:"info"`
	Time   time.Time `json:"time,omitzero"`
}

// KnownAddress is an entry of an address book.
type KnownAddress struct {
	ID      string
	Address string // host:port
	// SourceID and Source are of the node that told it, empty where the book does not say.
	SourceID string
	Source   string
}

// ReadSignState reads a priv_validator_state.json.
func ReadSignState(path string) (SignState, error) {
	var s SignState
	err := readJSON(path, &s)
	return s, err
}

// ReadUpgradeInfo reads an upgrade-info.json.
func ReadUpgradeInfo(path string) (UpgradeInfo, error) {
	var u UpgradeInfo
	err := readJSON(path, &u)
	return u, err
}

// ReadAddrBook reads the ids and addresses of an addrbook.json, and who told them.
func ReadAddrBook(path string) ([]KnownAddress, error) {
	var j addrBookJSON
	if err := readJSON(path, &j); err != nil {
		return nil, err
	}
	return j.known(), nil
}

type addrBookJSON struct {
	Addrs []struct {
		Addr addrJSON  `json:"addr"`
		Src  *addrJSON `json:"src"`
	} `json:"addrs"`
}

type addrJSON struct {
	ID   string `json:"id"`
	IP   string `json:"ip"`
	Port Int    `json:"port"`
}

func (a addrJSON) hostPort() string {
	return net.JoinHostPort(a.IP, strconv.FormatInt(int64(a.Port), 10))
}

func (j addrBookJSON) known() []KnownAddress {
	var all []KnownAddress
	for _, a := range j.Addrs {
		known := KnownAddress{ID: a.Addr.ID, Address: a.Addr.hostPort()}
		if a.Src != nil {
			known.SourceID, known.Source = a.Src.ID, a.Src.hostPort()
		}
		all = append(all, known)
	}
	return all
}

// ReadNodeID reads the node's id from its node_key.json.
func ReadNodeID(path string) (string, error) {
	var j struct {
		PrivKey struct {
			Type  string `json:"type"`
			Value []byte `json:"value"`
		} `json:"priv_key"`
	}
	if err := readJSON(path, &j); err != nil {
		return "", err
	}
	if n := len(j.PrivKey.Value); n != ed25519.PrivateKeySize {
		return "", fmt.Errorf("read %q: key of type %q has %d bytes, not %d", path, j.PrivKey.Type, n, ed25519.PrivateKeySize)
	}
	return NodeID(ed25519.PrivateKey(j.PrivKey.Value).Public().(ed25519.PublicKey)), nil
}

// NodeID is the id of the node whose node key has this public half.
func NodeID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:20])
}

func readJSON(path string, out any) error {
	// The node whose files they are may have been taken over: no link is followed, and nothing waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err // it names the path
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("read %q: it is no plain file", path), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("decode %q: %w", path, err)
	}
	return nil
}
