package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/schollz/croc/v10/src/crypt"
)

// writePieces sends the payload, piece by piece, each with its place in front.
func writePieces(w io.Writer, key, payload []byte) error {
	for at := 0; at < len(payload); at += piece {
		plain := binary.LittleEndian.AppendUint64(nil, uint64(at))
		plain = append(plain, payload[at:min(at+piece, len(payload))]...)
		b, err := crypt.Encrypt(plain, key)
		if err != nil {
			return err
		}
		if err := writeFrame(w, b); err != nil {
			return err
		}
	}
	return nil
}

// openPiece opens what one frame of the content holds. Only its length is judged here.
func openPiece(key, b []byte, deflated bool) (at uint64, content []byte, err error) {
	plain, err := crypt.Decrypt(b, key)
	if err != nil {
		return 0, nil, errSealed
	}
	if deflated {
		if plain, err = inflate(plain, 8+piece); err != nil {
			return 0, nil, err
		}
	}
	if len(plain) <= 8 || len(plain) > 8+piece {
		return 0, nil, fmt.Errorf("a piece of %d bytes", len(plain))
	}
	return binary.LittleEndian.Uint64(plain), plain[8:], nil
}

// puzzle is a payload of which pieces arrive in any order.
type puzzle struct {
	payload []byte
	has     []bool
	missing int
}

func newPuzzle(size int) *puzzle {
	n := (size + piece - 1) / piece
	return &puzzle{payload: make([]byte, size), has: make([]bool, n), missing: n}
}

// put takes a piece: each has its place and its size, and comes once.
func (p *puzzle) put(at uint64, content []byte) error {
	size := uint64(len(p.payload))
	if at%piece != 0 || at >= size || uint64(len(content)) != min(piece, size-at) || p.has[at/piece] {
		return fmt.Errorf("a piece of %d bytes at %d does not fit", len(content), at)
	}
	copy(p.payload[at:], content)
	p.has[at/piece] = true
	p.missing--
	return nil
}
