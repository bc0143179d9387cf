// Package croc carries one payload between two hosts that share a code, as croc v10 does. It runs pressenter-croc, or
// a croc of the user's, as a child process: what strangers send is read there and not here, and the child ends when we
// do. The code goes to pressenter-croc on standard input and to croc in its environment, never as an argument, and no
// error or event holds it.
//
// Codes, the other side and relays are those of croc v10; croc v11 cannot be talked to.
package croc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PublicRelay is the relay that croc v10 uses where nothing else is said. It learns who meets whom, not what they say.
const PublicRelay = "croc.schollz.com:9009"

// MaxPayload is the most that one transfer carries.
const MaxPayload = 4 << 20

// How long a transfer takes at most unless a Carrier says otherwise: until the other side is there, and from then on.
const (
	DefaultWait  = 15 * time.Minute
	DefaultLimit = time.Minute
)

// Why a transfer failed. All but ErrNobody, ErrRelay and ErrRoomTaken mean that the code is spent: who goes on with it
// meets nobody, or somebody who guesses.
var (
	ErrWrongCode = errors.New("the two sides have different codes")
	ErrNobody    = errors.New("nobody came with that code")
	ErrTimedOut  = errors.New("the other side came and then took too long")
	ErrRelay     = errors.New("the relay cannot be used")
	ErrRoomTaken = errors.New("others use that code")
	ErrVersion   = errors.New("another version of croc")
	ErrPeerLeft  = errors.New("the connection to the other side was cut")
	ErrTooBig    = errors.New("the other side has more than is taken")
	ErrRefused   = errors.New("one side does not take what the other has")
	ErrProtocol  = errors.New("the other side does not speak as croc v10 does")
	ErrMissing   = errors.New("pressenter-croc is missing")
)

// Carrier carries payloads through a relay. Its methods may be called concurrently, with different codes.
type Carrier struct {
	// Bin is pressenter-croc; empty: it is looked for beside the running program, then in PATH.
	Bin string
	// Relay is where the two sides meet, host:port. It is never the public one by default: see PublicRelay.
	Relay string
	// Password is the relay's; empty: the one that croc's relays have by default.
	Password string
	// CrocBin is a croc v10 program to use instead of pressenter-croc. It keeps fewer of our limits.
	CrocBin string
	// Wait and Limit replace DefaultWait and DefaultLimit where they are not zero.
	Wait, Limit time.Duration
	// Waiting, if set, is called when the other side can find us. Not with CrocBin.
	Waiting func()
}

// Send gives payload, of 1 to MaxPayload bytes, to whoever receives with code, and returns when he has it. It answers
// one guess of the code.
func (c Carrier) Send(ctx context.Context, code string, payload []byte) error {
	if n := len(payload); n < 1 || n > MaxPayload {
		return fmt.Errorf("send: %d bytes, want 1 to %d", n, MaxPayload)
	}
	var err error
	if c.CrocBin != "" {
		err = c.stockSend(ctx, code, payload)
	} else {
		_, err = c.transfer(ctx, "send", code, payload, 0)
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Receive returns what somebody sends with code, at most limit bytes, which is at most MaxPayload. What it returns is
// from whoever has the code, and is to be judged.
func (c Carrier) Receive(ctx context.Context, code string, limit int) ([]byte, error) {
	if limit < 1 || limit > MaxPayload {
		return nil, fmt.Errorf("receive: at most %d bytes, want 1 to %d", limit, MaxPayload)
	}
	var payload []byte
	var err error
	if c.CrocBin != "" {
		payload, err = c.stockReceive(ctx, code, limit)
	} else {
		payload, err = c.transfer(ctx, "receive", code, nil, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return payload, nil
}

// NewCode returns a new code as croc v10 makes them, 1234-word-word-word: the digits choose the room and are public,
// the words hold 32 random bits.
func (c Carrier) NewCode(ctx context.Context) (string, error) {
	code, err := c.code(ctx)
	if err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return code, nil
}

// ServeRelay serves a relay on the address host:port, and only there, until ctx is done. Port 0 is a free one; ready
// is called with what it is. The relay's password is that of c; who serves and who uses a relay need the same.
func (c Carrier) ServeRelay(ctx context.Context, address string, ready func(address string)) error {
	if err := c.relay(ctx, address, ready); err != nil {
		return fmt.Errorf("serve relay on %s: %w", address, err)
	}
	return nil
}

// wait returns how long to wait for the other side: not much longer than ctx, whose end then says why.
func (c Carrier) wait(ctx context.Context) time.Duration {
	d := c.Wait
	if d == 0 {
		d = DefaultWait
	}
	if until, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(until)+endTime)
	}
	return max(d, time.Millisecond)
}

func (c Carrier) limit() time.Duration {
	if c.Limit == 0 {
		return DefaultLimit
	}
	return c.Limit
}
