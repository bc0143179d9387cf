package wire

import (
	"context"
	"encoding/json"
	"time"
)

// closingPatience is how long a receiver that has everything waits for the sender to hear it.
const closingPatience = 5 * time.Second

// Receive returns what somebody sends with the same code, one text or one file, of at most limit bytes. waiting, if
// there is one, is called as soon as a sender can find us.
func Receive(ctx context.Context, t Transfer, limit int, waiting func()) ([]byte, error) {
	_, password := split(t.Code)
	until := time.Now().Add(t.Wait)
	l, leave, err := t.join(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	way := t.openContent(ctx, l, maxPorts) // a sender uses as many as there are
	defer way.close()
	l.SetDeadline(until)
	if waiting != nil {
		waiting()
	}
	key, err := l.guess(password)
	if err != nil {
		return nil, broken(err, Nobody, "wait for the sender")
	}
	l.SetDeadline(time.Now().Add(t.Limit))
	payload, err := l.take(way, key, limit)
	return payload, broken(err, TimedOut, "receive")
}

// guess agrees with a sender on a key. Whether he has it too shows only in what he encrypts with it.
func (l *link) guess(password []byte) (key []byte, err error) {
	if err := writeFrame(l, []byte(handshake)); err != nil {
		return nil, err
	}
	p, hello, err := begin(password, curve)
	if err != nil {
		return nil, err
	}
	if err := l.send(nil, message{Type: typePAKE, Bytes: hello, Bytes2: []byte(curve)}); err != nil {
		return nil, err
	}
	b, err := readSpoken(l, maxStranger)
	if err != nil {
		return nil, err
	}
	if string(b) == handshake || checkProbe(b) == nil {
		return nil, faultf(SameSide, "somebody else receives with this code: one side has to send")
	}
	m, err := decode(nil, b)
	switch {
	case err != nil:
		return nil, faultf(Protocol, "the sender's first message: %w", err)
	case m.Version != 0:
		return nil, faultf(OtherVersion, "%s", otherVersion)
	case m.Type != typePAKE:
		return nil, faultf(Protocol, "the sender said %q, want %q", m.Type, typePAKE)
	}
	secret, err := finish(p, m.Bytes)
	if err != nil {
		return nil, faultf(Protocol, "%w", err)
	}
	return keyOf(secret, m.Bytes2)
}

// take receives what the sender has, if it is what we want.
func (l *link) take(way *content, key []byte, limit int) ([]byte, error) {
	links, err := way.links()
	if err != nil {
		return nil, err
	}
	if err := l.send(key, message{Type: typeExternalIP}); err != nil {
		return nil, err
	}
	if _, err := l.want(key, typeExternalIP); err != nil {
		// A sender whose key opened nothing says something that ours does not open, or just leaves.
		if f := broken(err, TimedOut, "receive"); KindOf(f) == PeerLeft {
			return nil, faultf(WrongCode, "%s; or the sender left", wrongCode)
		}
		return nil, err
	}
	info, err := l.considerOffer(key, limit)
	if err != nil {
		return nil, err
	}
	if err := l.sendJSON(key, typeRecipientReady, fileRequest{CurrentFileChunkRanges: []int64{}}); err != nil {
		return nil, err
	}
	payload, err := collect(links, key, info)
	if err != nil {
		return nil, err
	}
	l.closeReceiver(key)
	return payload, nil
}

// considerOffer waits for the sender to say what he has, and refuses all but one file or text that is not too large.
func (l *link) considerOffer(key []byte, limit int) (senderInfo, error) {
	m, err := l.want(key, typeFileInfo)
	if err != nil {
		return senderInfo{}, err
	}
	var info senderInfo
	if err := json.Unmarshal(m.Bytes, &info); err != nil {
		return senderInfo{}, faultf(Protocol, "the sender's offer: %w", err)
	}
	if err := checkOffer(info, limit); err != nil {
		l.send(key, message{Type: typeError, Message: refusing})
		return senderInfo{}, err
	}
	return info, nil
}

func checkOffer(info senderInfo, limit int) error {
	if len(info.FilesToTransfer) != 1 || len(info.EmptyFoldersToTransfer) > 0 || info.TotalNumberFolders > 0 {
		return faultf(Refused, "the sender has %d files and %d folders, want one file or one text",
			len(info.FilesToTransfer), max(info.TotalNumberFolders, len(info.EmptyFoldersToTransfer)))
	}
	f := info.FilesToTransfer[0]
	switch {
	case f.Symlink != "" || f.TempFile:
		return faultf(Refused, "the sender has a link or a folder, want one file or one text")
	case f.Size > int64(limit):
		return faultf(TooBig, "the sender has %d bytes, at most %d are taken", f.Size, limit)
	case f.Size < 1:
		return faultf(Refused, "the sender has an empty file")
	}
	return nil
}

// arrival is what a content link gave.
type arrival struct {
	at      uint64
	content []byte
	err     error
}

// collect puts together what comes through the content links.
func collect(links []*link, key []byte, info senderInfo) ([]byte, error) {
	arrivals, done := make(chan arrival), make(chan struct{})
	defer close(done)
	for _, l := range links {
		go l.deliver(key, !info.NoCompress, arrivals, done)
	}
	p, left := newPuzzle(int(info.FilesToTransfer[0].Size)), len(links)
	for p.missing > 0 {
		a := <-arrivals
		switch cut := broken(a.err, TimedOut, "receive"); {
		case cut != nil && KindOf(cut) == PeerLeft && left > 1:
			left-- // the links of a sender that uses fewer
		case cut != nil:
			return nil, cut
		default:
			if err := p.put(a.at, a.content); err != nil {
				return nil, faultf(Protocol, "receive: %w", err)
			}
		}
	}
	return p.payload, nil
}

// deliver passes on what comes through one content link until it breaks.
func (l *link) deliver(key []byte, deflated bool, to chan<- arrival, done <-chan struct{}) {
	for {
		var a arrival
		b, err := readSpoken(l, maxPiece)
		if err == nil {
			a.at, a.content, err = openPiece(key, b, deflated)
		}
		a.err = err
		select {
		case to <- a:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

// closeReceiver tells the sender that everything is here. Everything is, whether he hears it or not, so the last word is
// not waited for.
func (l *link) closeReceiver(key []byte) {
	l.SetDeadline(time.Now().Add(closingPatience))
	if l.send(key, message{Type: typeCloseSender}) != nil {
		return
	}
	if _, err := l.want(key, typeCloseRecipient); err != nil {
		return
	}
	l.send(key, message{Type: typeFinished})
}
