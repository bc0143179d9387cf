package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pair runs a sender and a receiver until both have ended.
func pair(ctx context.Context, send, receive Transfer, payload []byte, limit int) (got []byte, sendErr, receiveErr error) {
	sent, waits := make(chan error, 1), make(chan struct{})
	go func() { sent <- Send(ctx, send, "", payload, func() { close(waits) }) }()
	select {
	case <-waits:
	case sendErr = <-sent:
		return nil, sendErr, nil
	}
	got, receiveErr = Receive(ctx, receive, limit, nil)
	return got, <-sent, receiveErr
}

func wantKind(t *testing.T, who string, err error, want Kind) {
	t.Helper()
	if err == nil || KindOf(err) != want {
		t.Errorf("%s: error %v of kind %s, want kind %s", who, err, KindOf(err), want)
	}
}

// A wrong code fails on both sides, and nobody is left in the room to guess at.
func TestWrongCodeSpendsIt(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: "1234-alpha-bravo-charlie", Wait: time.Minute, Limit: time.Minute}
	other := tr
	other.Code = "1234-alpha-bravo-delta"
	got, sendErr, receiveErr := pair(t.Context(), tr, other, []byte("secret"), 100)
	wantKind(t, "sender", sendErr, WrongCode)
	wantKind(t, "receiver", receiveErr, WrongCode)
	if got != nil {
		t.Errorf("received %q", got)
	}
	for _, err := range []error{sendErr, receiveErr} {
		if strings.Contains(err.Error(), "alpha") || strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells too much: %v", err)
		}
	}
	tr.Wait = 50 * time.Millisecond
	_, err := Receive(t.Context(), tr, 100, nil)
	wantKind(t, "second receiver", err, Nobody)
}

// guesser is a stranger in the room of a code.
func guesser(t *testing.T, tr Transfer) *link {
	t.Helper()
	room, _ := split(tr.Code)
	l, err := dial(t.Context(), tr.Relay, DefaultPassword, room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// The library answers two guesses: one where a receiver asks for addresses, and one after the handshake.
func TestSenderAnswersOneGuess(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: "1234-alpha-bravo-charlie", Wait: time.Minute, Limit: time.Minute}
	sent, waits := make(chan error, 1), make(chan struct{})
	go func() { sent <- Send(t.Context(), tr, "", []byte("secret"), func() { close(waits) }) }()
	<-waits
	l := guesser(t, tr)
	_, hello, err := begin([]byte("guess"), curve)
	if err != nil {
		t.Fatal(err)
	}
	ask := fmt.Appendf(nil, `{"Bytes":"","Kind":"pake1"}`)
	if err := writeFrame(l, ask); err != nil {
		t.Fatal(err)
	}
	if b, err := readSpoken(l, maxStranger); err != nil || string(b) != `{"Bytes":null,"Kind":"none","Version":0}` {
		t.Fatalf("asked for addresses: %q, %v", b, err)
	}
	if err := writeFrame(l, []byte(handshake)); err != nil {
		t.Fatal(err)
	}
	guess := message{Type: typePAKE, Bytes: hello, Bytes2: []byte(curve)}
	if err := l.send(nil, guess); err != nil {
		t.Fatal(err)
	}
	if _, err := readSpoken(l, maxStranger); err != nil {
		t.Fatal(err)
	}
	if err := l.send(nil, guess); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "sender", <-sent, WrongCode)
	if b, err := readSpoken(l, maxStranger); err == nil {
		t.Errorf("a second guess was answered: %q", b)
	}
}

// A receiver that came first has stopped waiting for an answer about addresses, and would take it for what comes next.
func TestProbeOfWhoCameFirst(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
	l := guesser(t, tr)
	_, hello, err := begin([]byte("guess"), curve)
	if err != nil {
		t.Fatal(err)
	}
	writeFrame(l, []byte(`{"Bytes":"","Kind":"pake1"}`))
	writeFrame(l, []byte(handshake))
	l.send(nil, message{Type: typePAKE, Bytes: hello, Bytes2: []byte(curve)})
	sent := make(chan error, 1)
	go func() { sent <- Send(t.Context(), tr, "", []byte("x"), nil) }()
	b, err := readSpoken(l, maxStranger)
	if m, notMessage := decode(nil, b); err != nil || notMessage != nil || m.Type != typePAKE {
		t.Errorf("the sender said %q, %v, %v", b, err, notMessage)
	}
	l.Close()
	wantKind(t, "sender", <-sent, PeerLeft)
}

