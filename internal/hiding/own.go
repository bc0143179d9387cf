package hiding

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/p2p"
)

// peers judges the validator's own list of peers.
func (e Evidence) peers() []Check {
	name := e.Validator.Name
	peers, ok := e.NetInfo[name]
	if !ok {
		return []Check{unproven(CodePeers, name, "the validator's peers are not known: "+e.why(name), "",
			"run this where the validator's RPC answers")}
	}
	var cs []Check
	var met []string
	for _, p := range peers {
		if s := e.sentryName(p.ID); s != "" {
			met = append(met, s)
			continue
		}
		cs = append(cs, e.extraPeer(p))
	}
	var absent []string
	for _, s := range e.Sentries {
		if !slices.Contains(met, s.Name) {
			absent = append(absent, s.Name)
		}
	}
	measured := fmt.Sprintf("%d peers, %d of %d sentries, %s", len(peers), len(met), len(e.Sentries), e.Looks[name])
	if len(absent) > 0 {
		cs = append(cs, unproven(CodePeers, name,
			fmt.Sprintf("the validator is not connected to %s, so it cannot be said what they would tell of it", strings.Join(absent, ", ")),
			measured, "wait until it is connected to each of its sentries, and look again"))
	}
	if c, short := e.short(CodePeers, name, "the validator had no peer but its sentries", measured); short && len(cs) == 0 {
		cs = append(cs, c)
	}
	if len(cs) == 0 {
		cs = append(cs, hidden(CodePeers, name, "the validator's peers are its sentries, and nobody else", measured))
	}
	return cs
}

func (e Evidence) extraPeer(p comet.Peer) Check {
	who := fmt.Sprintf("%s (%q at %q)", p.ID, p.Moniker, p.RemoteIP)
	if slices.ContainsFunc(e.Knocks, func(k p2p.Probe) bool { return k.Self != "" && strings.EqualFold(k.Self, p.ID) }) {
		who = "the stranger that knocked, " + who
	}
	return seen(CodePeers, e.Validator.Name, "the validator has a peer that is none of its sentries: "+who, "",
		"set max_num_inbound_peers = 0, pex = false and unconditional_peer_ids = its sentries on the validator, close its port to others, and restart it")
}

// knocks judges what became of strangers at each address of the validator.
func (e Evidence) knocks() []Check {
	var cs []Check
	for _, addr := range e.Validator.Addresses {
		if _, err := p2p.ParseAddress(addr); err != nil {
			continue // gaps has said so
		}
		before := len(cs)
		behind, is := e.behind(addr)
		for _, k := range e.Knocks {
			if !sameAddress(k.Addr, addr) {
				continue
			}
			if c := e.knock(k); !is || c.Verdict == Seen {
				cs = append(cs, c)
			}
		}
		if is {
			cs = append(cs, behind)
		}
		if len(cs) == before {
			cs = append(cs, unproven(CodeKnock, e.Validator.Name, fmt.Sprintf("no stranger knocked at %q", addr), "",
				"knock there from a machine outside of the mesh"))
		}
	}
	return cs
}

func (e Evidence) knock(k p2p.Probe) Check {
	name := e.Validator.Name
	measured := fmt.Sprintf("stranger at %q: %s", k.Addr, k.Outcome)
	if k.Held > 0 {
		measured += fmt.Sprintf(" after %s", k.Held.Round(time.Millisecond))
	}
	const next = "set max_num_inbound_peers = 0 and unconditional_peer_ids = its sentries on the validator, close its port to others, and restart it"
	switch {
	case k.ID != "" && !strings.EqualFold(k.ID, e.Validator.ID):
		return unproven(CodeKnock, name, fmt.Sprintf("another node, %s, answers at %q", k.ID, k.Addr), measured,
			"look up which addresses the validator has, and knock there")
	case k.Outcome == p2p.NoRoute:
		return unproven(CodeKnock, name, fmt.Sprintf("no stranger got as far as %q, which says nothing about who is there: %s", k.Addr, k.Detail), measured,
			"run this on a computer that has a way there")
	case (k.Outcome == p2p.Refused || k.Outcome == p2p.Unreachable) && !e.reach(k.Addr):
		return unproven(CodeReach, name, fmt.Sprintf("nobody answers a stranger at %q, and no sentry was reached over %s: perhaps it is the way that is closed", k.Addr, kind(k.Addr)),
			measured, "run this on a computer from which the sentries can be reached")
	case k.Outcome == p2p.Refused, k.Outcome == p2p.Unreachable:
		return hidden(CodeKnock, name, fmt.Sprintf("nobody answers a stranger at %q", k.Addr), measured)
	case k.Outcome == p2p.NoHandshake:
		return unproven(CodeKnock, name, fmt.Sprintf("something answers at %q and does not speak as a node does: perhaps it stands before the validator", k.Addr), measured,
			"see what listens there, and knock from another network")
	case k.Outcome == p2p.Closed && k.Held < MinHold:
		return hidden(CodeKnock, name, fmt.Sprintf("the validator refuses strangers at %q, though it tells them its id: no firewall is shown", k.Addr), measured)
	case k.Held >= MinHold:
		return seen(CodeKnock, name, fmt.Sprintf("the validator kept a stranger as a peer at %q", k.Addr), measured, next)
	case k.Outcome == p2p.Welcome:
		return unproven(CodeKnock, name, fmt.Sprintf("the stranger at %q left before the validator could refuse it", k.Addr), measured,
			fmt.Sprintf("stay for at least %s", MinHold))
	}
	return unproven(CodeKnock, name, fmt.Sprintf("what became of the stranger at %q says nothing about others: %s", k.Addr, k.Detail), measured,
		"knock as one of the validator's own network")
}

func sameAddress(a, b string) bool {
	x, errX := p2p.ParseAddress(a)
	y, errY := p2p.ParseAddress(b)
	return errX == nil && errY == nil && x.HostPort() == y.HostPort()
}
