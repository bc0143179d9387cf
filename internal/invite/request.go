package invite

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
)

// Request is what a host asks to be admitted with.
type Request struct {
	Identity roster.Key `json:"identity"` // Ed25519
	NodeID   string     `json:"node_id"`  // CometBFT's
	Tunnel   roster.Key `json:"tunnel"`   // of the mesh: X25519 for WireGuard, Ed25519 for vpncloud
	TLS      roster.Key `json:"tls"`      // Ed25519, for relays
	Hostname string     `json:"hostname,omitempty"`
	OS       string     `json:"os"`
	Arch     string     `json:"arch"`
	// Endpoint is where its node listens, MeshEndpoint where its tunnel does, both public host:port; Relay where it
	// relays for members without UDP, empty: it does not. They are what the host says, for the operator to judge.
	Endpoint     string `json:"endpoint"`
	MeshEndpoint string `json:"mesh_endpoint,omitempty"`
	Relay        string `json:"relay,omitempty"`
}

// Fingerprint is what both sides can show for people to compare: 80 bits of a hash of all of the host's keys.
func (r Request) Fingerprint() string {
	sum := hash(labelFingerprint, r.Identity[:], []byte(r.NodeID), r.Tunnel[:], r.TLS[:])
	s := base32.StdEncoding.EncodeToString(sum[:10])
	return strings.Join([]string{s[:4], s[4:8], s[8:12], s[12:]}, "-")
}

// Platform is GOOS/GOARCH.
func (r Request) Platform() string { return r.OS + "/" + r.Arch }

// Member returns the host as a roster has it. Since is for whoever writes the generation.
func (r Request) Member(o Offer) roster.Member {
	m := roster.Member{Name: o.Host, Role: o.Role, Identity: r.Identity, NodeID: r.NodeID, Endpoint: r.Endpoint}
	if o.MeshDriver != "" {
		m.Mesh = roster.Mesh{Key: r.Tunnel, TLS: r.TLS, Endpoint: r.MeshEndpoint, Relay: r.Relay}
	}
	return m
}

// Applicant is a host that asks: what it says of itself, and its private keys, which stay where they are.
type Applicant struct {
	// Request is filled in but for its keys, which follow from the private ones.
	Request  Request
	Identity ed25519.PrivateKey
	TLS      ed25519.PrivateKey
	// Tunnel is the private tunnel key: an X25519 key for WireGuard, the seed of an Ed25519 key for vpncloud.
	Tunnel [32]byte
}

// request returns what the applicant asks for.
func (a Applicant) request(o Offer) (Request, error) {
	if len(a.Identity) != ed25519.PrivateKeySize || len(a.TLS) != ed25519.PrivateKeySize {
		return Request{}, errors.New("the host's identity or relay key is missing")
	}
	r := a.Request
	r.Identity = roster.KeyOf(a.Identity.Public().(ed25519.PublicKey))
	r.TLS = roster.KeyOf(a.TLS.Public().(ed25519.PublicKey))
	if o.MeshDriver == roster.MeshVpnCloud {
		r.Tunnel = roster.KeyOf(ed25519.NewKeyFromSeed(a.Tunnel[:]).Public().(ed25519.PublicKey))
		return r, r.check(o)
	}
	k, err := ecdh.X25519().NewPrivateKey(a.Tunnel[:])
	if err != nil {
		return Request{}, fmt.Errorf("the host's tunnel key: %w", err)
	}
	r.Tunnel = roster.Key(k.PublicKey().Bytes())
	return r, r.check(o)
}

// What a host may be called and run on. A terminal is shown it.
var (
	hostnameRE = regexp.MustCompile(`^[A-Za-z0-9._-]{0,253}$`)
	wordRE     = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
)

// check finds what is wrong with a request by itself, by what a roster takes.
func (r Request) check(o Offer) error {
	switch {
	case !hostnameRE.MatchString(r.Hostname):
		return fmt.Errorf("host name %+q is not valid", r.Hostname)
	case !wordRE.MatchString(r.OS) || !wordRE.MatchString(r.Arch):
		return fmt.Errorf("platform %+q is not valid", r.Platform())
	case r.NodeID == "":
		return errors.New("the node id is missing")
	case r.Endpoint == "":
		return errors.New("the host does not say where its node listens: a sentry needs a public address")
	case o.MeshDriver != "" && r.MeshEndpoint == "":
		return errors.New("the host does not say where its tunnel listens: a sentry needs a public address")
	case r.Identity == r.TLS || r.Identity == r.Tunnel || r.Tunnel == r.TLS:
		return errors.New("two of the host's keys are the same")
	case r.Tunnel.IsZero() || r.TLS.IsZero():
		return errors.New("one of the host's keys is missing")
	}
	if o.MeshDriver == "" && (r.MeshEndpoint != "" || r.Relay != "") {
		return errors.New("the host listens for a mesh that there is not")
	}
	m := r.Member(o)
	m.Since = 1
	return o.place(m)
}
