package relay

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// shim is what a peer behind a relay is to our tunnel: a UDP socket on loopback.
type shim struct {
	peer    roster.Key
	conn    *net.UDPConn
	address netip.AddrPort
	// The rest is guarded by the Client's mu.
	uplink *uplink
	// wanted shims were opened and end when they are closed, others when they have been idle. Only others follow their
	// peer to another relay: a relay must not draw to itself what was meant to go another way.
	wanted bool
	idle   *time.Timer
}

// shim returns the shim of a peer, and makes one where there is none.
func (c *Client) shim(u *uplink, peer roster.Key, wanted bool) (*shim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.uplinks[u.via.Identity] != u {
		return nil, errOver
	}
	x := c.shims[peer]
	if x == nil {
		var err error
		if x, err = c.newShimLocked(u, peer); err != nil {
			return nil, err
		}
	}
	if x.uplink != u && (wanted || !x.wanted) {
		u.users++
		c.releaseLocked(x.uplink)
		x.uplink = u
	}
	x.wanted = x.wanted || wanted
	x.idle.Reset(idle)
	return x, nil
}

func (c *Client) newShimLocked(u *uplink, peer roster.Key) (*shim, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback(c.Local().Addr()), 0)))
	if err != nil {
		return nil, reason(err)
	}
	widen(conn)
	x := &shim{peer: peer, conn: conn, address: conn.LocalAddr().(*net.UDPAddr).AddrPort(), uplink: u}
	x.idle = time.AfterFunc(idle, func() { c.expire(x) })
	u.users++
	if c.shims == nil {
		c.shims = map[roster.Key]*shim{}
	}
	c.shims[peer] = x
	c.running.Go(func() { c.depart(x) })
	return x, nil
}

// expire ends a shim that nobody asked for.
func (c *Client) expire(x *shim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !x.wanted {
		c.endLocked(x)
	}
}

func (c *Client) endLocked(x *shim) {
	if c.shims[x.peer] != x {
		return
	}
	delete(c.shims, x.peer)
	x.idle.Stop()
	x.conn.Close()
	c.releaseLocked(x.uplink)
}

// depart sends what our tunnel says to a peer. Nobody else on this host may use the shim.
func (c *Client) depart(x *shim) {
	buf := make([]byte, MaxDatagram+1)
	for {
		n, from, err := x.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !isWireGuard(buf[:n]) || !c.ours(from) {
			continue
		}
		c.mu.Lock()
		if u := x.uplink; c.shims[x.peer] == x && (u.now != nil || time.Since(u.failed) > holdOff) {
			c.linkLocked(u).send(x.peer, buf[:n])
			x.idle.Reset(idle)
		}
		c.mu.Unlock()
	}
}

// ours reports whether a datagram comes from our tunnel.
func (c *Client) ours(from netip.AddrPort) bool {
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) == reachable(c.Local())
}

// arrive hands to our tunnel what a peer sent through a relay.
func (c *Client) arrive(u *uplink, from roster.Key, datagram []byte) {
	if _, ok := c.Peer(from); !ok || !isWireGuard(datagram) {
		return
	}
	x, err := c.shim(u, from, false)
	if errors.Is(err, errOver) {
		return
	}
	if err != nil {
		logger(c.Logger).Warn("make a shim", "error", err)
		return
	}
	_, _ = x.conn.WriteToUDPAddrPort(datagram, reachable(c.Local())) // what gets lost is the tunnel's to send again
}
