package p2p

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Nodes ask each other for addresses every 30 s. So an address that leaks may take that long to arrive where a stranger asks,
// and shorter looks show nothing.
const (
	MinAsks   = 3
	MinPeriod = 45 * time.Second
)

// Options say how far a crawl goes. The zero value is safe: loopback only.
type Options struct {
	Stranger Stranger
	Asks     int                // of each node; 0: MinAsks
	Period   time.Duration      // from the first ask to the last, at least; 0: MinPeriod
	Allow    func(Address) bool // may this address, told by a node, be dialed? nil: only on loopback
	MaxNodes int                // asked at all, seeds included; 0: 64
	MaxDepth int                // steps from a seed; 0: 4; negative: seeds only
}

// Answer is what one node told.
type Answer struct {
	Asked     string        `json:"asked"`     // as dialed
	Depth     int           `json:"depth"`     // steps from a seed
	Info      NodeInfo      `json:"info"`      // empty if it never named itself
	Met       string        `json:"met"`       // the IP address at which it did
	Asks      int           `json:"asks"`      // that were answered
	Period    time.Duration `json:"period"`    // from the first of them to the answer of the last
	Largest   int           `json:"largest"`   // addresses in one answer: from 32 on it is a sample of the book
	Addresses []Address     `json:"addresses"` // all that it told, once each
	Outcome   Outcome       `json:"outcome"`   // Welcome, or what went wrong last
	Detail    string        `json:"detail,omitempty"`
}

// Skipped is an address that was told and not dialed.
type Skipped struct {
	Address Address `json:"address"`
	ToldBy  string  `json:"told_by"`
	Why     string  `json:"why"`
}

// Report is what a crawl heard.
type Report struct {
	Answers []Answer  `json:"answers"` // by Asked
	Skipped []Skipped `json:"skipped"`
}

// Crawl asks each seed, and each node that they lead to, for the addresses it knows: several times, since an address may take
// half a minute to arrive. All are asked at the same time; a node is asked as soon as it is heard of. What went wrong with a node
// is in its answer; the error is ctx's, and what was heard until then is in the report.
func Crawl(ctx context.Context, seeds []string, o Options) (Report, error) {
	cr := &crawl{Options: o.filled(), seen: map[string]bool{}, answers: map[string]*Answer{}}
	for _, seed := range seeds {
		a, err := ParseAddress(seed)
		if err != nil {
			return Report{}, err
		}
		cr.visit(ctx, a, "", 0)
	}
	_ = cr.group.Wait() // visits keep their errors in their answers
	r := Report{Skipped: cr.skipped}
	for _, at := range slices.Sorted(maps.Keys(cr.answers)) {
		r.Answers = append(r.Answers, *cr.answers[at])
	}
	slices.SortFunc(r.Skipped, func(a, b Skipped) int {
		return cmp.Or(a.Address.compare(b.Address), cmp.Compare(a.ToldBy, b.ToldBy))
	})
	return r, context.Cause(ctx)
}

func (o Options) filled() Options {
	o.Asks = cmp.Or(o.Asks, MinAsks)
	o.Period = cmp.Or(o.Period, MinPeriod)
	o.MaxNodes = cmp.Or(o.MaxNodes, 64)
	o.MaxDepth = cmp.Or(o.MaxDepth, 4)
	if o.Allow == nil {
		o.Allow = Address.Loopback
	}
	return o
}

type crawl struct {
	Options
	group errgroup.Group

	mu      sync.Mutex
	seen    map[string]bool // addresses, and why not to dial them a second time
	answers map[string]*Answer
	skipped []Skipped
}

// visit starts to ask the node at a, unless there is a reason not to. No teller means that a is a seed.
func (cr *crawl) visit(ctx context.Context, a Address, teller string, depth int) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	at := a.String()
	if cr.seen[at] || cr.seen[a.HostPort()] { // a seed may have been given without its id
		return
	}
	cr.seen[at] = true
	if why := cr.objection(a, teller, depth); why != "" {
		cr.skipped = append(cr.skipped, Skipped{Address: a, ToldBy: teller, Why: why})
		return
	}
	w := &visit{crawl: cr, answer: Answer{Asked: at, Depth: depth}, told: map[Address]bool{}}
	cr.answers[at] = &w.answer
	cr.group.Go(func() error {
		w.ask(ctx)
		return nil
	})
}

func (cr *crawl) objection(a Address, teller string, depth int) string {
	switch {
	case len(cr.answers) >= cr.MaxNodes:
		return "enough nodes"
	case teller == "":
		return ""
	case !a.Valid():
		return "no address"
	case depth > max(cr.MaxDepth, 0):
		return "too many steps from a seed"
	case !cr.Allow(a):
		return "not allowed"
	}
	return ""
}

// visit is the asking of one node.
type visit struct {
	*crawl
	answer Answer
	told   map[Address]bool
	conn   *Conn
	first  time.Time // ask that was answered
}

// ask asks Asks times, at even distances over Period. A connection that the node closes, as nodes in seed mode do after one
// answer, is dialed again for the next.
func (v *visit) ask(ctx context.Context) {
	start := time.Now()
	for i := range v.Asks {
		if i > 0 {
			at := start.Add(v.Period * time.Duration(i) / time.Duration(v.Asks-1))
			v.wait(ctx, at)
		}
		if ctx.Err() != nil {
			break
		}
		if !v.once(ctx) {
			break
		}
	}
	v.hangUp()
	v.answer.Addresses = slices.SortedFunc(maps.Keys(v.told), Address.compare)
}

// wait passes the time until at, on the connection if there is one.
func (v *visit) wait(ctx context.Context, at time.Time) {
	if v.conn != nil {
		if err := v.conn.Held(ctx, time.Until(at)); err == nil {
			return
		}
		v.hangUp()
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// once asks one time. It says whether there is a point in asking again.
func (v *visit) once(ctx context.Context) bool {
	asked := time.Now()
	told, err := v.addresses(ctx)
	if errors.Is(err, ErrClosed) && v.answer.Asks > 0 {
		// It was closing since its last answer, and the question crossed that.
		v.hangUp()
		told, err = v.addresses(ctx)
	}
	v.answer.Outcome, v.answer.Detail = OutcomeOf(err), ""
	if err != nil {
		v.answer.Detail = err.Error()
		v.hangUp()
		return v.answer.Outcome != NoPEX && v.answer.Outcome != WrongID && v.answer.Outcome != Incompatible
	}
	if v.answer.Asks == 0 {
		v.first = asked
	}
	v.answer.Asks++
	v.answer.Period = time.Since(v.first)
	v.answer.Largest = max(v.answer.Largest, len(told))
	for _, a := range told {
		v.told[a] = true
		v.crawl.visit(ctx, a, v.answer.Asked, v.answer.Depth+1)
	}
	return true
}

func (v *visit) hangUp() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

func (v *visit) addresses(ctx context.Context) ([]Address, error) {
	if v.conn == nil {
		c, err := Dial(ctx, v.answer.Asked, v.Stranger)
		if err != nil {
			return nil, err
		}
		v.conn, v.answer.Info, v.answer.Met = c, c.RemoteInfo(), c.RemoteIP()
	}
	return v.conn.AskAddresses(ctx)
}
