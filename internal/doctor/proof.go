package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/hiding"
	"github.com/pressenter/pressenter/internal/p2p"
	"github.com/pressenter/pressenter/internal/roster"
)

// How a proof is spread over time. An address that leaks may need half a minute to arrive where a stranger asks.
const (
	rounds     = 4
	extra      = 3                                                                          // rounds, for nodes that were late
	roundEvery = (hiding.MinPeriod + 1500*time.Millisecond) / time.Duration(rounds-1)       // a round takes a little itself
	peersEvery = 2 * time.Second                                                            // looks at lists of peers and address books
	knocks     = 3                                                                          // strangers at the validator's own address
	knockHold  = 2 * hiding.MinHold                                                         // how long each stays if it may
	knockEvery = (time.Duration(rounds-1)*roundEvery - knockHold) / time.Duration(knocks-1) // the last one has its time, too
)

// Proof gathers what shows whether the validator is hidden, from a deployment that runs.
type Proof struct {
	Hosts    []Host
	Invited  []Invited      // sentries too; only strangers can ask them
	Mesh     []netip.Prefix // of which no address may be told
	Provider Provider
	Quick    bool           // leaves out what takes long: asking nodes for addresses as strangers
	Progress func(Progress) // about every second, and never twice at once; may be nil
}

// Progress is where a proof stands.
type Progress struct {
	Left   time.Duration
	Nodes  int // that are asked for addresses
	Asks   int // that were answered
	Looks  int // at all lists of peers and address books: of the host that told them least often
	Knocks int // of strangers at the validator's address
}

// Proven is what a proof gathered.
type Proven struct {
	Evidence hiding.Evidence
	Asked    []string // names of the nodes that answered strangers
	Progress Progress
	Quick    bool
	Took     time.Duration
	Step     Clock  // how the clock went on meanwhile: Start, End and Elapsed
	Not      string // why nothing was gathered, "" if it was
	// OnMachine says that the validator has a computer of its own.
	OnMachine bool
}

// Validator is the host that is to be hidden.
func (p Proof) Validator() (Host, bool) {
	for _, h := range p.Hosts {
		if h.Role == roster.RoleValidator && !h.World {
			return h, true
		}
	}
	return Host{}, false
}

// Run gathers. It takes about 47 seconds, or six with Quick. The error is ctx's.
func (p Proof) Run(ctx context.Context) (Proven, error) {
	v, ok := p.Validator()
	switch {
	case !ok:
		return Proven{Quick: p.Quick, Not: "there is no validator here yet"}, nil
	case !v.Agent:
		return Proven{Quick: p.Quick, Not: "the validator's agent does not run, so nobody can be asked for its peers"}, nil
	case !v.Status.Node.Answers || v.Status.Enrolled == nil:
		return Proven{Quick: p.Quick, Not: "the validator's node does not answer"}, nil
	}
	start := time.Now()
	g := &gathering{Proof: p, validator: v, peers: map[string]map[string]comet.Peer{}, books: map[string]map[hiding.Entry]bool{}, missing: map[string]string{}, looked: map[string]span{}, answers: map[string]*p2p.Answer{}, first: map[string]time.Time{}}
	g.until = start.Add(time.Duration(rounds-1) * roundEvery)
	if p.Quick {
		g.until = start.Add(knockHold)
	}
	g.all(ctx)
	end := time.Now()
	return Proven{
		Evidence: g.evidence(), Asked: g.answered(), Progress: g.progress(end), Quick: p.Quick, Took: end.Sub(start), OnMachine: v.OnMachine(),
		Step: Clock{Start: start.Round(0), End: end.Round(0), Elapsed: end.Sub(start)},
	}, ctx.Err()
}

// gathering is a proof under way.
type gathering struct {
	Proof
	validator Host

	mu      sync.Mutex
	until   time.Time
	asks    int
	peers   map[string]map[string]comet.Peer // by host and node id: all that were ever seen
	books   map[string]map[hiding.Entry]bool
	missing map[string]string
	looked  map[string]span
	knocks  []p2p.Probe
	answers map[string]*p2p.Answer
	first   map[string]time.Time // answer, or a little later
	skipped []p2p.Skipped
}

// span is how often something was done, and when first and last.
type span struct {
	count       int
	first, last time.Time
}

