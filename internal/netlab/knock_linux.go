package netlab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// oneSYN is less than any system waits before it sends a SYN again (RFC 6298, 2.1), so that a knock is one packet.
const oneSYN = 900 * time.Millisecond

// Knock pings a TCP port until ctx ends, at least once: each ping is an attempt to connect, and both a connection and a
// refusal are an answer. It is for networks on which only some services pass. Size and Grace are not used.
func (n *Namespace) Knock(ctx context.Context, to netip.AddrPort, options PingOptions) *Pings {
	p := &Pings{}
	var knocks sync.WaitGroup
	ticker := time.NewTicker(options.Every)
	defer ticker.Stop()
	for going := true; going; {
		p.mu.Lock()
		number, at := uint64(len(p.sent)), time.Now()
		p.sent, p.trips = append(p.sent, at), append(p.trips, 0)
		p.mu.Unlock()
		knocks.Go(func() {
			if n.knock(to) {
				p.answer(number, time.Now())
			}
		})
		select {
		case <-ticker.C:
		case <-ctx.Done():
			going = false
		}
	}
	knocks.Wait()
	return p
}

// knock reports whether somebody answers at a TCP port at once.
func (n *Namespace) knock(to netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(context.Background(), oneSYN)
	defer cancel()
	conn, err := n.Dial(ctx, "tcp", to.String())
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // leave nothing that waits
	_ = conn.Close()
	return true
}
