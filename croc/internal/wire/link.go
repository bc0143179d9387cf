package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/schollz/croc/v10/src/crypt"
)

// DefaultPassword is the password of relays that nobody gave another, the public one among them.
const DefaultPassword = "pass123"

// The relay link's own PAKE: with a key that everybody knows it only hides the password from who merely listens.
var (
	relayKey   = []byte{1, 2, 3}
	relayCurve = "siec"
)

// between separates a relay's ports from the address that it sees us at.
const between = "|||"

const (
	relayPatience = 10 * time.Second // for a relay to answer
	maxPorts      = 16               // of a relay's content links that are used
)

// link is a connection to a room of a relay.
type link struct {
	net.Conn
	r      *bufio.Reader
	banner string // what the relay said of its ports
}

// dial joins a room of the relay at address, host:port.
func dial(ctx context.Context, address, password, room string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, relayPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, faultf(RelayUnreachable, "dial relay %s: %w", address, err)
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	banner, err := enter(conn, password, room)
	if err != nil {
		conn.Close()
		if _, ok := errors.AsType[*Fault](err); ok {
			return nil, err
		}
		return nil, faultf(RelayRefused, "relay %s does not answer as a relay of croc: %w", address, err)
	}
	conn.SetDeadline(time.Time{})
	l := newLink(conn)
	l.banner = banner
	return l, nil
}

func newLink(conn net.Conn) *link { return &link{Conn: conn, r: bufio.NewReader(conn)} }

// Read implements io.Reader.
func (l *link) Read(b []byte) (int, error) { return l.r.Read(b) }

// enter speaks with the relay until we are in the room, and returns its banner.
func enter(conn net.Conn, password, room string) (banner string, err error) {
	p, hello, err := begin(relayKey, relayCurve)
	if err != nil {
		return "", err
	}
	if err := writeFrame(conn, hello); err != nil {
		return "", err
	}
	reply, err := readFrame(conn, maxStranger)
	if err != nil {
		return "", err
	}
	secret, err := finish(p, reply)
	if err != nil {
		return "", err
	}
	salt := newSalt()
	key, err := keyOf(secret, salt)
	if err != nil {
		return "", err
	}
	if err := writeFrame(conn, salt); err != nil {
		return "", err
	}
	said, err := askSealed(conn, key, password)
	if err != nil {
		return "", err
	}
	banner, _, ok := strings.Cut(said, between)
	if !ok {
		return "", faultf(RelayRefused, "the relay wants another password")
	}
	switch said, err = askSealed(conn, key, room); {
	case err != nil:
		return "", err
	case said != "ok":
		return "", faultf(RoomTaken, "two others use this code's room at the relay")
	}
	return banner, nil
}

// askSealed says s to the relay and returns what it answers.
func askSealed(conn net.Conn, key []byte, s string) (string, error) {
	b, err := crypt.Encrypt([]byte(s), key)
	if err != nil {
		return "", err
	}
	if err := writeFrame(conn, b); err != nil {
		return "", err
	}
	if b, err = readFrame(conn, maxStranger); err != nil {
		return "", err
	}
	if b, err = crypt.Decrypt(b, key); err != nil {
		return "", err
	}
	return string(b), nil
}

// sendJSON sends a message with v in it.
func (l *link) sendJSON(key []byte, kind string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.send(key, message{Type: kind, Bytes: b})
}

// send sends a message.
func (l *link) send(key []byte, m message) error {
	b, err := encode(key, m)
	if err != nil {
		return err
	}
	return writeFrame(l, b)
}

// next reads the next message that must be encrypted. With a key that opens nothing, the code was wrong.
func (l *link) next(key []byte) (message, error) {
	b, err := readSpoken(l, 2*maxMessage)
	if err != nil {
		return message{}, err
	}
	m, err := decode(key, b)
	if err != nil {
		return message{}, err
	}
	if m.Type == typeError {
		return message{}, faultf(Refused, "the other side refused")
	}
	return m, nil
}

// want reads the next message, which must be of a type.
func (l *link) want(key []byte, kind string) (message, error) {
	m, err := l.next(key)
	if err == nil && m.Type != kind {
		err = faultf(Protocol, "the other side said %q, want %q", m.Type, kind)
	}
	return m, err
}
