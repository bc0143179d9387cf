package relay

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/underlay"
)

// Client is a member's end of relays. To its tunnel a peer behind a relay is a UDP address on loopback, the shim: what
// the tunnel sends there goes through the relay, what comes from the relay comes from there. There is one link to each
// relay, shared by all peers behind it and opened anew when there is something to send; a peer that comes through a
// relay by itself gets a shim, so that two members whose UDP is blocked meet. Its functions are called for each
// datagram, from many goroutines, and must be quick and not wait for a call of the Client's. Its methods may be used
// from several goroutines.
type Client struct {
	Key    ed25519.PrivateKey                              // its public half is our Member.Mesh.TLS
	Peer   func(identity roster.Key) (roster.Member, bool) // of the roster obeyed now, who may have a tunnel with us
	Local  func() netip.AddrPort                           // where our own tunnel takes UDP on this host
	Logger *slog.Logger                                    // nil: silent

	mu      sync.Mutex
	over    bool                   // shut down
	uplinks map[roster.Key]*uplink // by the relay's identity
	shims   map[roster.Key]*shim   // by the peer's identity
	running sync.WaitGroup

	// dial opens a TCP connection; tests replace it.
	dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// uplink is a relay that is in use. All of it is guarded by the Client's mu.
type uplink struct {
	via    roster.Member
	users  int       // shims behind it, and calls of Open that wait for it
	now    *dialled  // nil: none
	failed time.Time // when the last link broke
}

// dialled is a link that is open or being opened.
type dialled struct {
	*link
	ready chan struct{} // closed when the relay has let us in
	done  chan struct{} // closed when the link is over
	err   error         // why; to be read when it is over
}

var errOver = errors.New("the relay is not in use any more")

// Open returns a UDP address on loopback that carries tunnel packets to and from a member through a relay, as soon as
// the relay has let us in. Where the member is behind another relay already it moves and keeps its address. On an error
// nothing has changed.
func (c *Client) Open(ctx context.Context, via, to roster.Member) (netip.AddrPort, error) {
	if via.Mesh.Relay == "" {
		return netip.AddrPort{}, fmt.Errorf("open a way to %s: %s does not relay", to.Name, via.Name)
	}
	u, d, err := c.acquire(via)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("open a way to %s: %w", to.Name, err)
	}
	defer c.release(u)
	select {
	case <-d.ready:
	case <-d.done:
		err = d.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("open a way to %s through the relay %s at %s: %w", to.Name, via.Name, via.Mesh.Relay, err)
	}
	x, err := c.shim(u, to.Identity, true)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("open a way to %s: %w", to.Name, err)
	}
	return x.address, nil
}

// Close ends the way to a member. The link to its relay ends with the last one that needs it.
func (c *Client) Close(to roster.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.shims[to]; x != nil {
		c.endLocked(x)
	}
}

// Cut is to be called when the roster that is obeyed has changed: ways to members that left or through relays that left
// end before it returns. A link to a relay that changed its key or its place is opened anew.
func (c *Client) Cut() {
	c.mu.Lock()
	now := map[roster.Key]roster.Member{}
	for k := range c.shims {
		now[k] = roster.Member{}
	}
	for k := range c.uplinks {
		now[k] = roster.Member{}
	}
	c.mu.Unlock()
	for k := range now {
		if m, ok := c.Peer(k); ok {
			now[k] = m
		} else {
			delete(now, k)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, x := range c.shims {
		_, peer := now[k]
		if relay := now[x.uplink.via.Identity]; !peer || relay.Mesh.Relay == "" {
			c.endLocked(x)
		}
	}
	for k, u := range c.uplinks {
		u.follow(now[k])
	}
}

// follow makes a relay what the roster says that it is.
func (u *uplink) follow(via roster.Member) {
	if u.via.Mesh.TLS != via.Mesh.TLS || u.via.Mesh.Relay != via.Mesh.Relay {
		u.hangUp()
	}
	u.via.Mesh = via.Mesh
}

// Shutdown ends all ways and links, and returns when nothing runs any more. The Client is of no use afterwards.
func (c *Client) Shutdown() {
	c.mu.Lock()
	c.over = true
	for _, x := range c.shims {
		c.endLocked(x)
	}
	for _, u := range c.uplinks {
		u.hangUp()
	}
	c.mu.Unlock()
	c.running.Wait()
}

// acquire returns the uplink of a relay for one more user, and its link.
func (c *Client) acquire(via roster.Member) (*uplink, *dialled, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil, nil, errOver
	}
	u := c.uplinks[via.Identity]
	if u == nil {
		if c.uplinks == nil {
			c.uplinks = map[roster.Key]*uplink{}
		}
		u = &uplink{via: via}
		c.uplinks[via.Identity] = u
	}
	u.follow(via)
	u.users++
	return u, c.linkLocked(u), nil
}

// release takes back what acquire gave.
func (c *Client) release(u *uplink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseLocked(u)
}

func (c *Client) releaseLocked(u *uplink) {
	u.users--
	if u.users == 0 {
		u.hangUp()
		delete(c.uplinks, u.via.Identity)
	}
}

// hangUp closes the link there is.
func (u *uplink) hangUp() {
	if u.now != nil {
		u.now.close()
		u.now = nil
	}
}

// linkLocked returns the link of a relay, and begins to open one where there is none.
func (c *Client) linkLocked(u *uplink) *dialled {
	if u.now == nil || u.now.ctx.Err() != nil {
		d := &dialled{link: newLink(context.Background()), ready: make(chan struct{}), done: make(chan struct{})}
		u.now = d
		via := u.via
		c.running.Go(func() { c.keep(u, d, via) })
	}
	return u.now
}

// keep opens a link and keeps it until it is closed or breaks.
func (c *Client) keep(u *uplink, d *dialled, via roster.Member) {
	log := logger(c.Logger).With("relay", via.Name)
	conn, raw, err := c.connect(d.ctx, via)
	if err == nil {
		var once sync.Once
		err = d.run(conn, raw, func(from roster.Key, datagram []byte) {
			once.Do(func() {
				log.Info("relay link open")
				close(d.ready)
			})
			if len(datagram) > 0 {
				c.arrive(u, from, datagram)
			}
		})
	}
	d.close()
	d.err = reason(err)
	close(d.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.now == d { // nobody hung up
		u.now, u.failed = nil, time.Now()
		log.Info("relay link lost", "reason", d.err)
	}
}

// connect returns a connection to a relay that has shown the key that the roster says.
func (c *Client) connect(ctx context.Context, via roster.Member) (conn *tls.Conn, raw net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*handshakeTimeout)
	defer cancel()
	conf, err := config(c.Key, func(k roster.Key) error {
		if k != via.Mesh.TLS {
			return errors.New("it shows another key than the roster says")
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	addrs, err := underlay.Resolve(ctx, via.Mesh.Relay)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range addrs {
		if conn, raw, err = c.try(ctx, a, conf); err == nil {
			return conn, raw, nil
		}
	}
	return nil, nil, err
}

// try connects to one address of a relay.
func (c *Client) try(ctx context.Context, to netip.AddrPort, conf *tls.Config) (*tls.Conn, net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	dial := c.dial
	if dial == nil {
		dial = dialTCP
	}
	raw, err := dial(ctx, to)
	if err != nil {
		return nil, nil, err
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return conn, raw, nil
}

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", to.String())
}
