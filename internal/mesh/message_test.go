package mesh

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pressenter/pressenter/internal/roster"
)

func someMessage() message {
	return message{
		Version: 1, Kind: pong, Nonce: 1 << 63, Generation: 7, Heads: []roster.Hash{{1}, {2}},
		Seen:  netip.MustParseAddrPort("192.0.2.1:51820"),
		Moved: []sighting{{Identity: roster.Key{3}, Address: netip.MustParseAddrPort("[2001:db8::1]:51820"), Age: 12}},
	}
}

func TestMessageGolden(t *testing.T) {
	for want, m := range map[string]message{
		`{"v":1,"kind":"ping","nonce":5,"generation":7,"heads":[]}`: {Version: 1, Kind: ping, Nonce: 5, Generation: 7},
		`{"v":1,"kind":"pong","nonce":9223372036854775808,"generation":7,"heads":["01` + strings.Repeat("0", 62) + `","02` + strings.Repeat("0", 62) +
			`"],"seen":"192.0.2.1:51820","moved":[{"identity":"03` + strings.Repeat("0", 62) + `","address":"[2001:db8::1]:51820","age_s":12}]}`: someMessage(),
	} {
		if got := string(m.encode()); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if back, err := decodeMessage([]byte(want)); err != nil || !bytes.Equal(back.encode(), []byte(want)) {
			t.Errorf("%+v %v", back, err)
		}
	}
}

func TestMessageRefused(t *testing.T) {
	good := string(someMessage().encode())
	full := message{Version: 1, Kind: pong, Heads: make([]roster.Hash, maxTold+1)}
	for name, b := range map[string]string{
		"empty":         "",
		"trailing":      good + " ",
		"unknown field": `{"v":1,"kind":"ping","nonce":5,"generation":7,"heads":[],"x":1}`,
		"repeated":      `{"v":1,"v":1,"kind":"ping","nonce":5,"generation":7,"heads":[]}`,
		"other order":   `{"kind":"ping","v":1,"nonce":5,"generation":7,"heads":[]}`,
		"other kind":    `{"v":1,"kind":"pung","nonce":5,"generation":7,"heads":[]}`,
		"null heads":    `{"v":1,"kind":"ping","nonce":5,"generation":7,"heads":null}`,
		"too many":      string(full.encode()),
		"padded pong":   string(message{Version: 1, Kind: pong, Pad: "0"}.encode()),
		"too long":      string(message{Version: 1, Kind: ping}.padded(maxProbe + 1)),
	} {
		if m, err := decodeMessage([]byte(b)); err == nil || errors.Is(err, errVersion) {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
	for _, b := range []string{`{"v":2,"kind":"ping"}`, `{"v":2,"kind":7,"more":[]}`, `{}`} {
		if _, err := decodeMessage([]byte(b)); !errors.Is(err, errVersion) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func TestPadded(t *testing.T) {
	m := message{Version: 1, Kind: ping, Nonce: 5, Heads: []roster.Hash{{1}}}
	for _, size := range []int{1152, 1232, 1372, 8900} {
		b := m.padded(size)
		if back, err := decodeMessage(b); err != nil || len(b) != size || back.Nonce != 5 {
			t.Errorf("%d: %d bytes, %v", size, len(b), err)
		}
	}
}

func TestTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		heads := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) roster.Hash { return roster.Hash{rapid.Byte().Draw(t, "b")} }), 0, roster.MaxHeads).Draw(t, "heads")
		other := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) roster.Hash { return roster.Hash{rapid.Byte().Draw(t, "b")} }), 0, roster.MaxHeads).Draw(t, "other")
		if len(told(heads)) > maxTold || slices.Equal(told(heads), told(other)) != slices.Equal(heads, other) {
			t.Fatalf("%v %v", told(heads), told(other))
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add(someMessage().encode())
	f.Add(message{Version: 1, Kind: ping}.padded(300))
	f.Add([]byte(`{"v":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode(), b) || len(m.Heads) > maxTold || len(m.Moved) > maxMoved || len(b) > maxProbe {
			t.Errorf("%q is %+v", b, m)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add([]byte(`{"v":1,"generation":3,"heads":["01` + strings.Repeat("0", 62) + `"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err != nil {
			return
		}
		var w bytes.Buffer
		if err := writeHello(&w, h); err != nil || !bytes.Equal(w.Bytes()[4:], b) || len(h.Heads) > roster.MaxHeads {
			t.Errorf("%q is %+v, %v", b, h, err)
		}
	})
}

func FuzzEnvelopes(f *testing.F) {
	d := newDeployment(f, 1, 2, 0)
	var w bytes.Buffer
	if err := writeEnvelopes(&w, d.envs); err != nil {
		f.Fatal(err)
	}
	f.Add(w.Bytes())
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		envs, err := readEnvelopes(r)
		if err != nil {
			return
		}
		var w bytes.Buffer
		if err := writeEnvelopes(&w, envs); err != nil || !bytes.HasPrefix(b, w.Bytes()) {
			t.Errorf("%d envelopes, %v", len(envs), err)
		}
	})
}

// endless is a peer that never stops sending.
type endless struct{ frame []byte }

func (e endless) Read(b []byte) (int, error) { return copy(b, e.frame), nil }

// What one exchange may not hold follows in the next one.
func TestWhatFits(t *testing.T) {
	small, large := roster.Envelope{Payload: []byte("{}")}, roster.Envelope{Payload: make([]byte, roster.MaxPayload)}
	for name, c := range map[string]struct {
		envs []roster.Envelope
		want int
	}{
		"none":       {nil, 0},
		"few":        {slices.Repeat([]roster.Envelope{small}, 3), 3},
		"many":       {slices.Repeat([]roster.Envelope{small}, maxSent+1), maxSent},
		"many bytes": {slices.Repeat([]roster.Envelope{large}, maxSent), maxSentBytes / (roster.MaxPayload*4/3 + 200)},
	} {
		if got := fitting(c.envs); len(got) != c.want {
			t.Errorf("%s: %d, want %d", name, len(got), c.want)
		}
	}
	d := newDeployment(t, 1, 2, 0)
	if e := d.envs[0]; roster.EncodedLen(e) < len(roster.EncodeEnvelope(e)) || roster.EncodedLen(e) > len(roster.EncodeEnvelope(e))+100 {
		t.Errorf("%d bytes, said to be %d", len(roster.EncodeEnvelope(e)), roster.EncodedLen(e))
	}
}

func TestEnvelopesAreBounded(t *testing.T) {
	var w bytes.Buffer
	d := newDeployment(t, 1, 2, 0)
	for range maxSent + 1 {
		if err := writeFrame(&w, roster.EncodeEnvelope(d.envs[0])); err != nil {
			t.Fatal(err)
		}
	}
	if envs, err := readEnvelopes(&w); !errors.Is(err, errUnruly) || len(envs) != maxSent {
		t.Errorf("%d, %v", len(envs), err)
	}
	if _, err := readFrame(endless{[]byte{0, 255, 255, 255}}, roster.MaxEnvelope); !errors.Is(err, errUnruly) {
		t.Error(err)
	}
	if _, err := readFrame(bytes.NewReader([]byte{0, 0, 1, 0, 9}), roster.MaxEnvelope); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
