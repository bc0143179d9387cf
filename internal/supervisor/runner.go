package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// What findings are about; each replaces only its own.
const (
	aboutExit  = "exit"  // why the last run ended, or a start was not possible
	aboutRun   = "run"   // how the daemon that runs does
	aboutLinks = "links" // its peers
	aboutOrder = "order" // what it was told while it runs
	aboutSpec  = "spec"  // node.json
	aboutHome  = "home"  // who else is in the home
)

// runner is one supervisor at work.
type runner struct {
	dir    string
	log    *slog.Logger
	timing timing
	spec   specFile
	report *reporter

	failures int       // ends in a row that nobody asked for
	starts   int       // daemons started by this supervisor
	redial   redial    // restarts to make the daemon dial again
	revived  time.Time // last restart of a daemon that ran but did nothing
}

// outcome says why watching a daemon came to an end.
type outcome struct {
	ended   *end   // it ended by itself
	restart string // it is to be stopped and started again, and why
	failed  bool   // that restart counts as a failure, so the next start waits
}

func (r *runner) path(name ...string) string {
	return filepath.Join(append([]string{r.dir}, name...)...)
}

func (r *runner) home() string { return r.path(HomeDir) }

// run is the supervisor's life: one daemon after the other, never two. At any time it has a daemon, or the lock on the
// home, or neither; then somebody else is in there.
func (r *runner) run(ctx context.Context) error {
	var d *daemon
	var lock *process.Lock
	var err error
	for ctx.Err() == nil && err == nil {
		switch {
		case d != nil:
			lock, err = r.oversee(ctx, d)
			d = nil
		case lock != nil:
			d, lock, err = r.start(ctx, lock)
		default:
			d, lock, err = r.inherit(ctx)
		}
	}
	if d != nil && err == nil { // it came just when ctx ended
		lock, err = r.oversee(ctx, d)
	}
	if lock != nil {
		err = errors.Join(err, lock.Close())
	}
	if err != nil {
		return err
	}
	r.report.find(aboutRun)
	r.report.find(aboutLinks)
	r.report.find(aboutOrder)
	r.report.phase(Stopped)
	return nil
}

// oversee watches d until it has ended, by itself or because we ended it, and waits as long as is due before another
// start. The lock it returns is nil if something is still in the home.
func (r *runner) oversee(ctx context.Context, d *daemon) (*process.Lock, error) {
	defer d.release()
	o := r.watch(ctx, d)
	e := o.ended
	if e == nil {
		var err error
		if e, err = r.stop(ctx, d, o.restart); err != nil {
			return nil, err
		}
	}
	asked := o.ended == nil
	diag := r.autopsy(d, e.exit, asked, o)
	r.report.now.LastExit = &LastExit{Exit: e.exit, At: time.Now().UTC(), Words: diag.finding.Message}
	r.report.now.Daemon, r.report.now.DaemonSince, r.report.now.Binary = process.Identity{}, time.Time{}, ""
	r.report.find(aboutRun)
	r.report.find(aboutLinks)
	r.report.find(aboutOrder)
	r.log.Info("daemon ended", "pid", d.id.PID, "exit", e.exit.String(), "asked", asked, "words", diag.finding.Message)
	if e.err != nil {
		r.homeHeld(ctx, e.err)
		return nil, nil
	}
	if ctx.Err() != nil || asked && !o.failed {
		return e.lock, nil
	}
	if time.Since(d.started) >= r.timing.healthy {
		r.failures = 0
	}
	r.hold(ctx, diag)
	return e.lock, nil
}

// autopsy says why the daemon ended.
func (r *runner) autopsy(d *daemon, exit process.Exit, asked bool, o outcome) diagnosis {
	switch {
	case asked && o.restart != "":
		return diagnosis{finding: health.Finding{
			Code: "restarted", Severity: health.Warning, Message: "Stopped and started again: " + o.restart + ".",
		}}
	case asked:
		return diagnosis{finding: health.Finding{Code: "stopped", Message: "Stopped as asked."}}
	}
	tail := readTail(r.path(LogFile), d.logStart, tailBytes)
	diag := diagnose(exit, tail)
	if diag.finding.Code == codePort {
		diag.finding.Message += portOwner(diag.detail)
	}
	return diag
}

