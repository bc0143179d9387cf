package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Kind names why a transfer failed, for the program that asked for it. The names are part of the contract with it.
type Kind string

// The kinds of failure.
const (
	WrongCode        Kind = "wrong-code"        // the two sides have different codes; the code is spent
	Nobody           Kind = "nobody"            // the other side did not come
	TimedOut         Kind = "timed-out"         // the other side came and then took too long
	RelayUnreachable Kind = "relay-unreachable" // no relay answers there
	RelayRefused     Kind = "relay-refused"     // the relay wants another password, or is no croc v10 relay
	RoomTaken        Kind = "room-taken"        // two others use that code's room already
	OtherVersion     Kind = "other-version"     // the other side speaks another version of croc
	SameSide         Kind = "same-side"         // both send, or both receive
	PeerLeft         Kind = "peer-left"         // the connection was cut
	TooBig           Kind = "too-big"           // more was offered than is taken
	Refused          Kind = "refused"           // one side does not take what the other offers
	Protocol         Kind = "protocol"          // the other side does not keep to the protocol
)

// Fault is a failure with its kind. Its text never holds a code, a password or what was to be transferred.
type Fault struct {
	Kind Kind
	Err  error
}

// Error implements error.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap implements errors.Unwrap.
func (f *Fault) Unwrap() error { return f.Err }

func faultf(k Kind, format string, args ...any) error {
	return &Fault{Kind: k, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of err; Protocol for an error without one.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Protocol
}

// broken gives an error of a connection its kind: late if its time ran out, PeerLeft if it was cut.
func broken(err error, late Kind, doing string) error {
	if _, ok := errors.AsType[*Fault](err); ok || err == nil {
		return err
	}
	switch {
	case errors.Is(err, errSealed):
		return faultf(WrongCode, "%s", wrongCode)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return faultf(late, "%s: time is over", doing)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return faultf(PeerLeft, "%s: the other side left", doing)
	}
	return faultf(Protocol, "%s: %w", doing, err)
}
