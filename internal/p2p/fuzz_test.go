package p2p

import (
	"bytes"
	"io"
	"testing"
	"unicode"

	cometed25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p/conn"
)

func FuzzPackets(f *testing.F) {
	ask, err := encodeAsk()
	if err != nil {
		f.Fatal(err)
	}
	pong, err := encodePong()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ask)
	f.Add(append(pong, ask...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			body, n, err := cut(b, maxPacket)
			if err != nil {
				return
			}
			if n <= 0 || n > len(b) || len(body) > maxPacket {
				t.Fatalf("cut %d of %d bytes, a body of %d", n, len(b), len(body))
			}
			b = b[n:]
			p, err := decodePacket(body)
			if err != nil || p.msg == nil {
				continue
			}
			_, _, _ = decodeAddresses(p.msg.Data)
		}
	})
}

func FuzzAddresses(f *testing.F) {
	f.Add([]byte{0x12, 0x00})
	f.Add([]byte("\x12\x14\x0a\x12\x0a\x02ab\x12\x0910.0.0.26\x18\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		as, _, err := decodeAddresses(b)
		if err != nil {
			return
		}
		if len(as) > maxAddresses {
			t.Errorf("%d addresses", len(as))
		}
		for _, a := range as {
			if back, err := ParseAddress(a.String()); a.Valid() && (err != nil || back != a) {
				t.Errorf("%+v came back as %+v, %v", a, back, err)
			}
		}
	})
}

func FuzzNodeInfo(f *testing.F) {
	b, err := encodeNodeInfo(NodeInfo{ID: hidden, Network: testNetwork, Moniker: "m", Channels: []byte{0}, Block: 11})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNodeInfo(b)
		if err != nil {
			return
		}
		for _, r := range n.Moniker + n.Network + n.ListenAddr {
			if !unicode.IsPrint(r) {
				t.Errorf("%q in %+v", r, n)
			}
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add(hidden + "@127.0.0.1:26656")
	f.Add("tcp://[::1]:1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if back, err := ParseAddress(a.String()); err != nil || back != a {
			t.Errorf("%q is %+v, and back %+v, %v", s, a, back, err)
		}
	})
}

// FuzzHandshake is of CometBFT's code: what comes before anybody has proven anything.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x22\x0a\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	key := cometed25519.GenPrivKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		rw := struct {
			io.Reader
			io.Writer
			io.Closer
		}{bytes.NewReader(b), io.Discard, io.NopCloser(nil)}
		if _, err := conn.MakeSecretConnection(rw, key); err == nil {
			t.Error("a handshake without a partner")
		}
	})
}
