// Package hiding judges, from evidence that others gathered, whether a validator is hidden: known to its sentries, and to
// nobody else. It asks nobody and reads nothing.
//
// What was not looked at is never taken for hidden. Each check that could not be made is said, with what is to be done so that it
// can.
package hiding

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/p2p"
)

// What a look must have been to prove something.
const (
	MinAsks   = p2p.MinAsks     // answers of each node, to strangers and about its peers and address book
	MinPeriod = p2p.MinPeriod   // from the first to the last of them: shorter looks miss leaks that are there
	MinHold   = 5 * time.Second // of a stranger whom the validator lets in; nodes that refuse hang up at once
)

// sampleFrom is the number of addresses in an answer from which on the node may know more than it told: CometBFT tells all of
// a book of up to 32 addresses, and 23 % of a larger one.
const sampleFrom = 32

// Node is one of the nodes that the evidence is about.
type Node struct {
	Name      string
	ID        string   // 40 hex digits
	Addresses []string // host:port; the validator's: all by which nobody but its sentries may know it
}

// Entry is an address in an address book, and who told it.
type Entry struct {
	Address p2p.Address
	Source  p2p.Address
}

// Look is how often a node told its peers and its address book, and how long from the first to the last time.
type Look struct {
	Count  int
	Period time.Duration
}

func (l Look) String() string {
	return fmt.Sprintf("%d looks in %s", l.Count, l.Period.Round(time.Millisecond))
}

// Evidence is what was seen. A node without an entry in NetInfo or Books was not looked at; one with an empty entry was, and had
// none.
type Evidence struct {
	Validator Node
	Sentries  []Node
	Others    []Node                  // further nodes that are to be looked at
	NetInfo   map[string][]comet.Peer // the peers of each node by its name, as it says itself
	Books     map[string][]Entry      // the address book of each node by its name
	Looks     map[string]Look         // at both, by the node's name
	Brief     bool                    // one look is enough, for who says himself that he did not take the time to prove anything
	Crawl     p2p.Report              // what strangers were told, from the sentries and the others on
	Knocks    []p2p.Probe             // strangers at the addresses of the validator, held for MinHold at least
	Mesh      []netip.Prefix          // networks of which no address may be told
	Here      bool                    // the validator is on this computer: nothing can be in between
	Missing   map[string]string       // names of nodes of which something could not be had, and why
}

// Verdict is what a check says.
type Verdict string

// The verdicts.
const (
	Hidden   Verdict = "hidden"   // looked at well enough, and not seen
	Seen     Verdict = "seen"     // somebody knows the validator who must not
	Unproven Verdict = "unproven" // not looked at, or not well enough
)

// Check is one question, with what was measured and what follows from it.
type Check struct {
	health.Finding
	Verdict Verdict `json:"verdict"`
}

// The questions: the codes of checks.
const (
	CodeEvidence = "hiding-evidence" // is there anything to judge?
	CodePeers    = "hiding-peers"    // are the validator's peers its sentries, and nobody else?
	CodeNetInfo  = "hiding-net-info" // does a node that is no sentry have the validator as a peer?
	CodeBook     = "hiding-book"     // is the validator in an address book?
	CodeAnswers  = "hiding-answers"  // are strangers told of the validator?
	CodeMesh     = "hiding-mesh"     // are strangers told of the mesh?
	CodeKnock    = "hiding-knock"    // does the validator let strangers in?
	CodeReach    = "hiding-reach"    // would strangers have got to the validator at all from where they knocked?
	CodeScope    = "hiding-scope"    // who was asked at all?
)

// Judge answers all questions, those about the validator first.
func Judge(e Evidence) []Check {
	cs := e.gaps()
	if e.Validator.ID == "" {
		return cs
	}
	m := e.mark()
	cs = append(cs, e.peers()...)
	cs = append(cs, e.knocks()...)
	for _, n := range e.nodes() {
		if !e.sentry(n.ID) {
			cs = append(cs, e.netInfo(n, m))
		}
		cs = append(cs, e.book(n, m), e.answers(n, m))
	}
	cs = append(cs, e.strangersAnswers(m)...)
	if len(e.Mesh) > 0 {
		cs = append(cs, e.mesh())
	}
	return append(cs, e.scope())
}

// Overall is the verdict on all checks: hidden only if each of them is.
func Overall(cs []Check) Verdict {
	has := func(v Verdict) bool {
		return slices.ContainsFunc(cs, func(c Check) bool { return c.Verdict == v })
	}
	switch {
	case has(Seen):
		return Seen
	case has(Unproven), len(cs) == 0:
		return Unproven
	}
	return Hidden
}

// Findings are the checks that say anything but hidden, the most severe first.
func Findings(cs []Check) []health.Finding {
	var fs []health.Finding
	for _, c := range cs {
		if c.Verdict != Hidden {
			fs = append(fs, c.Finding)
		}
	}
	health.Sort(fs)
	return fs
}

func hidden(code, subject, message, measurement string) Check {
	return Check{Verdict: Hidden, Finding: health.Finding{
		Code: code, Severity: health.Info, Subject: subject, Message: message, Measurement: measurement,
	}}
}

func seen(code, subject, message, measurement, next string) Check {
	return Check{Verdict: Seen, Finding: health.Finding{
		Code: code, Severity: health.Critical, Subject: subject, Message: message, Measurement: measurement, Next: next,
	}}
}

func unproven(code, subject, message, measurement, next string) Check {
	return Check{Verdict: Unproven, Finding: health.Finding{
		Code: code, Severity: health.Warning, Subject: subject, Message: message, Measurement: measurement, Next: next,
	}}
}
