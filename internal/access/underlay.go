package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
)

// Underlay returns the packet filter of all devices of a member's host but loopback and the mesh's, for nft(8): its
// table takes the place of the one that there is, if any. Listen is the UDP port of the tunnel, 0 if there is none or it is not known,
// open the TCP ports that strangers may connect to, as SSH's and, of a sentry, those of its node and its relay.
//
// What the host did not ask for is dropped, but what it needs to have an address at all. Who looks for a validator finds
// a host that does not answer. A sentry is to be found: it answers pings, and its tunnel takes strangers; one address may
// not start more than 50 exchanges a second with it, since each costs the tunnel a computation before it knows whether a
// member asks. Members of other roles have no such filter, and the text is empty.
func Underlay(role roster.Role, listen uint16, iface string, open ...uint16) (string, error) {
	if err := checkInterface(iface); err != nil {
		return "", err
	}
	t := table{name: "pressenter_underlay"}
	switch role {
	case roster.RoleValidator:
	case roster.RoleSentry:
		if listen != 0 {
			t.counting()
		}
	default:
		return "", nil
	}
	t.chain("input")
	t.line(2, `iifname { "lo", %q } accept`, iface)
	// The tunnel's port comes before all else, so that no other rule opens it.
	switch {
	case listen == 0: // no mesh
	case role == roster.RoleSentry:
		const over = "limit rate over 50/second burst 50 packets } counter drop"
		t.line(2, "udp dport %d ct state new update @new4 { ip saddr %s", listen, over)
		t.line(2, "udp dport %d ct state new update @new6 { ip6 saddr and ffff:ffff:ffff:ffff:: %s", listen, over)
		t.line(2, "udp dport %d accept", listen)
	default:
		t.line(2, `udp dport %d ct state new counter drop comment "the tunnel dials out only"`, listen)
	}
	t.known()
	if role == roster.RoleSentry {
		t.line(2, "icmp type echo-request limit rate 10/second accept")
		t.line(2, "icmpv6 type echo-request limit rate 10/second accept")
	}
	if len(open) > 0 {
		t.line(2, "tcp dport { %s } accept", ports(open))
	}
	t.line(2, "counter drop")
	t.line(1, "}")
	return t.text(), nil
}

// known writes what every host takes: answers, those of the tunnel too, since the kernel keeps their connections' state
// for UDP as well, and what an address costs.
func (t *table) known() {
	t.line(2, "ct state established,related accept")
	t.line(2, "%s accept", icmp4Errors)
	t.line(2, "%s accept", icmp6Errors)
	t.line(2, `icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept comment "neighbours"`)
	t.line(2, `icmpv6 type mld-listener-query accept comment "neighbours behind a switch"`)
	t.line(2, `udp sport 67 udp dport 68 accept comment "DHCP"`)
	t.line(2, `ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6"`)
}

// ports writes each once, in order.
func ports(open []uint16) string {
	var out []string
	for _, p := range slices.Compact(slices.Sorted(slices.Values(open))) {
		out = append(out, fmt.Sprint(p))
	}
	return strings.Join(out, ", ")
}

// counting writes the sets that say how fast strangers talk to a sentry's tunnel. An IPv6 network of /64 counts as one
// address. When the sets are full the rest passes: WireGuard has a limit of its own.
func (t *table) counting() {
	for _, version := range []string{"4", "6"} {
		t.line(1, "set new%s {", version)
		t.line(2, "type ipv%s_addr", version)
		t.line(2, "size 65535")
		t.line(2, "flags dynamic,timeout")
		t.line(2, "timeout 1m")
		t.line(1, "}")
	}
}
