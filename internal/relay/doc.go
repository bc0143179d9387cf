// Package relay carries tunnel packets over TLS for members whose UDP is blocked: a switch on a sentry's opt-in port
// ([Server]) and the local end that looks like a UDP peer ([Client]). The relay sees ciphertext only.
//
// A link is one TLS 1.3 connection between a member and a relay. On it go frames: the length of a datagram in two
// bytes, big-endian, at most [MaxDatagram]; the identity of a member, its destination on the way to the relay and its
// source on the way back; the datagram. A frame without a datagram says that its sender is alive. Nothing but WireGuard
// messages is passed in either direction, and only to where the roster says that a member is, so that a relay is of no
// use to anybody else.
//
// Underlay addresses of members are never logged, nor part of an error: a hidden validator is a client like any other.
package relay

import "time"

// How long things take. All of it is measured by the monotonic clock.
const (
	keepalive        = 2 * time.Second // a link says that it is alive
	silence          = 5 * time.Second // a link that says nothing for so long is dead
	handshakeTimeout = 5 * time.Second
	idle             = 3 * time.Minute // a session without traffic ends
	unanswered       = 9 * time.Second // for so long a handshake may go one way in vain; WireGuard repeats it after 5 s
	holdOff          = time.Second     // between two attempts to go the same way
)
