// Package invite enrols a host that the operator cannot reach: he reads a code to whoever sits there, or sends it.
//
// Three transfers, each by a [Carrier] under a code of its own:
//
//	inviter → joiner  Offer, under the code that was told: what the host becomes, and a fresh secret
//	joiner → inviter  Request: the host's public keys, proofs that it holds the private ones, where it listens
//	inviter → joiner  Admission: the deployment's rosters, the host among their members; or a refusal
//
// Codes and keys of the last two follow from the secret, and both are sealed again: a carrier that does not confirm its
// key, as croc v10, cannot put one peer in the place of another half way. All proofs are over everything that was said.
//
// The code that was told allows one guess. A transfer of the offer that fails, however, ends the invite: a second try
// would be a second guess. It is 32 bits and lives for a quarter of an hour.
//
// The host is admitted before it is told so: a host that believes that it is a member finds others who know it.
// Nothing is admitted that the operator did not confirm, with the fingerprint of its keys before him.
//
// Private keys never leave the host. Only sentries are enrolled this way: a validator's host is the operator's own.
package invite

import (
	"context"
	"errors"
	"time"
)

// Carrier carries a payload between two who share a code. internal/croc has one; each call of Send meets one Receive.
// A Carrier keeps what it says: whoever has another code neither reads nor writes.
type Carrier interface {
	Send(ctx context.Context, code string, payload []byte) error
	Receive(ctx context.Context, code string, limit int) ([]byte, error)
}

// TTL is how long an invite lives unless it says otherwise, by the inviter's monotonic clock.
const TTL = 15 * time.Minute

// How an enrolment ends badly. Errors of carriers and callbacks are wrapped beside them.
var (
	ErrSpent    = errors.New("the code is spent: make a new invite")
	ErrExpired  = errors.New("the invite expired: make a new one")
	ErrRefused  = errors.New("the host was not admitted")
	ErrUntold   = errors.New("the host was admitted and could not be told so: invite it again, under the same name and with the same keys")
	ErrForged   = errors.New("the other side is not who it says")
	ErrVersion  = errors.New("the two sides run versions of pressenter that do not know each other's invites: update the older")
	ErrNotThere = errors.New("the rosters do not admit this host as it asked")
)

// Phases is how long the parts of an enrolment took, by the monotonic clock; zero: not reached.
type Phases struct {
	Offer     time.Duration // inviter: until the host had the offer, and so typed the code; joiner: from the code to the offer
	Request   time.Duration // inviter: until the request was there; joiner: its keys, and until the inviter had the request
	Confirm   time.Duration // inviter: the operator's
	Admit     time.Duration // inviter: until another host had the new generation
	Admission time.Duration // inviter: until the host had it; joiner: from its request, so with Confirm and Admit
	Store     time.Duration // joiner: until everything was stored
}

// Total is all of it.
func (p Phases) Total() time.Duration {
	return p.Offer + p.Request + p.Confirm + p.Admit + p.Admission + p.Store
}

// timed adds to d how long f took.
func timed(d *time.Duration, f func() error) error {
	began := time.Now()
	defer func() { *d += time.Since(began) }()
	return f()
}
