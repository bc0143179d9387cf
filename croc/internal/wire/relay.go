package wire

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/schollz/croc/v10/src/crypt"
)

// What one relay bears. Strangers reach it, so everything has an end.
const (
	maxLinks     = 512              // at a time
	maxGreeting  = 64               // of these, links that have not named a room yet
	maxPerSource = 32               // of these, links from one IPv4 address or one IPv6 /64
	maxRoomName  = 128              // bytes
	maxEarly     = 64 << 10         // bytes that one says before the other is there
	maxThrough   = 16 << 20         // bytes that go through a room in one direction
	greetingTime = 10 * time.Second // to name a room
	waitingTime  = 20 * time.Minute // to wait in it
	roomTime     = 15 * time.Minute // for everything that goes through a room
	leavingTime  = 2 * time.Second  // for one to leave after the other
)

// Relay joins the links of those who share a code. It never learns the code nor what they say. The zero Relay is
// ready; it is used once.
type Relay struct {
	Password string // empty: DefaultPassword

	mu       sync.Mutex
	rooms    map[string]*seat // nil: two are in it
	links    int
	greeting int
	sources  map[netip.Prefix]int
}

// Serve serves links that l accepts until ctx is done, then breaks them all and waits until they are gone. Content
// links come to the same listener. l alone decides where it listens: croc's own relay, told to listen on 127.0.0.1,
// listens on all addresses.
func (r *Relay) Serve(ctx context.Context, l net.Listener) error {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("serve relay: %w", err)
	}
	r.rooms, r.sources = map[string]*seat{}, map[netip.Prefix]int{}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			var t interface{ Temporary() bool }
			if errors.As(err, &t) && t.Temporary() { // too many open files, until some are closed
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return fmt.Errorf("serve relay: %w", err)
		}
		source := sourceOf(conn)
		if !r.admit(source) {
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer r.release(source)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			r.serve(conn, port)
		})
	}
}

// sourceOf returns what counts as one source: an IPv4 address or an IPv6 /64.
func sourceOf(conn net.Conn) netip.Prefix {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := a.Addr().Unmap(), 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits)
	return p
}

// admit counts a new link, if there is room for it.
func (r *Relay) admit(source netip.Prefix) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links >= maxLinks || r.greeting >= maxGreeting || r.sources[source] >= maxPerSource {
		return false
	}
	r.links++
	r.greeting++
	r.sources[source]++
	return true
}

func (r *Relay) release(source netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links--
	if r.sources[source]--; r.sources[source] == 0 {
		delete(r.sources, source)
	}
}

// serve is the life of one link.
func (r *Relay) serve(conn net.Conn, port string) {
	conn.SetDeadline(time.Now().Add(greetingTime))
	room, key, err := r.greet(conn, port)
	r.mu.Lock()
	r.greeting--
	r.mu.Unlock()
	if err != nil {
		return
	}
	r.mu.Lock()
	first, known := r.rooms[room]
	switch {
	case !known:
		s := newSeat(conn)
		r.rooms[room] = s
		r.mu.Unlock()
		if say(conn, key, "ok") != nil {
			r.leave(room, s)
			return
		}
		r.wait(room, s)
	case first == nil:
		r.mu.Unlock()
		say(conn, key, "room full")
	default:
		first.partner = conn
		r.rooms[room] = nil
		r.mu.Unlock()
		r.join(first, conn, key)
		r.mu.Lock()
		delete(r.rooms, room)
		r.mu.Unlock()
	}
}

// greet speaks with a new link until it names a room.
func (r *Relay) greet(conn net.Conn, port string) (room string, key []byte, err error) {
	hello, err := readFrame(conn, maxStranger)
	if err != nil {
		return "", nil, err
	}
	if string(hello) == "ping" {
		writeFrame(conn, []byte("pong"))
		return "", nil, errors.New("a ping")
	}
	reply, secret, err := answer(relayKey, relayCurve, hello)
	if err != nil {
		return "", nil, err
	}
	if err := writeFrame(conn, reply); err != nil {
		return "", nil, err
	}
	salt, err := readFrame(conn, maxStranger)
	if err != nil {
		return "", nil, err
	}
	if key, err = keyOf(secret, salt); err != nil {
		return "", nil, err
	}
	password, err := hear(conn, key)
	if err != nil {
		return "", nil, err
	}
	want := r.Password
	if want == "" {
		want = DefaultPassword
	}
	if subtle.ConstantTimeCompare([]byte(strings.TrimSpace(password)), []byte(strings.TrimSpace(want))) != 1 {
		return "", nil, errors.Join(errors.New("a wrong password"), say(conn, key, "bad password"))
	}
	if err := say(conn, key, port+between+conn.RemoteAddr().String()); err != nil {
		return "", nil, err
	}
	if room, err = hear(conn, key); err == nil && (room == "" || len(room) > maxRoomName) {
		err = errors.New("a room of no name, or of one that is too long")
	}
	return room, key, err
}

// say says s to a link.
func say(conn net.Conn, key []byte, s string) error {
	b, err := crypt.Encrypt([]byte(s), key)
	if err != nil {
		return err
	}
	return writeFrame(conn, b)
}

// hear returns what a link says.
func hear(conn net.Conn, key []byte) (string, error) {
	b, err := readFrame(conn, maxStranger)
	if err != nil {
		return "", err
	}
	b, err = crypt.Decrypt(b, key)
	return string(b), err
}
