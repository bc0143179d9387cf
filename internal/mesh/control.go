package mesh

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/pressenter/pressenter/internal/access"
)

const listenAgain = time.Second

// listen takes pings and pongs until ctx is done. A socket that breaks is opened anew.
func (m *Mesh) listen(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := m.c.Tunnel.ListenUDP(access.Control.Port())
		if err != nil {
			m.post(ctx, func() { m.notes.put("listen", "cannot listen inside the mesh: "+err.Error()) })
			sleep(ctx, listenAgain)
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		m.post(ctx, func() {
			m.conn = conn
			m.notes.drop("listen")
		})
		m.read(ctx, conn)
		stop()
		conn.Close()
		m.post(ctx, func() { m.conn = nil })
		sleep(ctx, listenAgain)
	}
}

// sleep waits, or less if ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// What one peer may make us do.
const (
	answersPerSecond = 20
	answersAtOnce    = 60
)

func newLimiter() *rate.Limiter { return rate.NewLimiter(answersPerSecond, answersAtOnce) }

// maxSenders is how many senders' rates are remembered: more than there are members. All are forgotten then.
const maxSenders = 4096

// read hands on what comes in, until the socket breaks. What one sender says too often is dropped unread: to decode it
// would cost more than it costs to send, and it would keep what others say waiting.
func (m *Mesh) read(ctx context.Context, conn net.PacketConn) {
	buf := make([]byte, maxProbe+1)
	limits := map[netip.Addr]*rate.Limiter{}
	for {
		n, addr, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		from, ok := addr.(*net.UDPAddr)
		if !ok || from.Port != int(access.Control.Port()) {
			continue
		}
		sender := from.AddrPort().Addr().Unmap().WithZone("")
		limit := limits[sender]
		if limit == nil {
			if len(limits) == maxSenders {
				clear(limits)
			}
			limit = newLimiter()
			limits[sender] = limit
		}
		if !limit.Allow() {
			continue
		}
		msg, err := decodeMessage(buf[:n])
		m.post(ctx, func() { m.receive(sender, msg, err) })
	}
}

// receive handles one datagram.
func (m *Mesh) receive(from netip.Addr, msg message, err error) {
	p, now := m.byAddr[from], m.now()
	switch {
	case p == nil:
		return // it left meanwhile
	case err == errVersion:
		m.notes.put("version "+p.member.Name, p.member.Name+" speaks another version of the mesh's protocol: upgrade the older host")
		return
	case err != nil:
		return
	}
	if msg.Kind == ping {
		m.answer(p, msg, now)
	} else {
		m.answered(p, msg, now)
	}
}

// answer answers a ping of somebody who may ask.
func (m *Mesh) answer(p *peer, msg message, now instant) {
	if !access.Allowed(p.member.Role, m.self.Role, access.Control) || !p.asks.Allow() {
		return
	}
	was, lost := p.path.phase, now-p.path.since
	p.path.pinged(now)
	reply := m.message(pong, msg.Nonce)
	reply.Seen, reply.Moved = m.seenBy(p), m.sightings(p, now)
	b := reply.encode()
	for len(b) > maxMessage && len(reply.Moved) > 0 {
		reply.Moved = reply.Moved[:len(reply.Moved)-1]
		b = reply.encode()
	}
	m.send(p, b)
	if m.rosters.same(msg) {
		m.compare(p)
	}
	if was != up && p.path.phase == up {
		m.came(p, now, lost)
	}
	m.plan(p)
}

// answered takes in the answer to one of our pings.
func (m *Mesh) answered(p *peer, msg message, now instant) {
	if m.sized(p, msg.Nonce, now) {
		m.plan(p)
		return
	}
	if p.path.relay.addr.IsValid() || p.path.phase != up && len(m.peers) <= manyPeers {
		m.look(now) // which way did it come
	}
	w := m.world(p)
	was, lost := p.path.phase, now-p.path.since
	deeds, ok := p.path.pong(now, msg.Nonce, w)
	if !ok {
		return
	}
	m.do(p, now, deeds)
	if was != up {
		m.log.Info("path is up", "peer", p.member.Name)
		m.came(p, now, lost)
	}
	if msg.Seen.IsValid() {
		p.seen = msg.Seen
	}
	for _, s := range msg.Moved {
		m.hinted(p, s, now)
	}
	if m.rosters.same(msg) {
		m.compare(p)
		p.fetch.failures = 0
	} else {
		m.fetchFrom(p, now)
	}
	m.plan(p)
}

// compare notes that a peer has the rosters that we have.
func (m *Mesh) compare(p *peer) {
	if id := p.member.Identity; m.others[id] {
		m.compared[id] = true
	}
}
