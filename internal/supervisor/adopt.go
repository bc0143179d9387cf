package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// orphan is a process that holds our home's lock.
type orphan struct {
	id     process.Identity
	since  time.Time
	record *record // what its supervisor noted; nil when that was killed before it could
	// wanted: it runs the very executable that we would start.
	wanted bool
	// ours: it is a daemon that a supervisor of this home started, beyond doubt.
	ours bool
}

// inherit takes the home's lock. If a daemon holds it, that is adopted or stopped; if anything else does, inherit waits
// a moment and returns nothing.
func (r *runner) inherit(ctx context.Context) (*daemon, *process.Lock, error) {
	lock, err := process.TryLock(r.path(HomeLock), lockName)
	held := (*process.Held)(nil)
	if err == nil {
		return nil, lock, r.endUnlocked(ctx)
	}
	if !errors.As(err, &held) {
		return nil, nil, err
	}
	o, err := r.findOrphan(held.Holder)
	switch {
	case err != nil:
		return nil, nil, r.wait(ctx, held.Holder, err)
	case o.wanted:
		return r.adopt(o), nil, nil
	}
	r.log.Warn("stopping a daemon that is not the wanted one", "pid", o.id.PID)
	r.report.phase(Stopping)
	if err := process.Terminate(context.WithoutCancel(ctx), o.id, r.spec.Spec.GracePeriod); err != nil {
		return nil, nil, r.wait(ctx, held.Holder, err)
	}
	return nil, nil, nil // and take the lock in the next turn
}

// endUnlocked ends a daemon that the last report names and that runs without the lock, which takes somebody who removed
// the lock's file.
func (r *runner) endUnlocked(ctx context.Context) error {
	last, err := ReadReport(r.dir)
	if err != nil || !last.Daemon.Alive() {
		return nil // no report is as good as none running: the lock was free
	}
	r.log.Warn("stopping a daemon that lost its lock", "pid", last.Daemon.PID)
	r.report.phase(Stopping)
	return process.Terminate(context.WithoutCancel(ctx), last.Daemon, r.spec.Spec.GracePeriod)
}

// wait reports who is in the home, and looks again after a moment.
func (r *runner) wait(ctx context.Context, holder process.Holder, cause error) error {
	who := "A process that cannot be told to be this node's daemon"
	if holder.Process.Alive() {
		who = fmt.Sprintf("%s (process %d)", holder.Name, holder.Process.PID)
	}
	r.report.find(aboutHome, health.Finding{
		Code: "home-held", Severity: health.Critical,
		Message: fmt.Sprintf("%s uses this node's home, so no daemon is started: %v.", who, cause),
		Next:    "Let it finish, or end it. The node starts by itself then.",
	})
	r.report.phase(WaitingForLock)
	lock, err := waitLock(ctx, r.path(HomeLock), r.timing.observeEvery)
	if err != nil {
		return nil // still held: that is what the finding says
	}
	return lock.Close()
}

// findOrphan finds the daemon that holds the lock: by what is noted in the lock's file, or else by the open file itself.
func (r *runner) findOrphan(holder process.Holder) (orphan, error) {
	if len(holder.Note) > 0 && holder.Process.Alive() {
		var rec record
		if err := json.Unmarshal(holder.Note, &rec); err == nil {
			now, err := fingerprint(r.binary())
			wanted := err == nil && now == rec.Binary
			return orphan{id: holder.Process, since: holder.Since, record: &rec, wanted: wanted, ours: true}, nil
		}
	}
	ids, err := process.LockHolders(r.path(HomeLock))
	if errors.Is(err, errors.ErrUnsupported) {
		return orphan{}, errors.New("its supervisor was killed before it noted which process the daemon is, " +
			"and this system cannot tell who holds a lock")
	}
	if err != nil {
		return orphan{}, err
	}
	for _, id := range ids {
		if o := r.examine(id); o.ours {
			return o, nil
		}
	}
	return orphan{}, fmt.Errorf("the lock is held by %v", ids)
}

// Daemon finds the daemon that runs on the home of the host folder dir, whether it has a supervisor or not, and also one
// whose supervisor was killed before it could note it. The error is process.ErrGone when there is none.
func Daemon(dir string) (process.Identity, error) {
	path := filepath.Join(dir, HomeLock)
	holder, err := process.ReadHolder(path)
	if err == nil && len(holder.Note) > 0 && holder.Process.Alive() {
		return holder.Process, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return process.Identity{}, fmt.Errorf("find daemon of %q: %w", dir, process.ErrGone)
	}
	ids, err := process.LockHolders(path)
	if err != nil {
		return process.Identity{}, fmt.Errorf("find daemon of %q: %w", dir, err)
	}
	for _, id := range ids {
		if id != holder.Process { // else it is the supervisor itself, about to start a daemon
			return id, nil
		}
	}
	return process.Identity{}, fmt.Errorf("find daemon of %q: %w", dir, process.ErrGone)
}

// examine says what a process is that holds the lock but is not noted.
func (r *runner) examine(id process.Identity) orphan {
	o := orphan{id: id, since: time.Now().UTC()}
	exe, err := id.Executable()
	if err != nil {
		return o
	}
	if want, err := os.Stat(r.binary()); err == nil {
		o.wanted = os.SameFile(exe, want)
	}
	args, err := id.Args()
	if err != nil {
		return o
	}
	// What we start says so on its command line, whichever of our binaries it is.
	home := slices.Index(args, "--home")
	o.ours = len(args) > 1 && args[1] == "start" && home > 0 && home+1 < len(args) && args[home+1] == r.home() &&
		strings.HasPrefix(args[0], filepath.Join(r.home(), "cosmovisor"))
	o.wanted = o.wanted && o.ours
	return o
}

// adopt goes on with a daemon that an earlier supervisor started.
func (r *runner) adopt(o orphan) *daemon {
	rec := o.record
	if rec == nil {
		// It had been started an instant before its supervisor was killed, so with what the spec says now.
		now, _ := fingerprint(r.binary()) // it was there when o was examined
		rec = &record{
			Binary: now, Revision: r.spec.Spec.Revision, Core: r.spec.Spec.Core, RestartToken: r.spec.Spec.RestartToken,
			LogStart: size(r.path(LogFile)),
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan end, 1)
	go func() {
		e := end{exit: process.Exit{Code: -1}}
		if e.err = o.id.Wait(ctx); e.err == nil {
			e.lock, e.err = relock(ctx, r.path(HomeLock))
		}
		ended <- e
	}()
	d := &daemon{
		id: o.id, started: o.since, logStart: rec.LogStart, record: *rec, adopted: true, ended: ended, release: cancel,
	}
	r.report.find(aboutHome)
	r.starts++
	r.running(d)
	return d
}
