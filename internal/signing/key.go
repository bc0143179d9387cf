package signing

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// PublicKey returns the public half of a priv_validator_key.json after checking that its halves and its address
// belong together. Key types other than ed25519 are refused by name.
func PublicKey(keyFile []byte) (ed25519.PublicKey, error) {
	var v struct {
		Address string `json:"address"`
		PubKey  typed  `json:"pub_key"`
		PrivKey typed  `json:"priv_key"`
	}
	if err := json.Unmarshal(keyFile, &v); err != nil {
		return nil, errors.New("read consensus key: it is not a priv_validator_key.json") // the cause could quote the key
	}
	if v.PrivKey.Type != "tendermint/PrivKeyEd25519" {
		return nil, fmt.Errorf("read consensus key: type %s is not implemented, only tendermint/PrivKeyEd25519", safeType(v.PrivKey.Type))
	}
	if len(v.PrivKey.Value) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("read consensus key: the private key has %d bytes, not %d", len(v.PrivKey.Value), ed25519.PrivateKeySize)
	}
	pub := ed25519.NewKeyFromSeed(v.PrivKey.Value[:ed25519.SeedSize]).Public().(ed25519.PublicKey)
	if !pub.Equal(ed25519.PublicKey(v.PubKey.Value)) || !pub.Equal(ed25519.PublicKey(v.PrivKey.Value[ed25519.SeedSize:])) {
		return nil, errors.New("read consensus key: its private and public halves do not belong together")
	}
	if !strings.EqualFold(v.Address, Address(pub)) {
		return nil, errors.New("read consensus key: its address is not that of its public key")
	}
	return pub, nil
}

// safeType names a key type. What is none is not repeated: it could be the key itself.
func safeType(s string) string {
	if name, ok := strings.CutPrefix(s, "tendermint/PrivKey"); ok && len(name) <= 12 {
		return strconv.Quote(s)
	}
	return "of another kind"
}

type typed struct {
	Type  string `json:"type"`
	Value []byte `json:"value"`
}

// Address is the upper-case hex consensus address of an ed25519 key: the first 20 bytes of its SHA-256
// (cometbft/crypto/tmhash).
func Address(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return fmt.Sprintf("%X", sum[:20])
}
