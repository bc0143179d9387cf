package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

const (
	askTimeout = 1500 * time.Millisecond
	logChunk   = 1 << 20 // of new output that is looked through at a time
	logOverlap = 4 << 10 // looked at again, so that nothing is missed at the seam
)

// watched is what is remembered about the daemon while it runs.
type watched struct {
	d        *daemon
	tracker  tracker
	answered bool
	answerAt time.Time // last answer of RPC
	height   int64
	grewAt   time.Time // the height
	logAt    int64     // how far the output was looked through
	halted   bool
	cause    *diagnosis
	forked   bool
	genesis  time.Time // that the daemon sleeps until
	probedAt time.Time
	again    bool // it is to be told again whom to dial
}

// question is what to find out about the daemon, and sight what was found. They are values: asking takes its time, and
// is done beside everything else.
type question struct {
	client *comet.Client
	peers  []Peer
	probe  []Peer
	log    string
	logAt  int64  // where to go on in the log
	info   string // upgrade-info.json
	binary string
	relink string // the revision whose peers the daemon is to be told to dial; "": it need not be
}

type sight struct {
	status  *comet.Status
	net     *comet.NetInfo
	probed  map[string]bool
	answers map[string]bool
	output  []byte
	logAt   int64
	upgrade *comet.UpgradeInfo
	wroteAt time.Time
	binary  file
	relink  string // the revision whose peers the daemon was told to dial
	refused error  // why it was not
}

// watch follows d until it ends, is to be restarted, or ctx is done.
func (r *runner) watch(ctx context.Context, d *daemon) outcome {
	w := r.newWatched(d)
	specTick, lookTick := time.NewTicker(r.timing.specEvery), time.NewTicker(min(r.timing.specEvery, r.timing.observeEvery))
	defer specTick.Stop()
	defer lookTick.Stop()
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	sights, busy := make(chan sight, 1), false
	for {
		select {
		case <-ctx.Done():
			return outcome{}
		case e := <-d.ended:
			return outcome{ended: &e}
		case <-specTick.C:
			if why := r.refresh(w); why != "" {
				return outcome{restart: why}
			}
		case <-lookTick.C:
			if !busy {
				busy = true
				q := r.question(w)
				go func() { sights <- look(asking, q) }()
			}
		case s := <-sights:
			busy = false
			if o := r.consider(w, s); o.restart != "" {
				return o
			}
			if w.answered { // until the first answer we ask more often
				lookTick.Reset(r.timing.observeEvery)
			}
		}
	}
}

func (r *runner) newWatched(d *daemon) *watched {
	now := time.Now()
	w := &watched{d: d, tracker: tracker{start: now}, answerAt: now, grewAt: now, logAt: d.logStart}
	w.again = d.adopted // what an earlier supervisor told it is not in its record
	if last, err := ReadReport(r.dir); err == nil && d.adopted && last.Daemon == d.id {
		w.answered, w.height = last.Height > 0, last.Height
	}
	return w
}

// refresh takes up a new spec and keeps the log short. It returns why the daemon must be restarted, if it must.
func (r *runner) refresh(w *watched) (restart string) {
	r.reload()
	s := r.spec.Spec
	if rotated, err := process.RotateLog(r.path(LogFile), s.LogMaxBytes, s.LogKeep); rotated || err != nil {
		r.log.Info("log rotated", "err", err)
		w.logAt, w.d.logStart = 0, 0
	}
	if s.RestartToken != w.d.record.RestartToken {
		return "its configuration was changed"
	}
	return ""
}

func (r *runner) question(w *watched) question {
	q := question{
		client: &comet.Client{URL: r.spec.Spec.RPC}, peers: r.spec.Spec.Peers, log: r.path(LogFile), logAt: max(w.d.logStart, w.logAt-logOverlap),
		info: r.path(HomeDir, "data", "upgrade-info.json"), binary: r.binary(),
	}
	if s := r.spec.Spec; r.canTell(w) && (w.again || s.Revision != w.d.record.Revision) {
		q.relink = s.Revision
	}
	if w.answered && time.Since(w.probedAt) >= r.timing.probeEvery {
		w.probedAt = time.Now()
		q.probe = slices.Clone(q.peers)
	}
	return q
}

