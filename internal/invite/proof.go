package invite

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/pressenter/pressenter/internal/roster"
)

// signedRequest is a request with proofs that whoever sends it holds the private halves of its keys, for this exchange
// and no other.
type signedRequest struct {
	Version  int     `json:"version"`
	Request  Request `json:"request"`
	Identity []byte  `json:"identity_proof"` // signature
	TLS      []byte  `json:"tls_proof"`      // signature
	// Tunnel is a MAC under a key agreed between the tunnel key and the offer's ephemeral key, which makes no signature
	// that a tunnel could be fooled with; for vpncloud, whose keys are Ed25519, a signature.
	Tunnel []byte `json:"tunnel_proof"`
}

// said returns a hash of everything up to and with the request, which its proofs are over.
func (s session) said(r Request) (transcript, error) {
	b, err := encodeStrict(r, MaxRequest)
	if err != nil {
		return transcript{}, err
	}
	return hash(labelRequest, s.offer[:], b), nil
}

// message returns what is signed under a label.
func (t transcript) message(label string) []byte {
	m := hash(label, t[:])
	return slices.Concat([]byte(label), m[:])
}

// prove returns what a asks for, and that with its proofs as it is sent.
func (s session) prove(o Offer, a Applicant) (Request, []byte, error) {
	r, err := a.request(o)
	if err != nil {
		return Request{}, nil, err
	}
	said, err := s.said(r)
	if err != nil {
		return Request{}, nil, err
	}
	q := signedRequest{
		Version: version, Request: r,
		Identity: ed25519.Sign(a.Identity, said.message(labelIdentity)),
		TLS:      ed25519.Sign(a.TLS, said.message(labelTLS)),
	}
	if o.MeshDriver == roster.MeshVpnCloud {
		q.Tunnel = ed25519.Sign(ed25519.NewKeyFromSeed(a.Tunnel[:]), said.message(labelTunnel))
	} else {
		private, err := ecdh.X25519().NewPrivateKey(a.Tunnel[:])
		if err != nil {
			return Request{}, nil, err
		}
		if q.Tunnel, err = tunnelMAC(private, o.Ephemeral, said); err != nil {
			return Request{}, nil, err
		}
	}
	b, err := encodeStrict(q, MaxRequest)
	return r, b, err
}

// tunnelMAC returns the proof that one who knows private, of which the other side has the public half, talks to one who
// knows the private half of public.
func tunnelMAC(private *ecdh.PrivateKey, public roster.Key, said transcript) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return nil, err
	}
	shared, err := private.ECDH(p) // refuses points of low order
	if err != nil {
		return nil, fmt.Errorf("agree with a key: %w", err)
	}
	key, err := hkdf.Key(sha256.New, shared, said[:], labelTunnel, 32)
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, key)
	m.Write(said.message(labelTunnel))
	return m.Sum(nil), nil
}

// verify reads what prove wrote and returns the request if all of its proofs hold. private is the other half of the
// offer's ephemeral key.
func (s session) verify(o Offer, private *ecdh.PrivateKey, b []byte) (Request, error) {
	var q signedRequest
	if err := decodeStrict(b, MaxRequest, &q); err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	r := q.Request
	if err := r.check(o); err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	said, err := s.said(r)
	if err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if err := errors.Join(
		verifySignature("identity", r.Identity, said.message(labelIdentity), q.Identity),
		verifySignature("relay key", r.TLS, said.message(labelTLS), q.TLS),
		q.verifyTunnel(o, private, said),
	); err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return r, nil
}

func (q signedRequest) verifyTunnel(o Offer, private *ecdh.PrivateKey, said transcript) error {
	if o.MeshDriver == roster.MeshVpnCloud {
		return verifySignature("tunnel key", q.Request.Tunnel, said.message(labelTunnel), q.Tunnel)
	}
	want, err := tunnelMAC(private, q.Request.Tunnel, said)
	if err != nil {
		return fmt.Errorf("tunnel key: %w", err)
	}
	if !hmac.Equal(want, q.Tunnel) {
		return errors.New("the host does not prove its tunnel key")
	}
	return nil
}

func verifySignature(what string, key roster.Key, message, sig []byte) error {
	if lowOrder(key) {
		return fmt.Errorf("the host's %s is one for which anybody can sign", what)
	}
	if len(sig) != ed25519.SignatureSize || !ed25519.Verify(key.Public(), message, sig) {
		return fmt.Errorf("the host does not prove its %s", what)
	}
	return nil
}

// field is the prime of Curve25519 and Ed25519, 2^255-19.
var field = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

// lowOrder reports whether key is a point of low order, under which anybody can make signatures, or not in the one form
// that a point has. The point's place on the X25519 curve is (1+y)/(1-y) (RFC 7748, 4.1), where key agreement tells.
func lowOrder(key roster.Key) bool {
	y := new(big.Int).SetBytes(reversed(key[:]))
	y.SetBit(y, 255, 0) // the sign of x
	if y.Cmp(field) >= 0 {
		return true
	}
	one := big.NewInt(1)
	inverse := new(big.Int).ModInverse(new(big.Int).Sub(one, y), field)
	if inverse == nil {
		return true // y is 1: the neutral point
	}
	u := new(big.Int).Add(one, y)
	u.Mul(u, inverse).Mod(u, field)
	public, err := ecdh.X25519().NewPublicKey(reversed(u.FillBytes(make([]byte, 32))))
	if err != nil {
		return true
	}
	whoever, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		return true
	}
	_, err = whoever.ECDH(public)
	return err != nil
}

func reversed(b []byte) []byte {
	c := slices.Clone(b)
	slices.Reverse(c)
	return c
}
