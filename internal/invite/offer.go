package invite

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/pressenter/pressenter/internal/roster"
)

// version is of the exchange as a whole.
const version = 1

// How large what arrives may be. Sealed, an admission is just as large as a carrier carries.
const (
	MaxOffer     = 16 << 10
	MaxRequest   = 16 << 10
	MaxAdmission = 4<<20 - overhead
)

// Offer is what a host is to become.
type Offer struct {
	Version    int             `json:"version"`
	Deployment string          `json:"deployment"` // its name
	ID         roster.Hash     `json:"id"`         // hash of generation 1: what the host pins
	Host       string          `json:"host"`       // the member's name
	Role       roster.Role     `json:"role"`
	ChainID    string          `json:"chain_id"`
	Daemon     string          `json:"daemon,omitempty"`
	Binaries   []roster.Binary `json:"binaries"` // digests of the daemon, by platform
	MeshDriver string          `json:"mesh_driver,omitempty"`
	Relay      string          `json:"relay,omitempty"` // the inviter's own, host:port, for the host to know; may be empty
	Ephemeral  roster.Key      `json:"ephemeral"`       // X25519, against which the host proves its tunnel key
	Secret     Secret          `json:"secret"`
}

// NewOffer returns an offer of a place in the deployment of head, which need not have the host yet, with a fresh
// secret. private is the ephemeral key's other half.
func NewOffer(head *roster.Roster, host string, role roster.Role, relay string) (o Offer, private *ecdh.PrivateKey, err error) {
	if private, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return Offer{}, nil, fmt.Errorf("make offer: %w", err)
	}
	o = Offer{
		Version: version, Deployment: head.Deployment, ID: head.DeploymentID(), Host: host, Role: role,
		ChainID: head.Chain.ID, Daemon: head.Chain.Daemon, Binaries: head.Clone().Chain.Binaries,
		MeshDriver: head.MeshDriver, Relay: relay, Ephemeral: roster.Key(private.PublicKey().Bytes()),
	}
	rand.Read(o.Secret[:])
	if err := o.check(); err != nil {
		return Offer{}, nil, fmt.Errorf("make offer: %w", err)
	}
	return o, private, nil
}

// Binary returns the digest of the daemon for a platform, GOOS/GOARCH.
func (o Offer) Binary(platform string) (roster.Hash, bool) {
	return roster.Chain{Binaries: o.Binaries}.Binary(platform)
}

// check finds what is wrong with an offer, by what a roster takes.
func (o Offer) check() error {
	switch o.Role {
	case roster.RoleSentry:
	case roster.RoleValidator:
		return errors.New("a validator is not enrolled with a code: its host holds the consensus key and is the operator's own, " +
			"so it is added to the config and made by apply")
	default:
		return fmt.Errorf("role %q is not enrolled with a code, only %q is", o.Role, roster.RoleSentry)
	}
	if o.ID.IsZero() || o.Ephemeral.IsZero() || o.Secret == (Secret{}) {
		return errors.New("the deployment's id, the secret or the key against which hosts prove theirs is missing")
	}
	if o.Relay != "" {
		if _, port, err := net.SplitHostPort(o.Relay); err != nil || port == "" || len(o.Relay) > 260 {
			return fmt.Errorf("relay %q is not host:port", o.Relay)
		}
	}
	return o.place(roster.Member{Name: o.Host, Role: o.Role, Identity: roster.Key{1}, Since: 1})
}

// place fails unless a roster of the offered deployment could have m.
func (o Offer) place(m roster.Member) error {
	r := roster.New(o.Deployment, []roster.Admin{{Name: "operator", Key: roster.Key{2}, Capabilities: roster.AllCapabilities()}},
		roster.Chain{ID: o.ChainID, Daemon: o.Daemon, Binaries: o.Binaries})
	r.MeshDriver = o.MeshDriver
	r.Members = []roster.Member{m}
	return r.Check()
}

func (o Offer) encode() ([]byte, error) {
	return encodeStrict(o, MaxOffer)
}

func decodeOffer(b []byte) (Offer, error) {
	var o Offer
	if err := decodeStrict(b, MaxOffer, &o); err != nil {
		return Offer{}, fmt.Errorf("read offer: %w", err)
	}
	if err := o.check(); err != nil {
		return Offer{}, fmt.Errorf("read offer: %w", err)
	}
	return o, nil
}

// Secret is 32 random bytes that both sides of one invite know.
type Secret [32]byte

// String tells nothing.
func (s Secret) String() string { return "secret" }

// GoString tells nothing.
func (s Secret) GoString() string { return "secret" }

// MarshalText implements encoding.TextMarshaler: for the offer on its way.
func (s Secret) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(s)) {
		return errors.New("a secret of another length")
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// encodeStrict returns v as decodeStrict reads it.
func encodeStrict(v any, limit int) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), limit)
	}
	return b, nil
}

// decodeStrict reads one JSON value of our version into v, a pointer to a struct, and takes it only in the one spelling
// that encodeStrict has for it: so no field is unknown, missing where it may not, repeated or out of order.
func decodeStrict(b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("%d bytes, more than %d", len(b), limit)
	}
	var head struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(b, &head) == nil && head.Version != version && head.Version != 0 {
		return fmt.Errorf("%w: version %d, this program knows %d", ErrVersion, head.Version, version)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New("not what pressenter writes") // the decoder's words could hold anything
	}
	again, err := json.Marshal(v)
	if err != nil || !bytes.Equal(again, b) || head.Version != version {
		return errors.New("not in the form that pressenter writes")
	}
	return nil
}
