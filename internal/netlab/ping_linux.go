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

// Pings counts what became of pings to an [Namespace.Echo].
type Pings struct {
	conn     net.PacketConn
	to       *net.UDPAddr
	size     int
	mu       sync.Mutex
	sent     []time.Time
	trips    []time.Duration // by number; 0 for no answer
	answered int
	last     bool // no more are sent
}

// pingHeader is a ping's number.
const pingHeader = 8

// PingOptions say how to ping.
type PingOptions struct {
	Every time.Duration
	Size  int           // bytes of UDP payload, at least 8; 0: 8
	Grace time.Duration // how long answers are waited for at the end
}

// Ping sends datagrams to an echo until ctx ends, then waits for the last answers. The socket is bound to no address, so
// it goes on when the namespace's addresses change.
func (n *Namespace) Ping(ctx context.Context, to netip.AddrPort, options PingOptions) (*Pings, error) {
	conn, err := n.ListenPacket("udp", ":0")
	if err != nil {
		return nil, fmt.Errorf("ping %v: %w", to, err)
	}
	defer conn.Close()
	p := &Pings{conn: conn, to: net.UDPAddrFromAddrPort(to), size: max(options.Size, pingHeader)}
	ended := make(chan struct{})
	go func() { defer close(ended); p.collect() }()
	ticker := time.NewTicker(options.Every)
	defer ticker.Stop()
	for ctx.Err() == nil {
		p.send()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	p.finish(options.Grace)
	<-ended
	return p, nil
}

func (p *Pings) send() {
	packet := make([]byte, p.size)
	p.mu.Lock()
	binary.BigEndian.PutUint64(packet, uint64(len(p.sent)))
	p.sent, p.trips = append(p.sent, time.Now()), append(p.trips, 0)
	p.mu.Unlock()
	_, _ = p.conn.WriteTo(packet, p.to) // no route is a loss like any other
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
		if err != nil || n < pingHeader {
			continue
		}
		if p.answer(binary.BigEndian.Uint64(buffer), now) {
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
