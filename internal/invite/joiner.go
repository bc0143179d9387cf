package invite

import (
	"context"
	"fmt"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// JoinTime is how long a joiner waits for everything: as long as an invite lives, and for the answer.
const JoinTime = TTL + DeliveryTime

// Joiner is the host's side of one enrolment. It is used once.
type Joiner struct {
	Carrier Carrier
	// Code is what the operator told.
	Code string
	// Apply decides whether the host takes the offer, and says with which keys: born now, or by an earlier try. An error
	// ends it; the operator's side then waits until the invite expires.
	Apply func(ctx context.Context, o Offer) (Applicant, error)
	// Asked, if set, is called when the inviter has the request: the operator is to be shown the fingerprint.
	Asked func(r Request)
	// Store makes the deployment's envelopes, parents first, durable: they are verified, and have the host as it asked.
	Store func(ctx context.Context, o Offer, envelopes []roster.Envelope) error
}

// Run joins and returns how long each phase took, also with an error. After an error the host stored nothing, and may
// be a member nevertheless: it keeps its keys for the next try.
func (j Joiner) Run(ctx context.Context) (p Phases, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, JoinTime, ErrExpired)
	defer cancel()
	var encoded []byte
	if err := timed(&p.Offer, func() error {
		encoded, err = j.Carrier.Receive(ctx, j.Code, MaxOffer)
		return err
	}); err != nil {
		return p, fmt.Errorf("join: get the offer: %w", ended(ctx, err))
	}
	o, err := decodeOffer(encoded)
	if err != nil {
		return p, fmt.Errorf("join: %w", err)
	}
	s := newSession(o, encoded)
	r, heard, err := j.ask(ctx, &p.Request, s, o)
	if err != nil {
		return p, fmt.Errorf("join: %w", err)
	}
	if j.Asked != nil {
		j.Asked(r)
	}
	envelopes, err := j.await(ctx, &p.Admission, s, heard)
	if err != nil {
		return p, fmt.Errorf("join: %w", err)
	}
	if err := checkAdmission(o, r, envelopes); err != nil {
		return p, fmt.Errorf("join: %w", err)
	}
	if err := timed(&p.Store, func() error { return j.Store(ctx, o, envelopes) }); err != nil {
		return p, fmt.Errorf("join: store the rosters: %w", err)
	}
	return p, nil
}

// ask sends the request.
func (j Joiner) ask(ctx context.Context, took *time.Duration, s session, o Offer) (r Request, heard transcript, err error) {
	err = timed(took, func() error {
		a, err := j.Apply(ctx, o)
		if err != nil {
			return fmt.Errorf("prepare the host: %w", err)
		}
		var b []byte
		if r, b, err = s.prove(o, a); err != nil {
			return fmt.Errorf("make the request: %w", err)
		}
		heard = s.heard(b)
		if err := j.Carrier.Send(ctx, s.code(labelRequestCode), s.seal(labelRequestKey, b, s.offer)); err != nil {
			return fmt.Errorf("send the request: %w", ended(ctx, err))
		}
		return nil
	})
	return r, heard, err
}

// await waits for the answer.
func (j Joiner) await(ctx context.Context, took *time.Duration, s session, heard transcript) (envelopes []roster.Envelope, err error) {
	err = timed(took, func() error {
		sealed, err := j.Carrier.Receive(ctx, s.code(labelAdmissionCode), MaxAdmission+overhead)
		if err != nil {
			return fmt.Errorf("get the answer: %w", ended(ctx, err))
		}
		b, err := s.open(labelAdmissionKey, sealed, heard)
		if err != nil {
			return err
		}
		if envelopes, err = decodeAnswer(b); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return nil
	})
	return envelopes, err
}
