package netlab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Echo answers every datagram that comes to a UDP port of the namespace, at any of its addresses, and returns the port.
func (n *Namespace) Echo() uint16 {
	n.lab.tb.Helper()
	c, err := n.ListenPacket("udp", ":0")
	n.lab.must(err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 1<<16)
		for {
			size, from, err := c.ReadFrom(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(buffer[:size], from) // no way back is the asker's loss
			}
		}
	}()
	n.lab.tb.Cleanup(func() { _ = c.Close(); <-ended })
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

// Pings counts what became of pings.
type Pings struct {
	conn     net.PacketConn
	form     form
	to       net.Addr
	size     int
	mu       sync.Mutex
	sent     []time.Time
	trips    []time.Duration // by number; 0 for no answer
	answered int
	last     bool // no more are sent
}

// numberSize is the size of a ping's number.
const numberSize = 8

// PingOptions say how to ping.
type PingOptions struct {
	Every time.Duration
	Size  int           // bytes behind the UDP or ICMP header, at least 8; 0: 8
	Grace time.Duration // how long answers are waited for at the end
}

// Ping sends datagrams to an [Namespace.Echo] until ctx ends, at least one, then waits for the last answers. To port 0 it sends ICMP
// echo requests, which every host answers. The socket is bound to no address, so it goes on when the namespace's
// addresses change.
func (n *Namespace) Ping(ctx context.Context, to netip.AddrPort, options PingOptions) (*Pings, error) {
	p := &Pings{form: formOf(to), size: max(options.Size, numberSize), to: net.UDPAddrFromAddrPort(to)}
	if to.Port() == 0 {
		p.to = &net.IPAddr{IP: to.Addr().AsSlice(), Zone: to.Addr().Zone()}
	}
	conn, err := n.ListenPacket(p.form.network, p.form.local)
	if err != nil {
		return nil, fmt.Errorf("ping %v: %w", to, err)
	}
	defer conn.Close()
	p.conn = conn
	ended := make(chan struct{})
	go func() { defer close(ended); p.collect() }()
	ticker := time.NewTicker(options.Every)
	defer ticker.Stop()
	for going := true; going; {
		p.send()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			going = false
		}
	}
	p.finish(options.Grace)
	<-ended
	return p, nil
}

// form is how a ping looks.
type form struct {
	network, local string
	ask, answer    byte   // ICMP types; 0 for UDP
	id             uint16 // ICMP identifier
}

func formOf(to netip.AddrPort) form {
	id := uint16(pingIDs.Add(1))
	switch {
	case to.Port() != 0:
		return form{network: "udp", local: ":0"}
	case to.Addr().Is4():
		return form{network: "ip4:icmp", local: "0.0.0.0", ask: 8, answer: 0, id: id} // RFC 792
	default:
		return form{network: "ip6:ipv6-icmp", local: "::", ask: 128, answer: 129, id: id} // RFC 4443
	}
}

// icmpHeader is type, code, checksum, identifier and sequence number.
const icmpHeader = 8

// packet returns a ping with that number.
func (f form) packet(number uint64, size int) []byte {
	if f.ask == 0 {
		b := make([]byte, size)
		binary.BigEndian.PutUint64(b, number)
		return b
	}
	b := make([]byte, icmpHeader+size)
	b[0] = f.ask
	binary.BigEndian.PutUint16(b[4:], f.id)
	binary.BigEndian.PutUint16(b[6:], uint16(number))
	binary.BigEndian.PutUint64(b[icmpHeader:], number)
	sum := uint32(0)
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum)) // the kernel writes IPv6's, which covers more
	return b
}

// pingIDs tells the pings of one run from those of another in the same namespace.
var pingIDs atomic.Uint32

// number reads the number of an answer.
func (f form) number(b []byte) (uint64, bool) {
	if f.ask != 0 {
		if len(b) < icmpHeader || b[0] != f.answer || binary.BigEndian.Uint16(b[4:]) != f.id {
			return 0, false
		}
		b = b[icmpHeader:]
	}
	if len(b) < numberSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

func (p *Pings) send() {
	p.mu.Lock()
	number := uint64(len(p.sent))
	p.sent, p.trips = append(p.sent, time.Now()), append(p.trips, 0)
	p.mu.Unlock()
	_, _ = p.conn.WriteTo(p.form.packet(number, p.size), p.to) // no route is a loss like any other
}

// finish lets collect end when all have an answer, at the latest after grace.
func (p *Pings) finish(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = true
	if p.answered == len(p.sent) {
		grace = 0
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(grace))
}

func (p *Pings) collect() {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := p.conn.ReadFrom(buffer)
		now := time.Now()
		var timeout net.Error
		if errors.Is(err, net.ErrClosed) || errors.As(err, &timeout) && timeout.Timeout() {
			return
		}
		if err != nil {
			continue
		}
		if number, ok := p.form.number(buffer[:n]); ok && p.answer(number, now) {
			return
		}
	}
}

// answer notes an answer, and reports whether it was the last one to wait for.
func (p *Pings) answer(number uint64, at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if number < uint64(len(p.sent)) && p.trips[number] == 0 {
		p.trips[number] = at.Sub(p.sent[number])
		p.answered++
	}
	return p.last && p.answered == len(p.sent)
}

// Sent is how many were sent.
func (p *Pings) Sent() int { return len(p.sent) }

// Lost is how many had no answer.
func (p *Pings) Lost() (lost int) {
	for _, t := range p.trips {
		if t == 0 {
			lost++
		}
	}
	return lost
}

// Silence is the longest time between two pings with an answer, with none in between that had one; the first and the
// last ping count as answered. Without a loss it is about one interval.
func (p *Pings) Silence() (longest time.Duration) {
	if len(p.sent) == 0 {
		return 0
	}
	last := p.sent[0]
	for i, at := range p.sent {
		if p.trips[i] != 0 || i == len(p.sent)-1 {
			longest, last = max(longest, at.Sub(last)), at
		}
	}
	return longest
}

// Trip returns the median round trip of those that had an answer, and the shortest; 0 for none.
func (p *Pings) Trip() (median, shortest time.Duration) {
	trips := slices.DeleteFunc(slices.Clone(p.trips), func(t time.Duration) bool { return t == 0 })
	if len(trips) == 0 {
		return 0, 0
	}
	slices.Sort(trips)
	return trips[len(trips)/2], trips[0]
}
