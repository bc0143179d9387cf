package access

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
)

// priority puts our chains before those of most other packet filters, so that what we drop is in our counters. What one
// of them drops stays dropped, whatever another accepts.
const priority = "priority filter - 10"

// ICMP that tells a sender what became of its packets. Without it a path with a smaller MTU is a black hole (RFC 4890,
// 4.3.1). Echo is not among it: a host need not answer who looks for it.
const (
	icmp4Errors = "icmp type { destination-unreachable, time-exceeded, parameter-problem }"
	icmp6Errors = "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }"
)

// Rules returns the packet filter of a member's mesh device, for nft(8): its table takes the place of the one that
// there is, if any, in one transaction. It enforces [Allowed] by the mesh addresses of a roster's members, which the
// tunnel proves. Nothing is forwarded, and nothing reaches or leaves a mesh address by another device. Control is for
// processes of user, a numeric id: whoever else has a login here would speak in the host's name.
func Rules(r *roster.Roster, self roster.Member, iface string, user int) (string, error) {
	if err := checkInterface(iface); err != nil {
		return "", err
	}
	if m, ok := r.MemberByIdentity(self.Identity); !ok || m.Role != self.Role {
		return "", fmt.Errorf("make the packet filter of the mesh: %s is not a member in generation %d", self.Name, r.Generation)
	}
	deployment := r.DeploymentID()
	network, peers := roster.MeshNetwork(deployment), peersOf(r, self, deployment)
	t := table{name: "pressenter_mesh"}
	for _, p := range peers {
		t.line(1, "set %s {", p.set)
		t.line(2, "type ipv6_addr")
		t.line(2, "elements = {")
		for _, a := range p.addresses {
			t.line(3, "%s,", a)
		}
		t.line(2, "}")
		t.line(1, "}")
	}
	for _, c := range []struct{ hook, device, far, near string }{
		{"input", "iifname", "saddr", "daddr"},
		{"output", "oifname", "daddr", "daddr"},
	} {
		t.chain(c.hook)
		t.line(2, `%s != { "lo", %q } ip6 %s %s counter drop comment "the mesh has one device"`, c.device, iface, c.near, network)
		t.line(2, `%s != %q accept`, c.device, iface)
		var strangers []string
		for _, p := range peers {
			strangers = append(strangers, fmt.Sprintf("ip6 %s != @%s ", c.far, p.set))
		}
		t.line(2, `meta nfproto ipv4 counter drop comment "the mesh is IPv6"`)
		t.line(2, `%scounter drop comment "not a member to talk to"`, strings.Join(strangers, ""))
		t.line(2, "ct state established,related accept")
		t.line(2, "%s accept", icmp6Errors)
		for _, p := range peers {
			for _, s := range p.services[c.hook] {
				who := ""
				if s == Control && c.hook == "output" {
					who = fmt.Sprintf("meta skuid %d ", user)
				}
				t.line(2, "ip6 %s @%s %s%s accept comment %q", c.far, p.set, who, s.match(), s)
			}
		}
		if c.hook == "input" {
			// Silence would let the other side keep the connection for minutes, and its node take us for somebody who is
			// linked already. Who only tries ports gets no answer.
			t.line(2, `tcp flags & (syn | rst) == 0 counter reject with tcp reset comment "a connection from before this host came up"`)
		}
		t.line(2, `counter drop comment "not allowed to start"`)
		t.line(1, "}")
	}
	t.chain("forward")
	t.line(2, "iifname %q counter drop", iface)
	t.line(2, "oifname %q counter drop", iface)
	t.line(1, "}")
	return t.text(), nil
}

// Shut returns the packet filter of the mesh device of a host that no roster has in the mesh yet, or any more, for
// nft(8): it takes the place of that of [Rules], and nothing passes.
func Shut(iface string) (string, error) {
	if err := checkInterface(iface); err != nil {
		return "", err
	}
	t := table{name: "pressenter_mesh"}
	for _, hook := range []string{"input", "output", "forward"} {
		t.chain(hook)
		for _, way := range []string{"iifname", "oifname"} {
			if hook == "forward" || hook == "input" == (way == "iifname") {
				t.line(2, `%s %q counter drop comment "not in the mesh"`, way, iface)
			}
		}
		t.line(1, "}")
	}
	return t.text(), nil
}

// match is what tells a service's first packets from others.
func (s Service) match() string {
	if s == Control {
		return fmt.Sprintf("meta l4proto { tcp, udp } th dport %d", s.Port())
	}
	return fmt.Sprintf("tcp dport %d", s.Port())
}

// peers are the members of one role, one of which may start something with us or we with them.
type peers struct {
	set       string
	addresses []netip.Addr
	services  map[string][]Service // by hook: those that they may start on input, those that we may on output
}

// peersOf returns whom a member has to do with, by role.
func peersOf(r *roster.Roster, self roster.Member, deployment roster.Hash) []peers {
	byRole := map[roster.Role][]netip.Addr{}
	for _, m := range r.Members {
		if m.InMesh() && m.Identity != self.Identity {
			byRole[m.Role] = append(byRole[m.Role], roster.MeshAddress(deployment, m.Identity))
		}
	}
	var all []peers
	for role, addresses := range byRole {
		p := peers{set: strings.ReplaceAll(string(role), "-", "_"), addresses: addresses, services: map[string][]Service{}}
		for _, s := range Services() {
			if Allowed(role, self.Role, s) {
				p.services["input"] = append(p.services["input"], s)
			}
			if Allowed(self.Role, role, s) {
				p.services["output"] = append(p.services["output"], s)
			}
		}
		if len(p.services) > 0 {
			slices.SortFunc(p.addresses, netip.Addr.Compare)
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b peers) int { return strings.Compare(a.set, b.set) })
	return all
}

// table is the text of one.
type table struct {
	name string
	body strings.Builder
}

func (t *table) line(depth int, format string, args ...any) {
	t.body.WriteString(strings.Repeat("\t", depth))
	fmt.Fprintf(&t.body, format+"\n", args...)
}

// chain begins a chain that accepts what its rules say nothing of.
func (t *table) chain(hook string) {
	t.line(1, "chain %s {", hook)
	t.line(2, "type filter hook %s %s; policy accept;", hook, priority)
}

// text returns the table in a form that takes its place: declared first, so that there is one to delete.
func (t *table) text() string {
	return fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n%[2]s}\n", t.name, t.body.String())
}

// interfaceRE is what we let a network device be called; the kernel takes at most 15 bytes.
var interfaceRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$`)

func checkInterface(name string) error {
	if !interfaceRE.MatchString(name) || name == "lo" {
		return fmt.Errorf("make a packet filter: %q is not the name of a network device", name)
	}
	return nil
}
