package netlab

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// Fault is something wrong with the network, until it is restored.
type Fault struct {
	in    *Namespace
	rules []rule
}

// rule is a rule of nft's, by its chain and its number there.
type rule struct{ chain, handle string }

// Silence drops everything between two hosts, in both directions. Nobody is told.
func (n *Internet) Silence(a, b *Host) *Fault {
	n.lab.tb.Helper()
	return n.fault(between(a, b)+" drop", between(b, a)+" drop")
}

// SilenceOneWay drops what from sends to to.
func (n *Internet) SilenceOneWay(from, to *Host) *Fault {
	n.lab.tb.Helper()
	return n.fault(between(from, to) + " drop")
}

// Isolate drops everything to and from a host.
func (n *Internet) Isolate(h *Host) *Fault {
	n.lab.tb.Helper()
	return n.fault(fmt.Sprintf("iifname %q drop", h.Port), fmt.Sprintf("oifname %q drop", h.Port))
}

// BlockUDP drops all UDP to and from a host, as some offices do.
func (n *Internet) BlockUDP(h *Host) *Fault {
	n.lab.tb.Helper()
	return n.fault(fmt.Sprintf("iifname %q meta l4proto udp drop", h.Port), fmt.Sprintf("oifname %q meta l4proto udp drop", h.Port))
}

// Lose drops the part p, 0 to 1, of what from sends to to, at random.
func (n *Internet) Lose(from, to *Host, p float64) *Fault {
	n.lab.tb.Helper()
	const whole = 10000
	if p >= 1 {
		return n.SilenceOneWay(from, to) // nft rejects a comparison that is always true
	}
	return n.fault(fmt.Sprintf("%s numgen random mod %d < %d drop", between(from, to), whole, int(math.Round(p*whole))))
}

// Shrink drops packets of more than size bytes, IP header included, to and from a host, and says nothing: the black hole
// of a link whose MTU nobody tells.
func (n *Internet) Shrink(h *Host, size int) *Fault {
	n.lab.tb.Helper()
	return n.fault(fmt.Sprintf("iifname %q meta length > %d drop", h.Port, size), fmt.Sprintf("oifname %q meta length > %d drop", h.Port, size))
}

// between matches what from sends to to. Interfaces do not change when addresses do.
func between(from, to *Host) string { return fmt.Sprintf("iifname %q oifname %q", from.Port, to.Port) }

// Drop drops what reaches the namespace and matches any of the given expressions of nft(8), as "udp dport 53". Who sent it
// is told nothing, also where that is a program of the same namespace.
func (n *Namespace) Drop(matches ...string) *Fault {
	n.lab.tb.Helper()
	f := &Fault{in: n}
	for _, m := range matches {
		f.add("arrive", m+" counter drop")
	}
	return f
}

// Translate stands a translator of addresses between a UDP port of loopback and those of its peers there: they see it at
// the port now, and what they send to the port was is lost.
func (n *Namespace) Translate(was, now uint16, peers ...uint16) *Fault {
	n.lab.tb.Helper()
	f := &Fault{in: n}
	for _, p := range peers {
		f.add("leave", fmt.Sprintf("udp sport %d udp dport %d udp sport set %d", was, p, now))
		f.add("arrive", fmt.Sprintf("udp sport %d udp dport %d counter drop", p, was))
		f.add("arrive", fmt.Sprintf("udp sport %d udp dport %d counter udp dport set %d", p, now, was))
	}
	return f
}

// chains are where rules of faults stand. What a program sends is not dropped as it leaves: the program would be told.
const chains = `table inet netlab {
	chain fault { type filter hook forward priority 0; }
	chain leave { type filter hook output priority 0; }
	chain arrive { type filter hook prerouting priority -300; }
}
`

var handle = regexp.MustCompile(`# handle (\d+)`)

// fault adds rules to the router's forward chain.
func (n *Internet) fault(rules ...string) *Fault {
	n.lab.tb.Helper()
	f := &Fault{in: n.Router}
	for _, r := range rules {
		f.add("fault", r)
	}
	return f
}

// add adds a rule to one of the namespace's chains.
func (f *Fault) add(chain, text string) {
	f.in.lab.tb.Helper()
	if !f.in.chains {
		f.in.run(chains, "nft", "-f", "-")
		f.in.batch("link set dev lo gso_max_segs 1") // else many datagrams pass as one large one
		f.in.chains = true
	}
	out := f.in.run(fmt.Sprintf("add rule inet netlab %s %s\n", chain, text), "nft", "--echo", "--handle", "-f", "-")
	m := handle.FindStringSubmatch(out)
	if m == nil {
		f.in.lab.tb.Fatalf("network lab: nft named no handle for rule %q: %q", text, out)
		return
	}
	f.rules = append(f.rules, rule{chain, m[1]})
}

var counted = regexp.MustCompile(`counter packets (\d+) .*# handle (\d+)`)

// Met is how many packets a fault of [Namespace.Drop] or [Namespace.Translate] has dropped or given another port. A
// translator drops none if the first to send is behind it.
func (f *Fault) Met() (packets int) {
	f.in.lab.tb.Helper()
	for _, m := range counted.FindAllStringSubmatch(f.in.run("", "nft", "--handle", "list", "chain", "inet", "netlab", "arrive"), -1) {
		if slices.Contains(f.rules, rule{"arrive", m[2]}) {
			n, err := strconv.Atoi(m[1])
			f.in.lab.must(err)
			packets += n
		}
	}
	return packets
}

// Restore ends the fault. A second call does nothing.
func (f *Fault) Restore() {
	f.in.lab.tb.Helper()
	for _, r := range f.rules {
		f.in.run(fmt.Sprintf("delete rule inet netlab %s handle %s\n", r.chain, r.handle), "nft", "-f", "-")
	}
	f.rules = nil
}
