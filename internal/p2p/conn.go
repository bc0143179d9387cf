package p2p

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	cometed25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p/conn"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 10 * time.Second
	writeTimeout     = 10 * time.Second
	defaultMaxBytes  = 8 << 20
)

// sealedFrame is the size of the pieces, all alike, of which a SecretConnection consists: 4 bytes of length, 1024 of data, 16
// of authentication.
const sealedFrame = 4 + 1024 + 16

// nowhere is the address at which we listen: none. Nodes accept it, and keep it out of their address books.
const nowhere = "tcp://0.0.0.0:0"

const defaultMoniker = "node"

// Conn is a stranger's connection to a node that let it in, or seemed to. It belongs to one goroutine.
type Conn struct {
	tcp     net.Conn
	sealed  *bufio.Reader
	secret  *conn.SecretConnection
	plain   []byte // read, and not yet understood
	self    string
	info    NodeInfo
	spacing time.Duration

	message []byte    // of the channel of addresses, as far as it is here
	asked   bool      // and not yet answered
	last    time.Time // ask, or the answer to it
	answer  []Address
}

// Dial connects to addr, "host:port" or "id@host:port", as s.
func Dial(ctx context.Context, addr string, s Stranger) (*Conn, error) {
	a, err := ParseAddress(addr)
	if err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	tcp, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", a.HostPort())
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", a.HostPort(), dialError(ctx, err))
	}
	c := newConn(tcp, s)
	if err := c.meet(ctx, a, key, s); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("meet %q: %w", a.String(), err)
	}
	return c, nil
}

func newConn(tcp net.Conn, s Stranger) *Conn {
	limit := s.MaxBytes
	if limit <= 0 {
		limit = defaultMaxBytes
	}
	spacing := s.Spacing
	if spacing <= 0 {
		spacing = MinSpacing
	}
	return &Conn{
		tcp:     tcp,
		sealed:  bufio.NewReaderSize(&meter{r: tcp, left: limit}, 4*sealedFrame),
		spacing: spacing,
	}
}

// Close hangs up.
func (c *Conn) Close() error { return c.tcp.Close() }

// RemoteInfo is what the node says of itself.
func (c *Conn) RemoteInfo() NodeInfo { return c.info }

// RemoteIP is the IP address that the node was met at.
func (c *Conn) RemoteIP() string {
	host, _, err := net.SplitHostPort(c.tcp.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return PlainHost(host)
}

// SelfID is the id by which the node knows us, and under which its own list of peers would show us.
func (c *Conn) SelfID() string { return c.self }

// meet does the handshake and exchanges node infos.
func (c *Conn) meet(ctx context.Context, want Address, key ed25519.PrivateKey, s Stranger) error {
	release := c.limit(ctx, time.Now().Add(handshakeTimeout))
	defer release()
	// The deadline of the handshake holds for what it writes, too.
	if err := c.tcp.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return c.handshakeError(ctx, err)
	}
	var err error
	c.secret, err = conn.MakeSecretConnection(stream{c.sealed, c.tcp}, cometed25519.PrivKey(key))
	if err != nil {
		return c.handshakeError(ctx, err)
	}
	c.self = NodeID(key.Public().(ed25519.PublicKey))
	id := NodeID(ed25519.PublicKey(c.secret.RemotePubKey().Bytes()))
	if want.ID != "" && id != want.ID {
		return fmt.Errorf("%w: %s", ErrWrongID, id)
	}
	return c.introduce(ctx, id, s)
}

// introduce hears who the node is before it says who we are: nodes do not wait for each other, and so we can be of the node's
// own network and version without asking anybody.
func (c *Conn) introduce(ctx context.Context, id string, s Stranger) error {
	body, err := c.read(maxNodeInfo)
	if err != nil {
		return c.handshakeError(ctx, err)
	}
	if c.info, err = decodeNodeInfo(body); err != nil {
		return err
	}
	if c.info.ID != id {
		return fmt.Errorf("%w: it says %q and proves %s", ErrWrongID, c.info.ID, id)
	}
	us := s.infoFor(c.info, c.self)
	if err := compatible(us, c.info); err != nil {
		return err
	}
	ours, err := encodeNodeInfo(us)
	if err != nil {
		return fmt.Errorf("encode node info: %w", err)
	}
	if _, err := c.secret.Write(ours); err != nil {
		return lost(ctx, err)
	}
	return nil
}

