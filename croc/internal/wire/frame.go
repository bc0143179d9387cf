// Package wire speaks the protocol of croc v10: one payload from a sender to a receiver who share a code, through a
// relay that both reach. It is compatible with the croc v10 program on the other side and with its relays.
//
// It exists because the library that the program is made of cannot be trusted with what strangers send: it inflates
// messages without a limit before anybody has proved that he knows the code, makes a file as large as the other side
// says, waits for three hours, prints the code, and looks up names as soon as it is imported. What is used of croc are
// its ciphers and its list of words. Here everything that arrives has a limit and a deadline, nothing touches a file,
// and a sender answers one guess of its code and no second.
//
// The protocol, as read from croc v10.7.0: frames of "croc", a 32-bit little-endian length and a body. A relay link
// starts with a PAKE over a key that everybody knows, and then names a room, a hash of the code's first four
// characters; the relay joins two links of one room. Through them the two run a PAKE over the code from its sixth
// character on, and then talk in messages of deflated JSON, encrypted with AES-GCM; the content goes through further
// links in pieces of 32 KiB.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// How large a frame may be: before its sender is known, in the course of a transfer, and of the content itself.
const (
	maxStranger = 8 << 10
	maxMessage  = 64 << 10
	maxPiece    = 2*piece + 256
)

// piece is how much of the content a frame carries.
const piece = 32 << 10

const magic = "croc"

// ping is what a relay sends to a link that waits.
var ping = []byte{1}

// errFrame is the error for bytes that are no frame, or one that is too large.
var errFrame = errors.New("not a frame of croc")

// writeFrame writes one frame with a single call, so that a deadline cuts between frames or breaks the link for good.
func writeFrame(w io.Writer, body []byte) error {
	b := make([]byte, 0, len(magic)+4+len(body))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

// readFrame reads one frame with a body of at most limit bytes. It allocates nothing for a larger one.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [len(magic) + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[len(magic):])
	if string(head[:len(magic)]) != magic {
		return nil, errFrame
	}
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errFrame, n, limit)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// readSpoken is readFrame without the pings that a relay puts in between. How many there may be is bounded by the
// link's deadline only.
func readSpoken(r io.Reader, limit int) ([]byte, error) {
	for {
		b, err := readFrame(r, limit)
		if err != nil || !bytes.Equal(b, ping) {
			return b, err
		}
	}
}