// Who comes and goes without a guess does not spend the code.
func TestVisitorsDoNotSpendTheCode(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
	sent, waits := make(chan error, 1), make(chan struct{})
	go func() { sent <- Send(t.Context(), tr, "", []byte("hello"), func() { close(waits) }) }()
	<-waits
	l := guesser(t, tr)
	if err := writeFrame(l, []byte(handshake)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	got, err := Receive(t.Context(), tr, 100, nil)
	for KindOf(err) == RoomTaken { // until the relay has seen that the visitor left
		got, err = Receive(t.Context(), tr, 100, nil)
	}
	if err != nil || string(got) != "hello" {
		t.Errorf("received %q, %v", got, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// What the other side starts with decides what is said about it.
func TestStrangeReceivers(t *testing.T) {
	_, hello, err := begin([]byte("x"), curve)
	if err != nil {
		t.Fatal(err)
	}
	v11, _ := encode(nil, message{Type: typePAKE, Version: 2, Bytes: hello, Bytes2: []byte(curve)})
	ed25519, _ := encode(nil, message{Type: typePAKE, Bytes: hello, Bytes2: []byte("ed25519")})
	nothing, _ := encode(nil, message{Type: typePAKE, Bytes: []byte("null"), Bytes2: []byte(curve)})
	offCurve, _ := encode(nil, message{Type: typePAKE, Bytes: []byte(`{"Role":0,"Xᵤ":1,"Xᵥ":1}`), Bytes2: []byte(curve)})
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   Kind
	}{
		{"v11", [][]byte{[]byte(handshake), v11}, OtherVersion},
		{"v11 asks for addresses", [][]byte{[]byte(`{"Bytes":"","Kind":"pake1","Version":2,"Curve":"p256"}`)}, OtherVersion},
		{"another curve", [][]byte{[]byte(handshake), ed25519}, Refused},
		{"no point", [][]byte{[]byte(handshake), nothing}, Protocol},
		{"a point off the curve", [][]byte{[]byte(handshake), offCurve}, Protocol},
		{"noise", [][]byte{[]byte("GET / HTTP/1.1")}, Protocol},
		{"too much", [][]byte{make([]byte, maxStranger+1)}, Protocol},
		{"bomb", [][]byte{[]byte(handshake), bomb(t)}, Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
			sent, waits := make(chan error, 1), make(chan struct{})
			go func() { sent <- Send(t.Context(), tr, "", []byte("x"), func() { close(waits) }) }()
			<-waits
			l := guesser(t, tr)
			for _, f := range c.frames {
				writeFrame(l, f) // the sender may be gone already
			}
			wantKind(t, "sender", <-sent, c.want)
		})
	}
}

// bomb is a small message that is a large one when inflated.
func bomb(t *testing.T) []byte {
	t.Helper()
	b, err := encode(nil, message{Type: typePAKE, Message: strings.Repeat("a", 32*maxMessage)})
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > maxStranger { // what compresses once compresses again, but is no message then
		b = b[:maxStranger]
	}
	return b
}

func TestInflateIsBounded(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	b, err := encode(key, message{Type: typeFileInfo, Message: strings.Repeat("a", maxMessage)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(key, b); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("decode a bomb: %v", err)
	}
}

func TestReceiverMeets(t *testing.T) {
	v11, _ := encode(nil, message{Type: typePAKE, Version: 2, Bytes: []byte("{}"), Bytes2: make([]byte, 16)})
	for _, c := range []struct {
		name  string
		frame []byte
		want  Kind
	}{
		{"another receiver", []byte(handshake), SameSide},
		{"v11", v11, OtherVersion},
		{"noise", []byte("noise"), Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
			l := guesser(t, tr)
			if err := writeFrame(l, c.frame); err != nil {
				t.Fatal(err)
			}
			_, err := Receive(t.Context(), tr, 100, nil)
			wantKind(t, "receiver", err, c.want)
		})
	}
}

func TestOffers(t *testing.T) {
	one := func(f fileInfo) senderInfo { return senderInfo{FilesToTransfer: []fileInfo{f}} }
	for _, c := range []struct {
		name string
		info senderInfo
		want Kind
	}{
		{"nothing", senderInfo{}, Refused},
		{"two files", senderInfo{FilesToTransfer: make([]fileInfo, 2)}, Refused},
		{"a folder", senderInfo{FilesToTransfer: []fileInfo{{Size: 1}}, TotalNumberFolders: 1}, Refused},
		{"an empty folder", senderInfo{FilesToTransfer: []fileInfo{{Size: 1}}, EmptyFoldersToTransfer: make([]fileInfo, 1)}, Refused},
		{"a link", one(fileInfo{Size: 1, Symlink: "x"}), Refused},
		{"a zip of a folder", one(fileInfo{Size: 1, TempFile: true}), Refused},
		{"an empty file", one(fileInfo{}), Refused},
		{"a negative size", one(fileInfo{Size: -1}), Refused},
		{"too large", one(fileInfo{Size: 101}), TooBig},
		{"absurdly large", one(fileInfo{Size: 1 << 62}), TooBig},
	} {
		if err := checkOffer(c.info, 100); err == nil || KindOf(err) != c.want {
			t.Errorf("%s: %v, want kind %s", c.name, err, c.want)
		}
	}
	if err := checkOffer(one(fileInfo{Size: 100}), 100); err != nil {
		t.Error(err)
	}
}

// A sender learns that too much was offered.
func TestTooBigIsRefused(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
	_, sendErr, receiveErr := pair(t.Context(), tr, tr, make([]byte, 101), 100)
	wantKind(t, "sender", sendErr, Refused)
	wantKind(t, "receiver", receiveErr, TooBig)
}

func TestPuzzle(t *testing.T) {
	p := newPuzzle(piece + 10)
	for _, c := range []struct {
		at uint64
		n  int
		ok bool
	}{
		{1, 10, false},
		{0, 10, false},
		{piece, 11, false},
		{2 * piece, 10, false},
		{1 << 63, piece, false},
		{piece, 10, true},
		{piece, 10, false},
		{0, piece, true},
	} {
		if err := p.put(c.at, make([]byte, c.n)); (err == nil) != c.ok {
			t.Errorf("put %d bytes at %d: %v", c.n, c.at, err)
		}
	}
	if p.missing != 0 {
		t.Errorf("%d pieces are missing", p.missing)
	}
}

func TestNobodyAndNoRelay(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{Password: "other"}), Code: newCode(t), Wait: time.Millisecond, Limit: time.Minute}
	_, err := Receive(t.Context(), tr, 10, nil)
	wantKind(t, "wrong password", err, RelayRefused)
	tr.Password = " other\n" // a relay trims, as croc's does
	_, err = Receive(t.Context(), tr, 10, nil)
	wantKind(t, "receiver without a sender", err, Nobody)
	err = Send(t.Context(), tr, "", []byte("x"), nil)
	wantKind(t, "sender without a receiver", err, Nobody)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	tr.Relay = l.Addr().String()
	_, err = Receive(t.Context(), tr, 10, nil)
	wantKind(t, "no relay", err, RelayUnreachable)
}

