package invite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// The labels under which everything is derived and signed. None is the start of another.
const (
	labelOffer         = "pressenter/invite/v1 offer"
	labelRequest       = "pressenter/invite/v1 request"
	labelHeard         = "pressenter/invite/v1 request with its proofs"
	labelRequestCode   = "pressenter/invite/v1 code of the request"
	labelAdmissionCode = "pressenter/invite/v1 code of the admission"
	labelRequestKey    = "pressenter/invite/v1 key of the request"
	labelAdmissionKey  = "pressenter/invite/v1 key of the admission"
	labelIdentity      = "pressenter/invite/v1 proof of the identity"
	labelTLS           = "pressenter/invite/v1 proof of the relay key"
	labelTunnel        = "pressenter/invite/v1 proof of the tunnel key"
	labelFingerprint   = "pressenter/invite/v1 fingerprint"
)

// transcript is a hash of everything that was said so far.
type transcript [sha256.Size]byte

// hash returns a hash of parts under a label, from which all of them can be told.
func hash(label string, parts ...[]byte) (t transcript) {
	h := sha256.New()
	for _, p := range append([][]byte{[]byte(label)}, parts...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return transcript(h.Sum(nil))
}

// session is what both sides share once the offer is there.
type session struct {
	secret Secret
	offer  transcript
}

// newSession returns the session of an offer as it was sent.
func newSession(o Offer, encoded []byte) session {
	return session{secret: o.Secret, offer: hash(labelOffer, encoded)}
}

// derive returns n bytes that only the two sides of this offer know.
func (s session) derive(label string, n int) []byte {
	b, err := hkdf.Key(sha256.New, s.secret[:], s.offer[:], label, n)
	if err != nil {
		panic(err) // n is a constant that HKDF gives
	}
	return b
}

// code returns the code of one of the later transfers: four characters that choose the room, 20 bits, so that few
// strangers at a relay are there by chance, and 28 that nobody guesses.
func (s session) code(label string) string {
	c := strings.ToLower(base32.StdEncoding.EncodeToString(s.derive(label, 20)))
	return c[:4] + "-" + c[4:]
}

// aead returns the cipher of one direction.
func (s session) aead(label string) cipher.AEAD {
	block, err := aes.NewCipher(s.derive(label, 32))
	if err != nil {
		panic(err) // a key of 32 bytes
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES is a cipher that GCM takes
	}
	return a
}

// heard returns a hash of everything up to and with the request as it was sent, which the answer is bound to.
func (s session) heard(request []byte) transcript { return hash(labelHeard, s.offer[:], request) }

// overhead is what seal adds.
const overhead = 12 + 16

// seal encrypts b under a label, bound to what was said before.
func (s session) seal(label string, b []byte, said transcript) []byte {
	return s.aead(label).Seal(nil, nil, b, said[:])
}

// open opens what seal sealed. Who did knows the secret, and said and heard the same.
func (s session) open(label string, b []byte, said transcript) ([]byte, error) {
	plain, err := s.aead(label).Open(nil, nil, b, said[:])
	if err != nil {
		return nil, fmt.Errorf("%w: what arrived was not sealed in this exchange", ErrForged)
	}
	return plain, nil
}