// all does everything side by side: who looks at the lists of peers sees the strangers that knock meanwhile.
func (g *gathering) all(ctx context.Context) {
	g.look(ctx)
	watching, stop := context.WithCancel(ctx)
	var watchers, askers sync.WaitGroup
	watchers.Go(func() { every(watching, peersEvery, func() { g.look(watching) }) })
	if g.Progress != nil {
		watchers.Go(func() { every(watching, time.Second, func() { g.Progress(g.progress(time.Now())) }) })
	}
	if g.Quick {
		g.knock(ctx, hiding.MinHold+peersEvery)
	} else {
		askers.Go(func() { g.strangers(ctx) })
		g.ask(ctx)
	}
	askers.Wait()
	stop()
	watchers.Wait()
	g.look(ctx)
}

// every calls f again and again until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// wait passes the time until at, or says that ctx has ended.
func wait(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// look asks every host whom its node knows, and remembers all that were ever known.
func (g *gathering) look(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range g.Hosts {
		wg.Go(func() {
			if !h.Exists {
				g.note(h.Name, api.PeersReply{}, fmt.Errorf("the host is gone"), time.Now())
				return
			}
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			c := g.Provider.Client(h.Host)
			defer c.Close()
			reply, err := c.Peers(ctx)
			g.note(h.Name, reply, err, time.Now())
		})
	}
	wg.Wait()
}

// note keeps what a host told at a time, or why it did not. What it told earlier counts for as long as it told it.
func (g *gathering) note(name string, reply api.PeersReply, err error, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.missing[name] = err.Error()
		return
	}
	looked := g.looked[name]
	if looked.count == 0 {
		looked.first = at
	}
	looked.count, looked.last = looked.count+1, at
	g.looked[name] = looked
	if g.peers[name] == nil {
		g.peers[name], g.books[name] = map[string]comet.Peer{}, map[hiding.Entry]bool{}
	}
	for _, p := range reply.Peers {
		g.peers[name][p.NodeID] = comet.Peer{ID: p.NodeID, Moniker: p.Moniker, RemoteIP: p.RemoteIP, ListenAddr: p.Listen, Outbound: p.Outbound}
	}
	for _, e := range reply.AddressBook {
		g.books[name][hiding.Entry{Address: known(e.NodeID, e.Addr), Source: known(e.SourceID, e.Source)}] = true
	}
}

// known is an address of a book. One that no node can dial is kept as it is: its id may be the validator's all the same.
func known(id, addr string) p2p.Address {
	a, err := p2p.ParseAddress(addr)
	if err != nil {
		a = p2p.Address{Host: addr}
	}
	a.ID = strings.ToLower(id)
	return a
}

// strangers knock at the validator's own address at the beginning, in the middle and at the end.
func (g *gathering) strangers(ctx context.Context) {
	start := time.Now()
	for i := range knocks {
		if !wait(ctx, start.Add(time.Duration(i)*knockEvery)) {
			return
		}
		g.knock(ctx, knockHold)
	}
}

func (g *gathering) knock(ctx context.Context, hold time.Duration) {
	var wg sync.WaitGroup
	for _, at := range g.validator.Met {
		wg.Go(func() {
			probe := p2p.Knock(ctx, at, p2p.Stranger{}, hold)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.knocks = append(g.knocks, probe)
		})
	}
	wg.Wait()
}

// ask asks every node but the validator for addresses, each time as strangers that it has never met, and goes on until
// each has answered often and long enough, or has had its chance.
func (g *gathering) ask(ctx context.Context) {
	var seeds []string
	for _, h := range g.others() {
		seeds = append(seeds, address(h))
	}
	for _, i := range g.Invited {
		seeds = append(seeds, i.address())
	}
	start := time.Now()
	for i := range rounds + extra {
		at := start.Add(time.Duration(i) * roundEvery)
		if i >= rounds {
			if g.enough(seeds) {
				return
			}
			g.mu.Lock()
			g.until = at
			g.mu.Unlock()
		}
		if !wait(ctx, at) {
			return
		}
		begun := time.Now()
		report, _ := p2p.Crawl(ctx, seeds, p2p.Options{Asks: 1, Period: time.Second}) // errors are the answers' own, or ctx's
		g.heard(report, begun, time.Now())
	}
}

// heard adds a round to what was heard before.
func (g *gathering) heard(r p2p.Report, begun, ended time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range r.Answers {
		all := g.answers[a.Asked]
		if all == nil {
			all = &p2p.Answer{Asked: a.Asked, Depth: a.Depth}
			g.answers[a.Asked] = all
		}
		all.Outcome, all.Detail, all.Depth = a.Outcome, a.Detail, min(all.Depth, a.Depth)
		if a.Info.ID != "" {
			all.Info, all.Met = a.Info, a.Met
		}
		if a.Asks == 0 {
			continue
		}
		if all.Asks == 0 {
			g.first[a.Asked] = ended
		}
		all.Asks += a.Asks
		all.Period = max(begun.Sub(g.first[a.Asked]), 0) // rather too short than too long
		all.Largest = max(all.Largest, a.Largest)
		all.Addresses = append(all.Addresses, a.Addresses...)
		g.asks += a.Asks
	}
	for _, s := range r.Skipped {
		if !slices.Contains(g.skipped, s) {
			g.skipped = append(g.skipped, s)
		}
	}
}

