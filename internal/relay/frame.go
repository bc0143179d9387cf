package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pressenter/pressenter/internal/roster"
)

// MaxDatagram is the longest datagram that is carried, in bytes. WireGuard over an MTU of 1420 needs 1452.
const MaxDatagram = 2048

// header is the length of what comes before the datagram.
const header = 2 + len(roster.Key{})

// encode returns the frame of a datagram of at most [MaxDatagram] bytes.
func encode(member roster.Key, datagram []byte) []byte {
	f := make([]byte, 0, header+len(datagram))
	f = binary.BigEndian.AppendUint16(f, uint16(len(datagram)))
	f = append(f, member[:]...)
	return append(f, datagram...)
}

// decode reads one frame. The datagram is in buf, which must have room for [MaxDatagram] bytes.
func decode(r io.Reader, buf []byte) (member roster.Key, datagram []byte, err error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return roster.Key{}, nil, err
	}
	n := int(binary.BigEndian.Uint16(h[:]))
	if n > MaxDatagram {
		return roster.Key{}, nil, fmt.Errorf("a frame of %d bytes is longer than %d", n, MaxDatagram)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return roster.Key{}, nil, err
	}
	return roster.Key(h[2:]), buf[:n], nil
}

// Types of WireGuard's messages and their lengths in bytes (WireGuard paper, 5.4).
const (
	initiation = 1 // 148
	response   = 2 // 92
	cookie     = 3 // 64
	transport  = 4 // a header of 16, a tag of 16, and what is between them
)

// isWireGuard reports whether b looks like a message of WireGuard's: its type is in the first byte, the next three are
// zero. The packet inside a transport message is padded to 16 bytes but never beyond the MTU, so any length is right.
func isWireGuard(b []byte) bool {
	if len(b) < 4 || len(b) > MaxDatagram || b[1]|b[2]|b[3] != 0 {
		return false
	}
	switch b[0] {
	case initiation:
		return len(b) == 148
	case response:
		return len(b) == 92
	case cookie:
		return len(b) == 64
	case transport:
		return len(b) >= 32
	}
	return false
}
