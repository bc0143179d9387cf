package ssh

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"io"
	"testing"
)

// What is packed comes in large pieces: each read of it becomes a packet.
func TestPackedInLargePieces(t *testing.T) {
	const size = 1 << 20
	plain := make([]byte, size)
	_, _ = rand.Read(plain) // never fails
	packed, pieces, buf := new(bytes.Buffer), 0, make([]byte, 32<<10)
	r := pack(bytes.NewReader(plain))
	for {
		n, err := r.Read(buf)
		packed.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pieces++
	}
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("unpacked to %d bytes, %v", len(got), err)
	}
	if most := size / (16 << 10); pieces > most {
		t.Errorf("%d bytes came in %d pieces, at most %d wanted", size, pieces, most)
	}
}
