package supervisor

import (
	"fmt"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/health"
)

// How long a link may be missing, and how often that may cost a restart.
const (
	linkGrace   = 10 * time.Second // before anything is said
	cutOffFor   = 30 * time.Second // without any peer, before a restart
	answersFor  = 10 * time.Second // an address, before a restart: in the first minutes the node dials every eight seconds
	cutOffEvery = 2 * time.Minute  // doubled with every further one that did not help
	cutOffMax   = 30 * time.Minute
	missingFor  = 30 * time.Minute // one of several, before a restart
)

// link is a wanted peer as it is now.
type link struct {
	name     string
	missing  time.Duration // not connected for; 0: it is
	dialable time.Duration // its address accepts connections for; 0: it does not
}

// linksView is what is known about the node's links.
type linksView struct {
	links  []link
	others int           // connected nodes that are not among them
	since  time.Duration // since the last restart for the sake of links
	tries  int           // such restarts in a row after which no link came
}

// judgeLinks decides about missing peers. CometBFT tries a persistent peer some twenty times, then ever more seldom, and
// gives it up for good after a day; where it learns of no others, only a restart makes it dial again.
func judgeLinks(v linksView) (found []health.Finding, restart string) {
	var missing, dialable []link
	for _, l := range v.links {
		if l.missing > linkGrace {
			missing = append(missing, l)
		}
		if l.missing > linkGrace && l.dialable > 0 {
			dialable = append(dialable, l)
		}
	}
	if len(missing) == 0 {
		return nil, ""
	}
	if len(missing) == len(v.links) && v.others == 0 {
		return judgeCutOff(v, missing, dialable)
	}
	for _, l := range missing {
		if l.dialable == 0 {
			found = append(found, health.Finding{
				Code: "peer-unreachable", Severity: health.Warning, Subject: l.name,
				Message: fmt.Sprintf("No link to %s, and its address does not answer.", l.name), Next: "See whether it runs.",
			})
			continue
		}
		found = append(found, health.Finding{
			Code: "peer-missing", Severity: health.Warning, Subject: l.name,
			Message: fmt.Sprintf("No link to %s, although its address answers.", l.name),
			Next:    "Nothing yet: the node may still dial it. After half an hour it is told to, or restarted for it.",
		})
		if l.missing > missingFor && l.dialable > missingFor && v.since > missingFor && restart == "" {
			restart = "it had given up dialling " + l.name
		}
	}
	return found, restart
}

// judgeCutOff decides for a node without a single peer.
func judgeCutOff(v linksView, missing, dialable []link) (found []health.Finding, restart string) {
	if len(dialable) == 0 {
		return []health.Finding{{
			Code: "peers-unreachable", Severity: health.Critical,
			Message: fmt.Sprintf("The node has no peer: none of its %d answers (%s).", len(missing), names(missing)),
			Next:    "See whether they run, and whether the network between them does.",
		}}, ""
	}
	found = []health.Finding{{
		Code: "cut-off", Severity: health.Critical,
		Message: fmt.Sprintf("The node has no peer, although %s could be reached.", names(dialable)),
		Next:    "It is restarted by itself so that it dials again.",
	}}
	long, answers := true, false
	for _, l := range missing {
		long = long && l.missing > cutOffFor
		answers = answers || l.dialable > answersFor
	}
	gap := backoff{min: cutOffEvery, max: cutOffMax}.delay(max(0, v.tries-1))
	if long && answers && v.since > gap {
		restart = "it had no peer and did not dial"
	}
	return found, restart
}

func names(links []link) string {
	var all []string
	for _, l := range links {
		all = append(all, l.name)
	}
	return strings.Join(all, ", ")
}

// redial remembers restarts for the sake of links.
type redial struct {
	last  time.Time
	tries int
}

// tracker follows the wanted peers of one run of the daemon.
type tracker struct {
	start time.Time
	seen  map[string]*trace // by node id
}

// trace is since when a peer is missing, and since when its address answers; zero: it is not, and does not.
type trace struct{ missing, dialable time.Time }

// update takes in who is connected, and, where it was tried, whose address answers, and returns the links. A peer counts
// as missing from the start of the run, so that one that never comes is noticed, or from when it was first wanted.
func (t *tracker) update(now time.Time, peers []Peer, connected map[string]bool, probed, dialable map[string]bool) []link {
	wanted := now
	if t.seen == nil {
		t.seen, wanted = map[string]*trace{}, t.start
	}
	var links []link
	for _, p := range peers {
		s := t.seen[p.NodeID]
		if s == nil {
			s = &trace{missing: wanted}
			t.seen[p.NodeID] = s
		}
		switch {
		case connected[p.NodeID]:
			*s = trace{}
		case s.missing.IsZero():
			s.missing = now
		}
		switch {
		case probed[p.NodeID] && !dialable[p.NodeID]:
			s.dialable = time.Time{}
		case probed[p.NodeID] && s.dialable.IsZero():
			s.dialable = now
		}
		l := link{name: p.Name}
		if l.name == "" {
			l.name = p.Address
		}
		if !s.missing.IsZero() {
			l.missing = max(now.Sub(s.missing), 1)
			if !s.dialable.IsZero() {
				l.dialable = max(now.Sub(s.dialable), 1)
			}
		}
		links = append(links, l)
	}
	return links
}
