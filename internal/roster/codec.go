package roster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Sizes of what Parse and DecodeEnvelope read.
const (
	MaxPayload  = 2 << 20
	MaxEnvelope = 3 << 20
)

// The most commas that the largest roster and its envelope have. A list of a
// million nothings is two megabytes on the wire and hundreds of them decoded,
// so commas are counted before anything is.
const (
	maxPayloadCommas  = 1 << 15
	maxEnvelopeCommas = 64
)

// envelopeVersion is the version of the envelope and of the signature scheme
// in it; the payload has its own.
const envelopeVersion = 1

// The signed bytes and the hashed bytes start with different words, so that
// neither can be taken for the other, nor for anything else that a key of the
// product signs.
const (
	signDomain = "pressenter/roster/v1\x00"
	hashDomain = "pressenter/roster-hash/v1\x00"
)

// ErrNewerFormat is the error for a roster or envelope of a format that this
// program does not know yet. Whoever meets it keeps the last roster it knows.
var ErrNewerFormat = errors.New("newer roster format")

// Bytes returns the canonical bytes of r, the only ones that Parse accepts.
func (r *Roster) Bytes() []byte {
	b, err := json.Marshal(r.Clone())
	if err != nil {
		panic(err) // no field can fail to marshal
	}
	return b
}

// Hash returns the name of r: a hash of its canonical bytes.
func (r *Roster) Hash() Hash { return hashPayload(r.Bytes()) }

func hashPayload(payload []byte) Hash {
	h := sha256.New()
	h.Write([]byte(hashDomain))
	h.Write(payload)
	return Hash(h.Sum(nil))
}

// Parse reads canonical bytes, strictly: what it accepts, [Roster.Bytes]
// writes again byte for byte, and [Roster.Check] finds in order.
func Parse(payload []byte) (*Roster, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("parse roster: %d bytes, more than %d", len(payload), MaxPayload)
	}
	var r Roster
	if err := decodeStrict(payload, FormatVersion, maxPayloadCommas, &r); err != nil {
		return nil, fmt.Errorf("parse roster: %w", err)
	}
	if err := r.checkCounts(); err != nil { // before sorting what a stranger sent
		return nil, fmt.Errorf("parse roster: %w", err)
	}
	if !bytes.Equal(r.Bytes(), payload) {
		return nil, errors.New("parse roster: bytes are not canonical")
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("parse roster: %w", err)
	}
	return &r, nil
}

