package invite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/pressenter/pressenter/internal/roster"
)

// maxReason is how long the words of a refusal are.
const maxReason = 300

// verdict is the first line of what the inviter answers; the envelopes follow, a line each.
type verdict struct {
	Version   int    `json:"version"`
	Refused   string `json:"refused,omitempty"` // why not; empty: admitted
	Envelopes int    `json:"envelopes"`
}

// encodeAdmission returns the answer to a host that was admitted: envelopes as [roster.EncodeEnvelope] writes them,
// parents first.
func encodeAdmission(envelopes [][]byte) ([]byte, error) {
	b, err := encodeStrict(verdict{Version: version, Envelopes: len(envelopes)}, maxVerdict)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	for _, e := range envelopes {
		if len(e) == 0 || bytes.IndexByte(e, '\n') != len(e)-1 {
			return nil, errors.New("an envelope that is not one line")
		}
		b = append(b, e...)
	}
	if len(b) > MaxAdmission {
		return nil, fmt.Errorf("the deployment's %d generations are %d bytes, more than the %d that an invite carries",
			len(envelopes), len(b), MaxAdmission)
	}
	return b, nil
}

// encodeRefusal returns the answer to a host that was not.
func encodeRefusal(reason string) []byte {
	b, err := json.Marshal(verdict{Version: version, Refused: plain(reason)})
	if err != nil {
		panic(err) // strings only
	}
	return append(b, '\n')
}

// plain returns words as a terminal may be shown them.
func plain(s string) string {
	b := []byte(s[:min(len(s), maxReason)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	if len(b) == 0 {
		return "no reason was given"
	}
	return string(b)
}

// maxVerdict is how long the first line is.
const maxVerdict = 4 << 10

// decodeAnswer reads what the two above write. It verifies nothing.
func decodeAnswer(b []byte) ([]roster.Envelope, error) {
	if len(b) > MaxAdmission {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), MaxAdmission)
	}
	first, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return nil, errors.New("not what pressenter writes")
	}
	var v verdict
	if err := decodeStrict(first, maxVerdict, &v); err != nil {
		return nil, err
	}
	if v.Refused != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, plain(v.Refused))
	}
	var envelopes []roster.Envelope
	for line := range bytes.Lines(rest) {
		e, err := roster.DecodeEnvelope(line)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, e)
	}
	if len(envelopes) != v.Envelopes || len(envelopes) == 0 {
		return nil, fmt.Errorf("%d generations, want %d and at least one", len(envelopes), v.Envelopes)
	}
	return envelopes, nil
}

// checkAdmission fails unless envelopes are a good history of the offered deployment, undisputed, whose head has the
// host exactly as it asked.
func checkAdmission(o Offer, r Request, envelopes []roster.Envelope) error {
	log := roster.NewLog(o.ID)
	if n, err := log.AddAll(envelopes); err != nil || n != len(envelopes) {
		return fmt.Errorf("%w: %d of %d generations are good: %w", ErrNotThere, n, len(envelopes), err)
	}
	head := log.State().Head
	if head == nil {
		return fmt.Errorf("%w: they contradict each other", ErrNotThere)
	}
	if head.Deployment != o.Deployment || head.Chain.ID != o.ChainID || head.MeshDriver != o.MeshDriver {
		return fmt.Errorf("%w: they are of another deployment, chain or mesh than was offered", ErrNotThere)
	}
	got, ok := head.MemberByIdentity(r.Identity)
	if !ok {
		return fmt.Errorf("%w: it is no member", ErrNotThere)
	}
	want := r.Member(o)
	want.Since, want.Restart, want.PrivatePeers = got.Since, got.Restart, got.PrivatePeers // not the host's to ask for
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%w: it is a member with another name, role, key or address", ErrNotThere)
	}
	return nil
}
