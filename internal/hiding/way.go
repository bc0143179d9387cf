package hiding

import (
	"net/netip"
	"slices"

	"github.com/pressenter/pressenter/internal/p2p"
)

// reach says whether strangers would get to the address of a node, as far as they got to a sentry at one of its kind. Without
// that, silence may be of the way there.
func (e Evidence) reach(addr string) bool {
	if a, err := p2p.ParseAddress(addr); err == nil && e.Here && a.Loopback() {
		return true
	}
	return slices.ContainsFunc(e.Crawl.Answers, func(a p2p.Answer) bool {
		met := p2p.Address{Host: a.Met}.HostPort()
		isSentry := func(s Node) bool { return a.Info.ID != "" && of(a, s) }
		return slices.ContainsFunc(e.Sentries, isSentry) && kind(met) != "" && kind(met) == kind(addr)
	})
}

// kind is the family of an address; "" if it is none.
func kind(addr string) string {
	a, err := p2p.ParseAddress(addr)
	if err != nil {
		return ""
	}
	ip, err := netip.ParseAddr(a.Host)
	switch {
	case err != nil:
		return ""
	case ip.Is4():
		return "IPv4"
	}
	return "IPv6"
}
