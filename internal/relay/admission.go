package relay

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

// What strangers may cost.
const (
	maxPending   = 64   // handshakes at a time
	maxAddresses = 4096 // whose rate is remembered

	handshakeRate  = 5 // a second from one address
	handshakeBurst = 20
)

// admission limits handshakes. When too many are pending it ends the oldest: a member's takes two round trips, so one
// that has been waiting while 63 others came is most likely nobody's.
type admission struct {
	mu      sync.Mutex
	pending []net.Conn // oldest first
	limits  map[netip.Addr]*rate.Limiter
}

// enter reports whether a handshake on c may begin; leave must be called when it is over.
func (a *admission) enter(c net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.limit(c.RemoteAddr()).Allow() {
		return false
	}
	if len(a.pending) == maxPending {
		a.pending[0].Close()
		a.pending = slices.Delete(a.pending, 0, 1)
	}
	a.pending = append(a.pending, c)
	return true
}

func (a *admission) leave(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.pending, c); i >= 0 {
		a.pending = slices.Delete(a.pending, i, i+1)
	}
}

// limit returns the limiter of an address; an IPv6 network of /64 counts as one. When there are too many, all are
// forgotten: who has so many addresses is not held back by a limit for each.
func (a *admission) limit(addr net.Addr) *rate.Limiter {
	var from netip.Addr
	if tcp, ok := addr.(*net.TCPAddr); ok {
		from = tcp.AddrPort().Addr().Unmap()
		if from.Is6() {
			from = netip.PrefixFrom(from.WithZone(""), 64).Masked().Addr()
		}
	}
	if a.limits == nil || len(a.limits) == maxAddresses {
		a.limits = map[netip.Addr]*rate.Limiter{}
	}
	l := a.limits[from]
	if l == nil {
		l = rate.NewLimiter(handshakeRate, handshakeBurst)
		a.limits[from] = l
	}
	return l
}
