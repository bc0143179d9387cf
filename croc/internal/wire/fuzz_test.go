package wire

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func FuzzFrame(f *testing.F) {
	f.Add([]byte("croc\x01\x00\x00\x00\x01croc\x02\x00\x00\x00hi"))
	f.Add([]byte("croc\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(bytes.NewReader(b), 100)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFrame(&again, body); err != nil || !bytes.HasPrefix(b, again.Bytes()) {
			t.Errorf("read %q from %q", body, b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, m := range []message{{Type: typePAKE, Bytes: []byte("{}")}, {Type: typeFileInfo, Version: 2, Num: 3}} {
		b, err := encode(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"Kind":"pake1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decode(nil, b); err == nil && len(m.Message)+len(m.Bytes)+len(m.Bytes2) > maxMessage {
			t.Error("a message that is too large")
		}
		checkProbe(b)
	})
}

func FuzzAnswer(f *testing.F) {
	_, hello, err := begin([]byte("password"), curve)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello)
	f.Add([]byte("null"))
	f.Add([]byte(`{"Role":0,"Xᵤ":-1,"Xᵥ":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxStranger {
			return
		}
		for _, c := range []string{curve, relayCurve} {
			answer([]byte("password"), c, b)
			p, _, err := begin([]byte("password"), c)
			if err != nil {
				t.Fatal(err)
			}
			finish(p, b)
		}
	})
}

func FuzzOpenPiece(f *testing.F) {
	key := make([]byte, 32)
	var b bytes.Buffer
	if err := writePieces(&b, key, []byte("hello")); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes()[8:], false)
	f.Fuzz(func(t *testing.T, b []byte, deflated bool) {
		at, content, err := openPiece(key, b, deflated)
		if err == nil {
			newPuzzle(100).put(at, content)
		}
		if len(content) > piece {
			t.Errorf("a piece of %d bytes", len(content))
		}
	})
}

// FuzzParties lets each party of the protocol listen to a stranger.
func FuzzParties(f *testing.F) {
	f.Add([]byte("croc\x09\x00\x00\x00handshake"))
	f.Add([]byte("croc\x04\x00\x00\x00ping"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4*maxStranger {
			return
		}
		for _, party := range []func(net.Conn){
			func(c net.Conn) { new(Relay).greet(c, "1") },
			func(c net.Conn) { enter(c, "password", "room") },
			func(c net.Conn) { newLink(c).awaitReceiver(time.Now().Add(time.Minute)) },
			func(c net.Conn) { newLink(c).guess([]byte("password")) },
		} {
			ours, stranger := net.Pipe()
			go io.Copy(io.Discard, stranger)
			go func() {
				stranger.Write(b)
				stranger.Close()
			}()
			party(ours)
			ours.Close()
			stranger.Close()
		}
	})
}
