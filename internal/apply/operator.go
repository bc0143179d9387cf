package apply

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/pressenter/pressenter/internal/plan"
)

// seenTimeout bounds the question of one machine from where it sees us come.
const seenTimeout = 15 * time.Second

// operatorAt is from where machines see us come, if their firewalls are to change and if it can be known: a machine says
// so, or this computer has an address of the internet's own. Zero, if not.
func (s *Session) operatorAt(ctx context.Context) netip.Addr {
	if len(s.want.Own.AdminCIDRs) == 0 || !plan.Admits(s.have.Machines) {
		return netip.Addr{}
	}
	for _, h := range s.have.Bought {
		if s.SeenFrom == nil {
			break
		}
		within, cancel := context.WithTimeout(ctx, seenTimeout)
		at, err := s.SeenFrom(within, h)
		cancel()
		if err == nil {
			return at
		}
	}
	return ownAddress()
}

// carrierNAT are addresses behind a carrier's translation (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// ownAddress is what this computer sends from to the internet, by IPv4, which all machines are reached by; zero where that
// is translated on the way. Nothing is sent.
func ownAddress() netip.Addr {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	at := local.Addr()
	if err != nil || !at.IsGlobalUnicast() || at.IsPrivate() || carrierNAT.Contains(at) {
		return netip.Addr{}
	}
	return at
}
