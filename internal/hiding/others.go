package hiding

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/p2p"
)

// netInfo judges the list of peers of a node that is no sentry.
func (e Evidence) netInfo(n Node, m mark) Check {
	peers, ok := e.NetInfo[n.Name]
	if !ok {
		return unproven(CodeNetInfo, n.Name, "its peers are not known: "+e.why(n.Name), "", "ask it once its RPC answers")
	}
	measured := fmt.Sprintf("%d peers, %s", len(peers), e.Looks[n.Name])
	for _, p := range peers {
		if by := m.inPeer(p); by != "" {
			return seen(CodeNetInfo, n.Name, "it is connected to the validator: "+by, measured,
				"take the validator's address from its persistent_peers and its address book, and close the validator's port to others")
		}
	}
	if c, short := e.short(CodeNetInfo, n.Name, "the validator was none of its peers", measured); short {
		return c
	}
	return hidden(CodeNetInfo, n.Name, "the validator is none of its peers", measured)
}

// book judges the address book of a node.
func (e Evidence) book(n Node, m mark) Check {
	entries, ok := e.Books[n.Name]
	if !ok {
		return unproven(CodeBook, n.Name, "its address book was not read: "+e.why(n.Name), "", "read config/addrbook.json there")
	}
	measured := fmt.Sprintf("%d addresses, %s", len(entries), e.Looks[n.Name])
	const next = "stop the node, delete its config/addrbook.json, make sure that private_peer_ids names the validator, and start it: the setting does not clean a book"
	for _, entry := range entries {
		if by := m.in(entry.Address); by != "" {
			return seen(CodeBook, n.Name, "the validator is in its address book by "+by, measured, next)
		}
		if by := m.in(entry.Source); by != "" {
			return seen(CodeBook, n.Name, "the validator is in its address book as a source, by "+by, measured, next)
		}
	}
	if c, short := e.short(CodeBook, n.Name, "the validator was not in its address book", measured); short {
		return c
	}
	return hidden(CodeBook, n.Name, "the validator is not in its address book", measured)
}

// answers judges what the node n told strangers.
func (e Evidence) answers(n Node, m mark) Check {
	var best *p2p.Answer
	for i := range e.Crawl.Answers {
		a := &e.Crawl.Answers[i]
		if !of(*a, n) {
			continue
		}
		if c, ok := told(*a, n.Name, m); ok {
			return c
		}
		if best == nil || a.Asks > best.Asks || a.Asks == best.Asks && a.Period > best.Period {
			best = a
		}
	}
	if best == nil {
		return unproven(CodeAnswers, n.Name, "it was not asked for addresses: "+e.why(n.Name), "", "ask it where strangers reach it")
	}
	measured := measure(*best)
	switch {
	case best.Asks == 0 && best.Outcome == p2p.NoPEX:
		return hidden(CodeAnswers, n.Name, "it tells nobody addresses", measured)
	case best.Asks == 0:
		return unproven(CodeAnswers, n.Name, fmt.Sprintf("it did not answer (%s), so what it tells cannot be excluded: %s", best.Outcome, best.Detail),
			measured, "ask again once it takes strangers")
	case best.Asks < MinAsks || best.Period < MinPeriod:
		return unproven(CodeAnswers, n.Name, "it did not tell of the validator, but the look is too short to prove anything", measured,
			fmt.Sprintf("ask at least %d times over at least %s", MinAsks, MinPeriod))
	}
	if _, read := e.Books[n.Name]; best.Largest >= sampleFrom && !read {
		return unproven(CodeAnswers, n.Name, "it did not tell of the validator, but it knows more addresses than it tells at once", measured,
			"read its address book, too")
	}
	return hidden(CodeAnswers, n.Name, "it does not tell strangers of the validator", measured)
}

// strangersAnswers judges what nodes told that nobody named to us: those that the crawl was led to. They can only incriminate.
func (e Evidence) strangersAnswers(m mark) []Check {
	var cs []Check
	for _, a := range e.Crawl.Answers {
		if slices.ContainsFunc(e.nodes(), func(n Node) bool { return of(a, n) }) {
			continue
		}
		if c, ok := told(a, a.Asked, m); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

// mesh looks for addresses of the mesh in all answers.
func (e Evidence) mesh() Check {
	n, asks := 0, 0
	for _, a := range e.Crawl.Answers {
		asks += a.Asks
		for _, t := range a.Addresses {
			ip, err := netip.ParseAddr(t.Host)
			inside := func(p netip.Prefix) bool { return err == nil && p.Contains(ip) }
			if slices.ContainsFunc(e.Mesh, inside) {
				return unproven(CodeMesh, a.Asked, fmt.Sprintf("it tells strangers an address of the mesh, %q", t.String()), measure(a),
					"name the other sentries in its private_peer_ids, and delete its address book")
			}
			n++
		}
	}
	if asks == 0 {
		return unproven(CodeMesh, "", "nobody told anything, so nothing can be said of what is told of the mesh", "", "ask the sentries")
	}
	return hidden(CodeMesh, "", "no address of the mesh was told", fmt.Sprintf("%d addresses, %d networks of the mesh", n, len(e.Mesh)))
}

// scope says whom nobody asked. That is no gap: the world is larger than any look at it.
func (e Evidence) scope() Check {
	asked := 0
	for _, a := range e.Crawl.Answers {
		if a.Asks > 0 {
			asked++
		}
	}
	measured := fmt.Sprintf("%d nodes answered, %d did not, %d addresses were told and not asked",
		asked, len(e.Crawl.Answers)-asked, len(e.Crawl.Skipped))
	return hidden(CodeScope, "", "nodes that were not asked may know more: what they know cannot be excluded", measured)
}

// told is the check of an answer that gives the validator away.
func told(a p2p.Answer, subject string, m mark) (Check, bool) {
	for _, t := range a.Addresses {
		if by := m.in(t); by != "" {
			return seen(CodeAnswers, subject, "it tells strangers of the validator: "+by, measure(a),
				"name the validator in private_peer_ids of every sentry, delete their address books, and give the validator a new node id and address: what was told stays known"), true
		}
	}
	return Check{}, false
}

func measure(a p2p.Answer) string {
	return fmt.Sprintf("%d answers in %s, %d addresses", a.Asks, a.Period.Round(time.Millisecond), len(a.Addresses))
}

// of says whether a is an answer of the node n.
func of(a p2p.Answer, n Node) bool {
	if a.Info.ID != "" {
		return strings.EqualFold(a.Info.ID, n.ID)
	}
	if asked, err := p2p.ParseAddress(a.Asked); err == nil && asked.ID != "" {
		return strings.EqualFold(asked.ID, n.ID)
	}
	return slices.ContainsFunc(n.Addresses, func(s string) bool { return sameAddress(s, a.Asked) })
}