// decodeStrict decodes one JSON value of a known format and with at most so
// many commas into v. That no field is repeated, misspelt or out of order is
// left to the caller's comparison of bytes.
func decodeStrict(b []byte, known, commas int, v any) error {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	if head.Format > known {
		return fmt.Errorf("format %d, this program knows %d: %w", head.Format, known, ErrNewerFormat)
	}
	if head.Format != known {
		return fmt.Errorf("format %d, want %d", head.Format, known)
	}
	if n := bytes.Count(b, []byte{','}); n > commas {
		return fmt.Errorf("%d values and more, more than the largest one has", n)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// Envelope is a roster on its way: its canonical bytes and signatures over
// them. Only a [Log] says whether it is any good.
type Envelope struct {
	Payload    []byte
	Signatures []Signature
}

// Signature is one admin key's signature of a payload.
type Signature struct {
	Key Key    `json:"key"`
	Sig []byte `json:"sig"`
}

// envelopeJSON is an envelope as it is stored and sent.
type envelopeJSON struct {
	Format     int         `json:"format"`
	Payload    []byte      `json:"payload"`
	Signatures []Signature `json:"signatures"`
}

// Hash returns the hash of the payload, which is the name of its roster.
// Signatures do not change it.
func (e Envelope) Hash() Hash { return hashPayload(e.Payload) }

// Sign returns r in an envelope signed by keys. It refuses a roster that
// nobody could parse.
func Sign(r *Roster, keys ...ed25519.PrivateKey) (Envelope, error) {
	e := Envelope{Payload: r.Bytes()}
	if _, err := Parse(e.Payload); err != nil {
		return Envelope{}, fmt.Errorf("sign roster: %w", err)
	}
	message := append([]byte(signDomain), e.Payload...)
	for _, k := range keys {
		if len(k) != ed25519.PrivateKeySize {
			return Envelope{}, errors.New("sign roster: not an ed25519 key")
		}
		pub := KeyOf(k.Public().(ed25519.PublicKey))
		e.Signatures = append(e.Signatures, Signature{Key: pub, Sig: ed25519.Sign(k, message)})
	}
	e.Signatures = sorted(e.Signatures, func(s Signature) string { return s.Key.String() })
	if err := e.check(); err != nil {
		return Envelope{}, fmt.Errorf("sign roster: %w", err)
	}
	return e, nil
}

// check finds what is wrong with e whoever the admins are: its signatures must
// be by different keys, in order, and all of them good.
func (e Envelope) check() error {
	if len(e.Payload) == 0 || len(e.Payload) > MaxPayload {
		return fmt.Errorf("payload of %d bytes, want 1 to %d", len(e.Payload), MaxPayload)
	}
	if n := len(e.Signatures); n < 1 || n > MaxAdmins {
		return fmt.Errorf("%d signatures, want 1 to %d", n, MaxAdmins)
	}
	message := append([]byte(signDomain), e.Payload...)
	for i, s := range e.Signatures {
		if i > 0 && bytes.Compare(e.Signatures[i-1].Key[:], s.Key[:]) >= 0 {
			return errors.New("signatures are repeated or out of order")
		}
		if s.Key.IsZero() || len(s.Sig) != ed25519.SignatureSize || !ed25519.Verify(s.Key.Public(), message, s.Sig) {
			return fmt.Errorf("signature by key %s: %w", s.Key, ErrForged)
		}
	}
	return nil
}

// SignedBy fails with [ErrForged] unless all signatures of e are good and one
// of them is by one of admins who has the capability. Whether a roster may
// follow another takes more: that is for [Log.Add].
func (e Envelope) SignedBy(admins []Admin, c Capability) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	if !e.granted(admins)[c] {
		return fmt.Errorf("no signer has capability %q: %w", c, ErrForged)
	}
	return nil
}

// granted returns what those of admins may do together whose keys signed e. It
// verifies no signature.
func (e Envelope) granted(admins []Admin) map[Capability]bool {
	can := map[Capability]bool{}
	for _, a := range admins {
		if slices.ContainsFunc(e.Signatures, func(s Signature) bool { return s.Key == a.Key }) {
			for _, c := range a.Capabilities {
				can[c] = true
			}
		}
	}
	return can
}

// EncodeEnvelope returns e as it is stored and sent.
func EncodeEnvelope(e Envelope) []byte {
	w := envelopeJSON{Format: envelopeVersion, Payload: e.Payload, Signatures: slices.Clone(e.Signatures)}
	if w.Payload == nil {
		w.Payload = []byte{}
	}
	if w.Signatures == nil {
		w.Signatures = []Signature{}
	}
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // no field can fail to marshal
	}
	return append(b, '\n')
}

// EncodedLen returns how many bytes EncodeEnvelope returns at most.
func EncodedLen(e Envelope) int {
	const frame, signature = 64, 192 // names, braces and quotes; a key in hex and a signature in base64 with theirs
	return frame + base64.StdEncoding.EncodedLen(len(e.Payload)) + signature*len(e.Signatures)
}

// DecodeEnvelope reads what EncodeEnvelope writes, strictly. It neither reads
// the payload nor verifies a signature: that is for [Log.Add].
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) > MaxEnvelope {
		return Envelope{}, fmt.Errorf("decode envelope: %d bytes, more than %d", len(b), MaxEnvelope)
	}
	var w envelopeJSON
	if err := decodeStrict(b, envelopeVersion, maxEnvelopeCommas, &w); err != nil {
		return Envelope{}, fmt.Errorf("decode envelope: %w", err)
	}
	e := Envelope{Payload: w.Payload, Signatures: w.Signatures}
	if n := len(e.Signatures); n < 1 || n > MaxAdmins {
		return Envelope{}, fmt.Errorf("decode envelope: %d signatures, want 1 to %d", n, MaxAdmins)
	}
	if !bytes.Equal(EncodeEnvelope(e), b) {
		return Envelope{}, errors.New("decode envelope: bytes are not canonical")
	}
	return e, nil
}