// homeHeld says that the home is still in use although the daemon has ended, and waits a moment.
func (r *runner) homeHeld(ctx context.Context, cause error) {
	r.report.find(aboutHome, health.Finding{
		Code: "home-held", Severity: health.Critical,
		Message: "The daemon has ended, but something that it started still uses its home: " + cause.Error() + ".",
		Next:    "End that process. The node starts by itself then.",
	})
	r.report.phase(WaitingForLock)
	pause(ctx, r.timing.backoff.min)
}

// hold waits before another start: a while that grows with every failure, or, where a start cannot help, until what it
// depends on has changed.
func (r *runner) hold(ctx context.Context, diag diagnosis) {
	r.report.find(aboutExit, diag.finding)
	r.escalate()
	before := r.dependsOn()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	switch diag.retry {
	case retryOnChange:
		r.report.phase(Stopped)
	case retrySoon:
		r.report.phase(Backoff)
		ctx, cancel = context.WithTimeout(ctx, r.timing.backoff.soon)
		defer cancel()
	default:
		delay := r.timing.backoff.delay(r.failures)
		r.failures++
		r.log.Info("waiting before the next start", "delay", delay)
		r.report.phase(Backoff)
		ctx, cancel = context.WithTimeout(ctx, delay)
		defer cancel()
	}
	tick := time.NewTicker(r.timing.specEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.reload()
			if r.dependsOn() != before {
				r.log.Info("something changed that a start depends on")
				r.failures = 0
				return
			}
		}
	}
}

// escalate says more of a wait that is part of normal life if it lasts: another node may sign with this node's key, or
// the chain makes no blocks without this one.
func (r *runner) escalate() {
	found := r.report.findings[aboutExit]
	for i := range found {
		if found[i].Code == codeRecent && time.Since(found[i].Since) >= recentMax {
			found[i].Severity = health.Critical
			found[i].Message = "The node still finds its own signature in the newest blocks: another node signs with the same key, " +
				"or the chain makes no blocks without this one."
			found[i].Next = "Look for another node with this key. Only if there is none, and the chain needs this node, set double_sign_check_height to 0."
		}
	}
}

// dependsOn is all that can make a start go otherwise than the last one: the spec, but for what needs no restart, and
// the binary.
func (r *runner) dependsOn() string {
	s := r.spec.Spec
	binary, _ := fingerprint(r.binary()) // an absent one is a state too
	return fmt.Sprintf("%q %q %q %d %+v", s.Daemon, s.Args, s.Revision, s.RestartToken, binary)
}

// reload takes up a changed node.json, and keeps our own log short.
func (r *runner) reload() {
	if _, err := process.RotateLog(r.path(OwnLogFile), process.LogMax, process.LogKeep); err != nil {
		r.log.Error("own log not rotated", "err", err)
	}
	changed, err := r.spec.reload()
	switch {
	case err != nil:
		r.report.find(aboutSpec, health.Finding{
			Code: "spec-unreadable", Severity: health.Warning,
			Message: fmt.Sprintf("The node's instructions cannot be read; the last good ones hold: %v.", err),
			Next:    "Apply again.",
		})
		r.report.flush()
	case changed:
		r.log.Info("node.json read", "revision", r.spec.Spec.Revision, "restart_token", r.spec.Spec.RestartToken)
		r.report.find(aboutSpec)
		r.report.flush()
	}
}

// pause waits for d or ctx, whichever is first.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// backoff says how long to wait before starting a daemon again.
type backoff struct {
	min, max time.Duration
	soon     time.Duration // for ends that are part of normal life
}

// delay doubles with every failure before.
func (b backoff) delay(failures int) time.Duration {
	d := b.min
	for range failures {
		if d >= b.max/2 {
			return b.max
		}
		d *= 2
	}
	return d
}