// canTell says whether the daemon can be told whom to dial: all that may have changed since it was started is that.
func (r *runner) canTell(w *watched) bool {
	s, was := r.spec.Spec, w.d.record
	return s.Core != "" && s.Core == was.Core && s.RestartToken == was.RestartToken
}

// look finds out. What cannot be found out stays empty.
func look(ctx context.Context, q question) sight {
	var s sight
	s.output, s.logAt = readFrom(q.log, q.logAt, logChunk)
	s.binary, _ = fingerprint(q.binary)
	if info, err := os.Stat(q.info); err == nil {
		if u, err := comet.ReadUpgradeInfo(q.info); err == nil {
			s.upgrade, s.wroteAt = &u, info.ModTime()
		}
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := q.client.Status(asking)
	if err != nil {
		return s
	}
	s.status = &status
	s.tell(asking, q)
	if net, err := q.client.NetInfo(asking); err == nil {
		s.net = &net
		s.probe(ctx, q.probe)
	}
	return s
}

// dialsOfEach is how often each peer is named in the order to dial. CometBFT dials every entry once, each after a sleep of
// its own, and does not make up at once for a dial that was refused.
const dialsOfEach = 4

// tell tells the daemon whom to dial, where that is another than it was started with.
func (s *sight) tell(ctx context.Context, q question) {
	if q.relink == "" {
		return
	}
	var peers []string
	for _, p := range q.peers {
		peers = append(peers, slices.Repeat([]string{p.NodeID + "@" + p.Address}, dialsOfEach)...)
	}
	if len(peers) > 0 { // without any it keeps those that it has, until its next start
		if s.refused = q.client.DialPeers(ctx, peers); s.refused != nil {
			return
		}
	}
	s.relink = q.relink
}

// probe tries the addresses of peers that are not connected; the connected ones are not bothered.
func (s *sight) probe(ctx context.Context, peers []Peer) {
	peers = slices.DeleteFunc(peers, func(p Peer) bool {
		_, connected := s.net.Peer(p.NodeID)
		return connected
	})
	s.probed = map[string]bool{}
	for _, p := range peers {
		s.probed[p.NodeID] = true
	}
	s.answers = listening(ctx, peers, len(peers))
}

// consider draws the conclusions from what was seen.
func (r *runner) consider(w *watched, s sight) outcome {
	now := time.Now()
	r.relinked(w, s)
	if grew := w.take(s, now); grew {
		r.report.find(aboutExit)
	}
	if w.height > 0 {
		r.report.now.Height = w.height
	}
	v := w.view(s, r.spec.Spec, now)
	if !v.answering && v.answered && v.silent < silentRun {
		return outcome{} // what was said before still holds
	}
	v.sinceRevival = since(r.revived)
	verdict := judge(v)
	r.report.find(aboutRun, verdict.findings...)
	if verdict.phase == Running && now.Sub(w.d.started) > r.timing.healthy {
		r.report.find(aboutExit)
	}
	restart := r.considerLinks(w, s, now)
	r.report.phase(verdict.phase)
	switch {
	case verdict.restart == "":
		return outcome{restart: restart}
	case v.binaryChanged:
		return outcome{restart: verdict.restart}
	}
	r.revived = now
	return outcome{restart: verdict.restart, failed: true}
}

// relinked notes that the daemon dials the peers of another revision.
func (r *runner) relinked(w *watched, s sight) {
	if s.refused != nil {
		r.report.find(aboutOrder, health.Finding{
			Code: "peers-not-taken", Severity: health.Warning,
			Message: fmt.Sprintf("The node goes on with the peers that it had: %v.", s.refused), Next: "It is told again. See its log.",
		})
	}
	if s.relink == "" {
		return
	}
	r.report.find(aboutOrder)
	w.again = false
	w.d.record.Revision, r.report.now.Revision = s.relink, s.relink
	r.log.Info("the daemon was told whom to dial", "revision", s.relink)
	r.report.flush()
}

// take takes in a sight and says whether the chain went on in this run.
func (w *watched) take(s sight, now time.Time) (grew bool) {
	if s.status != nil {
		w.answered, w.answerAt = true, now
		if s.status.Height > w.height {
			grew = w.height > 0 // the first answer says where the run before had come to
			w.height, w.grewAt = s.status.Height, now
		}
	}
	if grew {
		w.halted, w.cause, w.forked = false, nil, false
	}
	w.read(s) // after that: the output was read before the height
	return grew
}

// read looks through new output for the words with which consensus stops.
func (w *watched) read(s sight) {
	w.logAt = s.logAt
	if bytes.Contains(s.output, []byte(wrongHeaderHash)) {
		w.forked = true
	}
	if bytes.Contains(s.output, halted) {
		w.halted = true
	}
	if !w.answered && w.genesis.IsZero() {
		w.genesis = sleepsUntil(ansi.ReplaceAll(s.output, nil))
	}
	if w.halted && w.cause == nil {
		w.cause = recognise(ansi.ReplaceAll(s.output, nil))
	}
}

func (w *watched) view(s sight, spec Spec, now time.Time) view {
	v := view{
		answering: s.status != nil, answered: w.answered, silent: now.Sub(w.answerAt),
		height: w.height, still: now.Sub(w.grewAt), wanted: len(spec.Peers), blockTime: spec.BlockTime,
		halted: w.halted, cause: w.cause, forked: w.forked, binaryChanged: s.binary != (file{}) && s.binary != w.d.record.Binary,
	}
	if v.genesis = w.genesis; !v.genesis.IsZero() {
		v.sinceGenesis = time.Since(v.genesis) // which was read, so this is by the clock on the wall
	}
	if s.status != nil {
		v.catchingUp = s.status.CatchingUp
		v.ahead = s.status.Time.Sub(now.Round(0)) // by the clock on the wall
	}
	if s.net != nil {
		v.peers = len(s.net.Peers)
	}
	if s.upgrade != nil && s.wroteAt.After(w.d.started) {
		v.upgrade = s.upgrade
	}
	return v
}

// considerLinks says whether the daemon must be restarted so that it dials its peers again.
func (r *runner) considerLinks(w *watched, s sight, now time.Time) (restart string) {
	if s.net == nil {
		return ""
	}
	connected := map[string]bool{}
	for _, p := range s.net.Peers {
		connected[p.ID] = true
	}
	links := w.tracker.update(now, r.spec.Spec.Peers, connected, s.probed, s.answers)
	wanted := slices.ContainsFunc(links, func(l link) bool { return l.missing == 0 })
	others := len(s.net.Peers)
	for _, l := range links {
		if l.missing == 0 {
			others--
		}
	}
	if wanted {
		r.redial.tries = 0
	}
	found, restart := judgeLinks(linksView{links: links, others: others, since: since(r.redial.last), tries: r.redial.tries})
	r.report.find(aboutLinks, found...)
	if restart != "" && len(s.net.Peers) > 0 && r.canTell(w) { // it has some, so that there is time for that
		r.redial.last, w.again = now, true
		r.log.Warn("the daemon is told again whom to dial", "why", restart)
		return ""
	}
	if restart != "" {
		r.redial = redial{last: now, tries: r.redial.tries + 1}
		r.log.Warn("restarting so that peers are dialled", "why", restart, "try", r.redial.tries)
	}
	return restart
}

// since is the time since t; for ever when t is not set.
func since(t time.Time) time.Duration {
	if t.IsZero() {
		return 1<<63 - 1
	}
	return time.Since(t)
}
