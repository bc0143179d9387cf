package hiding

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/p2p"
)

// mark is by what the validator can be recognised.
type mark struct {
	id        string
	addresses map[string]bool // host:port
	hosts     map[string]bool // where nobody but the validator is
}

func (e Evidence) mark() mark {
	m := mark{id: strings.ToLower(e.Validator.ID), addresses: map[string]bool{}, hosts: map[string]bool{}}
	for _, s := range e.Validator.Addresses {
		a, err := p2p.ParseAddress(s)
		if err != nil {
			continue // gaps has said so
		}
		m.addresses[a.HostPort()] = true
		if ip, err := netip.ParseAddr(a.Host); err != nil || !ip.IsLoopback() && !ip.IsUnspecified() {
			m.hosts[a.Host] = true
		}
	}
	for _, n := range e.nodes() {
		for _, s := range n.Addresses {
			if a, err := p2p.ParseAddress(s); err == nil {
				delete(m.hosts, a.Host)
			}
		}
	}
	return m
}

// in says by what a is the validator's, or "" if it is not.
func (m mark) in(a p2p.Address) string {
	switch {
	case strings.EqualFold(a.ID, m.id):
		return fmt.Sprintf("its id %s at %q", m.id, a.HostPort())
	case m.addresses[a.HostPort()], m.hosts[a.Host]:
		return fmt.Sprintf("its address %q", a.HostPort())
	}
	return ""
}

// inPeer is in, of a peer as a node lists it.
func (m mark) inPeer(p comet.Peer) string {
	from := p2p.Address{ID: p.ID, Host: p2p.PlainHost(p.RemoteIP)}
	if says, err := p2p.ParseAddress(p.ListenAddr); err == nil {
		from.Port = says.Port
		if by := m.in(says); by != "" && !strings.EqualFold(p.ID, m.id) {
			return by
		}
	}
	return m.in(from)
}

// nodes are all that are to be looked at, the validator aside.
func (e Evidence) nodes() []Node {
	return append(append([]Node(nil), e.Sentries...), e.Others...)
}

func (e Evidence) sentry(id string) bool { return e.sentryName(id) != "" }

func (e Evidence) sentryName(id string) string {
	for _, s := range e.Sentries {
		if strings.EqualFold(s.ID, id) {
			return s.Name
		}
	}
	return ""
}

// why is the reason that is known for a gap in what is known of a node.
func (e Evidence) why(name string) string {
	if why := e.Missing[name]; why != "" {
		return why
	}
	return "not asked"
}

// short is what to say where a node's peers and address book were looked at for too short a time to prove anything.
func (e Evidence) short(code, name, message, measured string) (Check, bool) {
	l := e.Looks[name]
	if e.Brief || l.Count >= MinAsks && l.Period >= MinPeriod {
		return Check{}, false
	}
	message += ", but the look is too short to prove anything"
	if why := e.Missing[name]; why != "" {
		message += ": " + why
	}
	return unproven(code, name, message, measured, fmt.Sprintf("look at least %d times over at least %s, with its agent and its node up", MinAsks, MinPeriod)), true
}

// gaps are the things without which nothing can be judged.
func (e Evidence) gaps() []Check {
	var cs []Check
	gap := func(subject, message string) {
		cs = append(cs, unproven(CodeEvidence, subject, message, "", "give the ids and addresses of the roster"))
	}
	if e.Validator.ID == "" {
		gap(e.Validator.Name, "the validator's node id is not known, so nobody can be asked about it")
	}
	if len(e.Validator.Addresses) == 0 {
		gap(e.Validator.Name, "no address of the validator is known, so it cannot be looked for")
	}
	for _, s := range e.Validator.Addresses {
		if _, err := p2p.ParseAddress(s); err != nil {
			gap(e.Validator.Name, fmt.Sprintf("%q is no address, so it cannot be looked for", s))
		}
	}
	if len(e.Sentries) == 0 {
		gap(e.Validator.Name, "the validator has no sentries, so nothing hides it")
	}
	for _, n := range e.nodes() {
		switch {
		case n.ID == "":
			gap(n.Name, "its node id is not known, so its answers cannot be told from others'")
		case strings.EqualFold(n.ID, e.Validator.ID):
			gap(n.Name, "it has the node id of the validator")
		}
	}
	return cs
}
