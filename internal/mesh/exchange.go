package mesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
)

// Bounds of one exchange of rosters. What does not fit follows in the next one.
const (
	exchangeTimeout = 60 * time.Second
	dialTimeout     = 5 * time.Second
	maxHello        = 2048 // bytes
	maxSent         = 512  // envelopes in one direction
	maxSentBytes    = roster.MaxContestedBytes * 3 / 2
	maxExchanges    = 4 // at a time, in each direction
	unrulyPause     = time.Minute
)

// hello opens both directions of an exchange: what its sender has. Envelopes follow, each after its length in four
// bytes, big-endian; a length of nothing ends them. Who was asked sends first.
type hello struct {
	Version    int           `json:"v"`
	Generation uint64        `json:"generation"`
	Heads      []roster.Hash `json:"heads"`
}

// outcome is what an exchange brought.
type outcome struct {
	equal bool // both sides had the same
	whole bool // we have now whatever the other side said that it has
	moved bool // one of them learned something
}

// exchange asks a peer for what we lack, and sends it what it lacks.
func (m *Mesh) exchange(ctx context.Context, p *peer) (outcome, error) {
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := m.c.Tunnel.DialTCP(limited, netip.AddrPortFrom(p.addr, access.Control.Port()))
	if err != nil {
		return outcome{}, fmt.Errorf("dial: %w", err)
	}
	defer closeWith(ctx, conn)()
	ours := m.hello()
	if err := writeHello(conn, ours); err != nil {
		return outcome{}, err
	}
	theirs, err := readHello(conn)
	if err != nil {
		return outcome{}, err
	}
	result := outcome{equal: slices.Equal(ours.Heads, theirs.Heads)}
	envs, err := readEnvelopes(conn)
	if len(envs) > 0 {
		news, bad := m.learn(envs)
		result.moved = news
		err = errors.Join(err, bad)
	}
	if err != nil {
		return result, err
	}
	var lacks []roster.Envelope
	if result.whole = result.equal; !result.equal {
		lacks, result.whole = m.give(p, theirs.Heads), m.c.Rosters.Has(theirs.Heads...)
	}
	if err := writeEnvelopes(conn, lacks); err != nil {
		return result, err
	}
	taken, err := readTaken(conn)
	result.moved = result.moved || taken && len(lacks) > 0
	return result, err
}

// answerExchange is the other side of exchange.
func (m *Mesh) answerExchange(p *peer, conn net.Conn) error {
	theirs, err := readHello(conn)
	if err != nil {
		return err
	}
	ours := m.hello()
	if err := writeHello(conn, ours); err != nil {
		return err
	}
	var lacks []roster.Envelope
	if !slices.Equal(ours.Heads, theirs.Heads) {
		lacks = m.give(p, theirs.Heads)
	}
	if err := writeEnvelopes(conn, lacks); err != nil {
		return err
	}
	envs, err := readEnvelopes(conn)
	news := false
	if len(envs) > 0 {
		var bad error
		news, bad = m.learn(envs)
		err = errors.Join(err, bad)
	}
	return errors.Join(err, writeTaken(conn, news))
}

// hello returns what we have.
func (m *Mesh) hello() hello {
	m.mu.Lock()
	defer m.mu.Unlock()
	return hello{Version: messageVersion, Generation: m.rosters.generation, Heads: m.rosters.heads}
}

// closeWith closes conn when ctx or the time for an exchange is over, or the function returned is called.
func closeWith(ctx context.Context, conn net.Conn) func() {
	_ = conn.SetDeadline(time.Now().Add(exchangeTimeout))
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return func() {
		stop()
		conn.Close()
	}
}

// serve answers exchanges until ctx is done. With a hidden host nobody may begin one, so it does not listen either.
func (m *Mesh) serve(ctx context.Context) {
	slots := make(chan struct{}, maxExchanges)
	for ctx.Err() == nil {
		if !m.serves() {
			sleep(ctx, listenAgain)
			continue
		}
		l, err := m.c.Tunnel.ListenTCP(access.Control.Port())
		if err != nil {
			m.post(ctx, func() { m.notes.put("serve", "cannot serve rosters inside the mesh: "+err.Error()) })
			sleep(ctx, listenAgain)
			continue
		}
		m.post(ctx, func() { m.notes.drop("serve") })
		stop := context.AfterFunc(ctx, func() { l.Close() })
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			m.mu.Lock()
			spawn := m.spawn
			m.mu.Unlock()
			spawn(func(ctx context.Context) { m.admit(ctx, conn, slots) })
		}
		stop()
		l.Close()
		sleep(ctx, listenAgain)
	}
}

