package hiding

import (
	"fmt"
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

// nearby are networks that are not the world's: the same address is somewhere else for everybody. It is the world only where the
// sentries are met there, too, as in a laboratory.
var nearby = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// behind says that an address is one that the world does not meet the validator at, whoever answers there.
func (e Evidence) behind(addr string) (Check, bool) {
	k := kind(addr)
	if k == "" || k == "IPv4" || k == "IPv6" || e.reach(addr) {
		return Check{}, false
	}
	return unproven(CodeReach, e.Validator.Name,
		fmt.Sprintf("%q is of a network of its own (%s), and no sentry was met in one like it: the validator is behind NAT, a VPN or a bastion, and where the world would meet it is not known. "+
			"Its node id was looked for everywhere; its address in the world was not, and nobody knocked there", addr, k),
		addr, "if it has an address of its own in the world, name that in the config as validator.address; else see on the router before it that no port leads to it"), true
}

// kind is the family of an address, or its network if that is not the world's; "" if it is no IP address.
func kind(addr string) string {
	a, err := p2p.ParseAddress(addr)
	if err != nil {
		return ""
	}
	family := "IPv6"
	ip, err := netip.ParseAddr(a.Host)
	switch {
	case err != nil:
		return ""
	case ip.Is4():
		family = "IPv4"
	}
	if i := slices.IndexFunc(nearby, func(p netip.Prefix) bool { return p.Contains(ip.WithZone("")) }); i >= 0 {
		return nearby[i].String()
	}
	return family
}
