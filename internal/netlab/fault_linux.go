package netlab

import (
	"fmt"
	"math"
	"regexp"
)

// Fault is something wrong with the network, until it is restored.
type Fault struct {
	internet *Internet
	handles  []string
}

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

var handle = regexp.MustCompile(`# handle (\d+)`)

// fault adds rules to the router's forward chain.
func (n *Internet) fault(rules ...string) *Fault {
	n.lab.tb.Helper()
	if !n.table {
		n.Router.run("add table inet netlab\nadd chain inet netlab fault { type filter hook forward priority 0; }\n", "nft", "-f", "-")
		n.table = true
	}
	f := &Fault{internet: n}
	for _, r := range rules {
		out := n.Router.run("add rule inet netlab fault "+r+"\n", "nft", "--echo", "--handle", "-f", "-")
		m := handle.FindStringSubmatch(out)
		if m == nil {
			n.lab.tb.Fatalf("network lab: nft named no handle for rule %q: %q", r, out)
			return f
		}
		f.handles = append(f.handles, m[1])
	}
	return f
}

// Restore ends the fault. A second call does nothing.
func (f *Fault) Restore() {
	f.internet.lab.tb.Helper()
	for _, h := range f.handles {
		f.internet.Router.run("delete rule inet netlab fault handle "+h+"\n", "nft", "-f", "-")
	}
	f.handles = nil
}