// serves reports whether anybody may exchange rosters with us.
func (m *Mesh) serves() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(roster.Roles(), func(r roster.Role) bool { return access.Allowed(r, m.self.Role, access.Control) })
}

// admit lets one peer exchange rosters with us, if it may and there is a place for it. Waiting for one saves work: who
// comes later mostly finds that everybody has everything.
func (m *Mesh) admit(ctx context.Context, conn net.Conn, slots chan struct{}) {
	defer closeWith(ctx, conn)()
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	p, ok := m.enter(addr.AddrPort().Addr().Unmap().WithZone(""))
	if !ok {
		return
	}
	defer m.leave(p)
	wait := time.NewTimer(dialTimeout)
	defer wait.Stop()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-wait.C:
		return
	case <-ctx.Done():
		return
	}
	err := m.answerExchange(p, conn)
	if err != nil {
		m.log.Debug("answer exchange of rosters", "peer", p.member.Name, "err", err)
	}
	m.post(ctx, func() { m.judge(p, err) })
}

// enter finds who is at an address and may exchange rosters now: one exchange at a time, and no more than anybody needs.
func (m *Mesh) enter(from netip.Addr) (*peer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byAddr[from]
	if p == nil || !access.Allowed(p.member.Role, m.self.Role, access.Control) || p.fetch.served || m.now() < p.fetch.barred || !p.asks.Allow() {
		return nil, false
	}
	p.fetch.served = true
	return p, true
}

func (m *Mesh) leave(p *peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.fetch.served = false
}

// errUnruly is the error for what nobody sends who keeps to the protocol.
var errUnruly = errors.New("more than one may send, or nothing that one sends")

// unruly reports whether an exchange ended with something that costs us much and that no member sends: all that members
// keep they have verified.
func unruly(err error) bool {
	for _, bad := range []error{errUnruly, roster.ErrForged, roster.ErrForeign, roster.ErrInvalid} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// readFrame reads what writeFrame writes, at most limit bytes. It allocates as bytes come in.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > int64(limit) {
		return nil, errUnruly
	}
	var b bytes.Buffer
	if m, err := io.Copy(&b, io.LimitReader(r, n)); err != nil {
		return nil, err
	} else if m < n {
		return nil, io.ErrUnexpectedEOF
	}
	return b.Bytes(), nil
}

func writeHello(w io.Writer, h hello) error {
	if h.Heads == nil {
		h.Heads = []roster.Hash{}
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return writeFrame(w, b)
}

func readHello(r io.Reader) (hello, error) {
	b, err := readFrame(r, maxHello)
	if err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	return decodeHello(b)
}

// decodeHello reads a hello, strictly.
func decodeHello(b []byte) (hello, error) {
	var h hello
	if err := json.Unmarshal(b, &h); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	if h.Version != messageVersion {
		return hello{}, errVersion
	}
	if canonical, err := json.Marshal(h); err != nil || !bytes.Equal(canonical, b) || len(h.Heads) > roster.MaxHeads {
		return hello{}, errors.New("read hello: bytes are not canonical")
	}
	return h, nil
}

// writeEnvelopes sends envelopes, and that there are no more.
func writeEnvelopes(w io.Writer, envs []roster.Envelope) error {
	for _, e := range envs {
		if err := writeFrame(w, roster.EncodeEnvelope(e)); err != nil {
			return fmt.Errorf("send rosters: %w", err)
		}
	}
	return writeFrame(w, nil)
}

// readEnvelopes reads what writeEnvelopes sends. What came before an error is good.
func readEnvelopes(r io.Reader) ([]roster.Envelope, error) {
	var envs []roster.Envelope
	total := 0
	for {
		b, err := readFrame(r, roster.MaxEnvelope)
		if err != nil {
			return envs, fmt.Errorf("read rosters: %w", err)
		}
		if len(b) == 0 {
			return envs, nil
		}
		total += len(b)
		if len(envs) == maxSent || total > maxSentBytes {
			return envs, fmt.Errorf("read rosters: %w", errUnruly)
		}
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			if !errors.Is(err, roster.ErrNewerFormat) {
				err = errors.Join(errUnruly, err)
			}
			return envs, fmt.Errorf("read rosters: %w", err)
		}
		envs = append(envs, e)
	}
}

// writeTaken says whether what was sent was news.
func writeTaken(w io.Writer, news bool) error {
	b := []byte{0}
	if news {
		b[0] = 1
	}
	_, err := w.Write(b)
	return err
}

func readTaken(r io.Reader) (bool, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0] == 1, err
}