// handshakeError says whose doing err is: nobody's but the node's that it speaks another protocol, or none.
func (c *Conn) handshakeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, ErrTooMuch) || errors.Is(err, ErrOdd) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrHandshake, err)
}

// limit sets the moment at which reading ends, which ctx can bring forward. The returned function ends ctx's part in it.
func (c *Conn) limit(ctx context.Context, until time.Time) (release func()) {
	// An error here is one of a closed connection, which the next read shows.
	_ = c.tcp.SetReadDeadline(until)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		past := time.Unix(1, 0)
		_ = c.tcp.SetDeadline(past)
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// read returns the next length-delimited body. One that is cut short by a deadline is continued by the next call.
func (c *Conn) read(limit int) ([]byte, error) {
	for {
		body, n, err := cut(c.plain, limit)
		if err == nil {
			body = slices.Clone(body)
			c.plain = slices.Delete(c.plain, 0, n)
			return body, nil
		}
		if !errors.Is(err, errPart) {
			return nil, err
		}
		// Only a whole frame is opened: a deadline in the middle of one would lose what was read of it.
		if _, err := c.sealed.Peek(sealedFrame); err != nil {
			return nil, err
		}
		var frame [sealedFrame]byte
		k, err := c.secret.Read(frame[:])
		if err != nil {
			return nil, fmt.Errorf("open frame: %w (%w)", ErrOdd, err)
		}
		c.plain = append(c.plain, frame[:k]...)
	}
}

func (c *Conn) write(ctx context.Context, b []byte) error {
	if err := c.tcp.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return lost(ctx, err)
	}
	if _, err := c.secret.Write(b); err != nil {
		return lost(ctx, err)
	}
	return nil
}

func (s Stranger) key() (ed25519.PrivateKey, error) {
	if s.Key == nil {
		_, key, err := ed25519.GenerateKey(nil)
		return key, err
	}
	if len(s.Key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("stranger's key has %d bytes, want %d", len(s.Key), ed25519.PrivateKeySize)
	}
	return s.Key, nil
}

// infoFor is what s says of itself to a node that says it is node.
func (s Stranger) infoFor(node NodeInfo, self string) NodeInfo {
	us := NodeInfo{
		ID: self, Network: s.Network, Version: s.Version, Moniker: s.Moniker, ListenAddr: nowhere,
		Channels: s.Channels, P2P: s.P2P, Block: s.Block,
	}
	if us.Network == "" {
		us.Network = node.Network
	}
	if us.Version == "" {
		us.Version = node.Version
	}
	if us.Moniker == "" {
		us.Moniker = defaultMoniker
	}
	if us.Channels == nil {
		us.Channels = []byte{ChannelPEX, ChannelBlockSync}
	}
	if us.P2P == 0 {
		us.P2P = node.P2P
	}
	if us.Block == 0 {
		us.Block = node.Block
	}
	return us
}

// compatible is the rule by which a node decides the same of us.
func compatible(us, node NodeInfo) error {
	switch {
	case us.Network != node.Network:
		return fmt.Errorf("%w: it is of %q, we of %q", ErrIncompatible, node.Network, us.Network)
	case us.Block != node.Block:
		return fmt.Errorf("%w: its block protocol is %d, ours %d", ErrIncompatible, node.Block, us.Block)
	case len(node.Channels) > 0 && !slices.ContainsFunc(us.Channels, func(ch byte) bool { return slices.Contains(node.Channels, ch) }):
		return fmt.Errorf("%w: it shares no channel with us", ErrIncompatible)
	}
	return nil
}

// dialError names the reason why there is no connection.
func dialError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (%w)", ErrRefused, err)
	case timedOut(err):
		return fmt.Errorf("%w (%w)", ErrUnreachable, err)
	default:
		return fmt.Errorf("%w (%w)", ErrNoRoute, err)
	}
}

// timedOut says whether a connection was asked for and nobody answered. A name server that does not answer is another matter.
func timedOut(err error) bool {
	var name *net.DNSError
	var timeout net.Error
	return !errors.As(err, &name) && errors.As(err, &timeout) && timeout.Timeout()
}

// lost names the reason why a connection ended.
func lost(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrOdd), errors.Is(err, ErrTooMuch):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		return fmt.Errorf("%w (%w)", ErrClosed, err)
	}
}

// stream is what the SecretConnection talks through.
type stream struct {
	io.Reader
	net.Conn
}

func (s stream) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// meter lets a number of bytes pass.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, ErrTooMuch
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