// enough says whether each of the seeds was asked often and long enough.
func (g *gathering) enough(seeds []string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !slices.ContainsFunc(seeds, func(s string) bool {
		a := g.answers[s]
		return a == nil || a.Asks < hiding.MinAsks || a.Period < hiding.MinPeriod
	})
}

func (g *gathering) progress(now time.Time) Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := Progress{Left: max(g.until.Sub(now), 0), Nodes: len(g.answers), Asks: g.asks, Knocks: len(g.knocks)}
	for i, h := range g.Hosts {
		if n := g.looked[h.Name].count; i == 0 || n < p.Looks {
			p.Looks = n
		}
	}
	return p
}

// others are all hosts but the validator.
func (g *gathering) others() []Host {
	return slices.DeleteFunc(slices.Clone(g.Hosts), func(h Host) bool { return h.Name == g.validator.Name && !h.World })
}

func (g *gathering) answered() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for _, h := range g.others() {
		if a := g.answers[address(h)]; a != nil && a.Asks > 0 {
			names = append(names, h.Name)
		}
	}
	for _, i := range g.Invited {
		if a := g.answers[i.address()]; a != nil && a.Asks > 0 {
			names = append(names, i.Name)
		}
	}
	return names
}

// evidence is what package hiding judges.
func (g *gathering) evidence() hiding.Evidence {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := hiding.Evidence{
		Validator: nodeFor(g.validator), NetInfo: map[string][]comet.Peer{}, Books: map[string][]hiding.Entry{},
		Knocks: g.knocks, Missing: g.missing, Crawl: p2p.Report{Skipped: g.skipped}, Looks: map[string]hiding.Look{}, Brief: g.Quick,
		Here: !g.validator.OnMachine(),
	}
	for name, s := range g.looked {
		e.Looks[name] = hiding.Look{Count: s.count, Period: s.last.Sub(s.first)}
	}
	if !g.Quick { // nobody is asked what it tells
		e.Mesh = g.Mesh
	}
	for _, h := range g.others() {
		if h.Role == roster.RoleSentry {
			e.Sentries = append(e.Sentries, nodeFor(h))
		} else {
			e.Others = append(e.Others, nodeFor(h))
		}
	}
	for _, i := range g.Invited {
		e.Sentries = append(e.Sentries, hiding.Node{Name: i.Name, ID: i.NodeID, Addresses: []string{i.Endpoint}})
		e.Missing[i.Name] = "it enrolled itself, so that its agent can only be asked on its host"
	}
	for name, peers := range g.peers {
		e.NetInfo[name] = []comet.Peer{}
		for _, p := range peers {
			e.NetInfo[name] = append(e.NetInfo[name], p)
		}
		slices.SortFunc(e.NetInfo[name], func(a, b comet.Peer) int { return strings.Compare(a.ID, b.ID) })
		e.Books[name] = []hiding.Entry{}
		for entry := range g.books[name] {
			e.Books[name] = append(e.Books[name], entry)
		}
		slices.SortFunc(e.Books[name], func(a, b hiding.Entry) int { return strings.Compare(a.Address.String(), b.Address.String()) })
	}
	for _, a := range g.answers {
		one := *a
		slices.SortFunc(one.Addresses, func(a, b p2p.Address) int { return strings.Compare(a.String(), b.String()) })
		one.Addresses = slices.Compact(one.Addresses)
		e.Crawl.Answers = append(e.Crawl.Answers, one)
	}
	slices.SortFunc(e.Crawl.Answers, func(a, b p2p.Answer) int { return strings.Compare(a.Asked, b.Asked) })
	return e
}

func nodeFor(h Host) hiding.Node {
	n := hiding.Node{Name: h.Name, Addresses: h.Met}
	if h.Status.Enrolled != nil {
		n.ID = h.Status.Enrolled.NodeID
	}
	return n
}

// address is where it is dialed.
func (i Invited) address() string { return i.NodeID + "@" + i.Endpoint }

// address is a host's as it is dialed: with the id, so that nobody else's answer is taken for its.
func address(h Host) string {
	n, at := nodeFor(h), ""
	if len(h.Met) > 0 {
		at = h.Met[0]
	}
	if n.ID != "" {
		return n.ID + "@" + at
	}
	return at
}
