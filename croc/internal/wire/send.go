package wire

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"time"
)

// Transfer says how to find the other side.
type Transfer struct {
	Relay    string        // host:port
	Password string        // the relay's; empty: DefaultPassword
	Code     string        // what both sides know
	Wait     time.Duration // how long to wait for the other side to come
	Limit    time.Duration // how long a transfer may take once it has; a person may be asked there
}

// What both sides say of these failures.
const (
	wrongCode    = "the two sides have different codes, and this one is spent: make a new one"
	otherVersion = "the other side runs croc v11, which v10 cannot talk to: it needs croc v10.7.0"
)

func (t Transfer) password() string {
	if t.Password == "" {
		return DefaultPassword
	}
	return t.Password
}

// join joins the code's room. The link breaks when ctx ends; leave closes it.
func (t Transfer) join(ctx context.Context) (l *link, leave func(), err error) {
	room, _ := split(t.Code)
	l, err = dial(ctx, t.Relay, t.password(), room)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	return l, func() { stop(); l.Close() }, nil
}

// Send gives payload to whoever receives with the same code, as the file of that name; without a name as a text.
// waiting, if there is one, is called as soon as a receiver can find us.
//
// It answers one guess of the code. Who comes and leaves without a guess is not the other side, and is forgotten.
func Send(ctx context.Context, t Transfer, name string, payload []byte, waiting func()) error {
	until := time.Now().Add(t.Wait)
	for again := false; ; again = true {
		guessed, err := t.sendOnce(ctx, until, name, payload, waiting)
		left := KindOf(err) == PeerLeft || again && KindOf(err) == RoomTaken
		if err == nil || guessed || !left || time.Now().After(until) {
			return err
		}
		waiting = nil
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond): // a room is free again a moment after it broke
		}
	}
}

// sendOnce is Send to the first who comes. It reports whether he made a guess, right or wrong.
func (t Transfer) sendOnce(ctx context.Context, until time.Time, name string, payload []byte, waiting func()) (guessed bool, err error) {
	l, leave, err := t.join(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	way := t.openContent(ctx, l, 1) // one is enough
	defer way.close()
	if waiting != nil {
		waiting()
	}
	hello, err := l.awaitReceiver(until)
	if err != nil {
		return false, broken(err, Nobody, "wait for the receiver")
	}
	l.SetDeadline(time.Now().Add(t.Limit))
	return true, broken(t.give(l, way, hello, name, payload), TimedOut, "send")
}

// awaitReceiver waits for a receiver and returns the message that starts his PAKE.
func (l *link) awaitReceiver(until time.Time) (message, error) {
	for {
		l.SetDeadline(until)
		b, err := readSpoken(l, maxStranger)
		if err != nil {
			return message{}, err
		}
		if string(b) == handshake {
			break
		}
		if err := checkProbe(b); err != nil {
			return message{}, err
		}
		if err := l.declineProbe(); err != nil {
			return message{}, err
		}
	}
	b, err := readSpoken(l, maxStranger)
	if err != nil {
		return message{}, err
	}
	m, err := decode(nil, b)
	switch {
	case err != nil:
		return message{}, faultf(Protocol, "the receiver's first message: %w", err)
	case m.Version != 0:
		return message{}, faultf(OtherVersion, "%s", otherVersion)
	case m.Type != typePAKE:
		return message{}, faultf(Protocol, "the receiver said %q, want %q", m.Type, typePAKE)
	case string(m.Bytes2) != curve:
		return message{}, faultf(Refused, "the receiver wants the curve %q: it is to be run without --curve", m.Bytes2)
	}
	return m, nil
}

// give makes the guess that the receiver's hello is, and sends him the payload if it is right.
func (t Transfer) give(l *link, way *content, hello message, name string, payload []byte) error {
	_, password := split(t.Code)
	reply, secret, err := answer(password, curve, hello.Bytes)
	if err != nil {
		return faultf(Protocol, "%w", err)
	}
	salt := newSalt()
	key, err := keyOf(secret, salt)
	if err != nil {
		return err
	}
	if err := l.send(nil, message{Type: typePAKE, Bytes: reply, Bytes2: salt}); err != nil {
		return err
	}
	links, err := way.links()
	if err != nil {
		return err
	}
	// What the two say of their addresses only proves the key: ours is nobody's business.
	if _, err := l.want(key, typeExternalIP); err != nil {
		return err
	}
	if err := l.send(key, message{Type: typeExternalIP}); err != nil {
		return err
	}
	if err := l.offer(key, name, payload); err != nil {
		return err
	}
	if err := writePieces(links[0], key, payload); err != nil {
		return err
	}
	return l.closeSender(key)
}

// offer describes the payload and waits until the receiver wants it.
func (l *link) offer(key []byte, name string, payload []byte) error {
	sum := md5.Sum(payload) // croc's way to know a file again; the encryption is what protects it
	info := senderInfo{NoCompress: true, HashAlgorithm: "md5", SendingText: name == ""}
	if name == "" {
		name = "croc-stdin-text" // receivers know a text by this
	}
	info.FilesToTransfer = []fileInfo{{Name: name, FolderRemote: "./", Hash: sum[:], Size: int64(len(payload)), Mode: 0o600}}
	if err := l.sendJSON(key, typeFileInfo, info); err != nil {
		return err
	}
	m, err := l.want(key, typeRecipientReady)
	if err != nil {
		return err
	}
	var want fileRequest
	if err := json.Unmarshal(m.Bytes, &want); err != nil {
		return faultf(Protocol, "the receiver's request: %w", err)
	}
	if want.FilesToTransferCurrentNum != 0 || len(want.CurrentFileChunkRanges) > 0 {
		return faultf(Refused, "the receiver has a part of a file of that name: it is to be moved away first")
	}
	return nil
}

// closeSender ends a transfer as its sender.
func (l *link) closeSender(key []byte) error {
	if _, err := l.want(key, typeCloseSender); err != nil {
		return err
	}
	if err := l.send(key, message{Type: typeCloseRecipient}); err != nil {
		return err
	}
	if _, err := l.want(key, typeFinished); err != nil {
		return err
	}
	return l.send(key, message{Type: typeFinished})
}
