package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/pressenter/pressenter/internal/roster"
)

func TestIsWireGuard(t *testing.T) {
	sized := func(kind byte, n int) []byte {
		b := make([]byte, n)
		if n > 0 {
			b[0] = kind
		}
		return b
	}
	reserved := sized(transport, 64)
	reserved[3] = 1
	for name, test := range map[string]struct {
		b    []byte
		want bool
	}{
		"nothing":                       {nil, false},
		"three bytes":                   {sized(initiation, 3), false},
		"initiation":                    {sized(initiation, 148), true},
		"short initiation":              {sized(initiation, 147), false},
		"long initiation":               {sized(initiation, 149), false},
		"response":                      {sized(response, 92), true},
		"long response":                 {sized(response, 148), false},
		"cookie":                        {sized(cookie, 64), true},
		"long cookie":                   {sized(cookie, 65), false},
		"keepalive":                     {sized(transport, 32), true},
		"short transport":               {sized(transport, 31), false},
		"full transport at MTU 1420":    {sized(transport, 1452), true},
		"longest":                       {sized(transport, MaxDatagram), true},
		"too long":                      {sized(transport, MaxDatagram+1), false},
		"type 0":                        {sized(0, 148), false},
		"type 5":                        {sized(5, 148), false},
		"reserved bytes that are not 0": {reserved, false},
		"a DNS query":                   {[]byte("\x04\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01aaaaaaaaaaaaaaa"), false},
	} {
		if got := isWireGuard(test.b); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := encode(roster.Key{1}, message(transport, "hello"))
	for n := range whole {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, _, err := decode(bytes.NewReader(whole[:n]), make([]byte, MaxDatagram)); !errors.Is(err, want) {
			t.Errorf("%d bytes of %d: %v, want %v", n, len(whole), err, want)
		}
	}
	long := append([]byte{MaxDatagram >> 8, MaxDatagram&0xff + 1}, make([]byte, 2*MaxDatagram)...)
	if _, _, err := decode(bytes.NewReader(long), make([]byte, MaxDatagram)); err == nil {
		t.Error("a frame that is too long was taken")
	}
}

// FuzzDecode reads frames from any bytes: what is read is what was written, and nothing is read beyond it.
func FuzzDecode(f *testing.F) {
	f.Add(encode(roster.Key{}, nil))
	f.Add(encode(roster.Key{1}, message(initiation, "hello")))
	f.Add(append(encode(roster.Key{2}, message(cookie, "")), encode(roster.Key{3}, make([]byte, MaxDatagram))...))
	f.Add([]byte{0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := bytes.NewReader(b), make([]byte, MaxDatagram)
		for {
			before := b[len(b)-r.Len():]
			member, datagram, err := decode(r, buf)
			if err != nil {
				return
			}
			read := len(before) - r.Len()
			if again := encode(member, datagram); !bytes.Equal(again, before[:read]) {
				t.Fatalf("read %x from %x", again, before[:read])
			}
			if isWireGuard(datagram) && (len(datagram) < 32 || datagram[0] > transport) {
				t.Fatalf("%x is no message", datagram)
			}
		}
	})
}
