package invite

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"time"
)

// DeliveryTime is how long the inviter tries to give its answer, also where the invite expires meanwhile: a host that
// was admitted is to be told so.
const DeliveryTime = 2 * time.Minute

// Inviter is the operator's side of one enrolment. It is used once.
type Inviter struct {
	Carrier Carrier
	// Code is what the operator tells the host, as croc makes them.
	Code string
	// Offer and Private are from NewOffer.
	Offer   Offer
	Private *ecdh.PrivateKey
	// TTL is how long the invite lives, until the operator has confirmed; zero: the constant TTL.
	TTL time.Duration
	// Confirm asks the operator whether to admit the host. Its keys are proven to be its own; whether it is the host
	// that he means, he tells by the fingerprint.
	Confirm func(ctx context.Context, r Request) (bool, error)
	// Admit signs and publishes a generation that has the host, as [Request.Member] gives it, and returns once another
	// host has acknowledged it. It returns the deployment's envelopes, parents first, as [roster.EncodeEnvelope] writes
	// them. For a host that is a member already, exactly so, it publishes nothing and returns the same: an operator who
	// was cut off invites again.
	Admit func(ctx context.Context, r Request) ([][]byte, error)
}

// Run invites one host and returns how long each phase took, also with an error. The host may be a member after
// [ErrUntold], and after an error of Admit if that published something.
func (i Inviter) Run(ctx context.Context) (p Phases, err error) {
	if err := i.Offer.check(); err != nil {
		return p, fmt.Errorf("invite: %w", err)
	}
	encoded, err := i.Offer.encode()
	if err != nil {
		return p, fmt.Errorf("invite: %w", err)
	}
	ttl := i.TTL
	if ttl == 0 {
		ttl = TTL
	}
	living, cancel := context.WithTimeoutCause(ctx, ttl, ErrExpired)
	defer cancel()
	s := newSession(i.Offer, encoded)
	if err := timed(&p.Offer, func() error { return i.Carrier.Send(living, i.Code, encoded) }); err != nil {
		return p, fmt.Errorf("invite: give the offer: %w", ended(living, err))
	}
	var sealed []byte
	if err := timed(&p.Request, func() error {
		sealed, err = i.Carrier.Receive(living, s.code(labelRequestCode), MaxRequest+overhead)
		return err
	}); err != nil {
		return p, fmt.Errorf("invite: get the request: %w", ended(living, err))
	}
	b, err := s.open(labelRequestKey, sealed, s.offer)
	if err != nil {
		return p, fmt.Errorf("invite: %w", err)
	}
	answer := answering{i, s, s.heard(b), &p}
	r, err := s.verify(i.Offer, i.Private, b)
	if err != nil {
		err = answer.refuse(ctx, "the request is not in order", err)
	} else {
		err = answer.judge(ctx, living, r)
	}
	return p, err // p as both left it
}

// answering is an inviter that has a request.
type answering struct {
	Inviter
	session session
	heard   transcript
	phases  *Phases
}

// judge asks the operator, admits and tells.
func (i answering) judge(ctx, living context.Context, r Request) error {
	var yes bool
	err := timed(&i.phases.Confirm, func() (err error) {
		yes, err = i.Confirm(living, r)
		return err
	})
	switch {
	case living.Err() != nil:
		return i.refuse(ctx, "it was not confirmed in time", context.Cause(living))
	case err != nil:
		return i.refuse(ctx, "the operator could not be asked", err)
	case !yes:
		return i.refuse(ctx, "the operator said no", nil)
	}
	var envelopes [][]byte
	if err := timed(&i.phases.Admit, func() (err error) {
		envelopes, err = i.Admit(ctx, r)
		return err
	}); err != nil {
		return i.refuse(ctx, "the deployment could not be changed", err)
	}
	answer, err := encodeAdmission(envelopes)
	if err == nil {
		err = i.tell(ctx, answer)
	}
	if err != nil {
		return fmt.Errorf("invite: %w: %w", ErrUntold, err)
	}
	return nil
}

// refuse tells the host that it was not admitted, if it still listens, and returns why. The host learns the reason only,
// not why.
func (i answering) refuse(ctx context.Context, reason string, why error) error {
	err := fmt.Errorf("invite: %w: %s", ErrRefused, reason)
	if why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	if untold := i.tell(ctx, encodeRefusal(reason)); untold != nil {
		err = fmt.Errorf("%w; the host could not be told so: %w", err, untold)
	}
	return err
}

// tell gives the host its answer.
func (i answering) tell(ctx context.Context, answer []byte) error {
	ctx, cancel := context.WithTimeout(ctx, DeliveryTime)
	defer cancel()
	return timed(&i.phases.Admission, func() error {
		return i.Carrier.Send(ctx, i.session.code(labelAdmissionCode), i.session.seal(labelAdmissionKey, answer, i.heard))
	})
}

// ended returns why a transfer ended: the end of ctx before anything else.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrSpent, err)
}