// A third one is told that two are there.
func TestRoomIsForTwo(t *testing.T) {
	tr := Transfer{Relay: newRelay(t, &Relay{}), Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
	guesser(t, tr)
	guesser(t, tr)
	_, err := Receive(t.Context(), tr, 10, nil)
	wantKind(t, "third", err, RoomTaken)
}

// cutter is a way to a relay that breaks after so many bytes.
func cutter(t *testing.T, relay string, after int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var left atomic.Int64
	left.Store(after)
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", relay)
			if err != nil {
				a.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() {
					defer a.Close()
					defer b.Close()
					one := make([]byte, 1)
					for left.Add(-1) >= 0 {
						if _, err := io.ReadFull(way[0], one); err != nil {
							return
						}
						if _, err := way[1].Write(one); err != nil {
							return
						}
					}
				}()
			}
		}
	}()
	return l.Addr().String()
}

// Cut anywhere, a transfer ends for both sides, and nobody has less than everything and takes it for everything.
func TestCut(t *testing.T) {
	relay := newRelay(t, &Relay{})
	payload := []byte("all of it")
	delivered := 0
	for after := int64(1); after < 6000 && delivered < 3; after += 331 {
		ctx, cancel := context.WithCancel(t.Context())
		tr := Transfer{Relay: relay, Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
		way := tr
		way.Relay = cutter(t, relay, after)
		// The receiver's content link goes to the relay's own port, and so is not cut.
		sent, waits := make(chan error, 1), make(chan struct{})
		go func() { sent <- Send(ctx, tr, "", payload, func() { close(waits) }) }()
		<-waits
		got, err := Receive(ctx, way, 100, nil)
		cancel()
		sendErr := <-sent
		if err != nil && got != nil || err == nil && !bytes.Equal(got, payload) {
			t.Fatalf("cut after %d: got %q, %v", after, got, err)
		}
		if sendErr == nil && err != nil {
			t.Fatalf("cut after %d: the sender succeeded, the receiver did not: %v", after, err)
		}
		if err == nil {
			delivered++
		}
	}
	if delivered == 0 {
		t.Error("nothing ever arrived: the cuts are not where they should be")
	}
}

func TestReadFrameAllocatesNothingForMore(t *testing.T) {
	head := binary.LittleEndian.AppendUint32([]byte(magic), 1<<31)
	if n := testing.AllocsPerRun(10, func() { readFrame(bytes.NewReader(head), maxMessage) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
	if _, err := readFrame(bytes.NewReader(head), maxMessage); err == nil {
		t.Error("a frame of 2 GiB was read")
	}
}

func TestNewCode(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		code := newCode(t)
		parts := strings.Split(code, "-")
		if len(parts) != 4 || len(parts[0]) != 4 || CheckCode(code) != nil || seen[code] {
			t.Fatalf("code %q", code)
		}
		seen[code] = true
	}
	for _, bad := range []string{"", "12345", "1234-a\n", "1234 alpha", "1234-ä", strings.Repeat("a", maxCode+1)} {
		if CheckCode(bad) == nil {
			t.Errorf("%q is taken for a code", bad)
		}
	}
}
