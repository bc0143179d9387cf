package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/process"
)

const (
	// relockWait is how long a home may stay locked after its daemon has ended.
	relockWait = 2 * time.Second
	// endWait is how long the end of a process that is gone may take to reach us.
	endWait = 10 * time.Second
)

// daemon is a chain daemon that runs, or ran a moment ago.
type daemon struct {
	id       process.Identity
	started  time.Time
	logStart int64 // where its output begins in node.log
	record   record
	adopted  bool
	ended    <-chan end // gets one value
	release  func()     // stops waiting for it
}

// end is the end of a daemon, with the lock on the home that it held; err says why there is no lock.
type end struct {
	exit process.Exit
	lock *process.Lock
	err  error
}

// record is what is noted in home.lock about the daemon that holds it.
type record struct {
	Binary       file   `json:"binary"`
	Revision     string `json:"revision"`
	Core         string `json:"core,omitempty"`
	RestartToken uint64 `json:"restart_token"`
	LogStart     int64  `json:"log_start"`
}

// file tells one content of an executable from another without reading it.
type file struct {
	Path  string    `json:"path"` // resolved
	Inode uint64    `json:"inode"`
	Size  int64     `json:"size"`
	Mode  uint32    `json:"mode"`
	Time  time.Time `json:"time"`
}

func fingerprint(path string) (file, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return file{}, err
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return file{}, err
	}
	f := file{Path: resolved, Size: info.Size(), Mode: uint32(info.Mode()), Time: info.ModTime().UTC()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		f.Inode = sys.Ino
	}
	return f, nil
}

// binary is where the wanted executable is.
func (r *runner) binary() string {
	return r.path(HomeDir, "cosmovisor", "current", "bin", r.spec.Spec.Daemon)
}

// start makes one attempt to start the daemon. Without a daemon the lock comes back, after the wait that is due.
func (r *runner) start(ctx context.Context, lock *process.Lock) (*daemon, *process.Lock, error) {
	r.reload()
	r.report.find(aboutHome)
	if diag := preflight(r.binary()); diag != nil {
		r.hold(ctx, *diag)
		return nil, lock, nil
	}
	if !r.gate(ctx) {
		return nil, lock, nil
	}
	d, err := r.launch(lock)
	if err != nil {
		r.hold(ctx, startDiagnosis(err))
		return nil, lock, nil
	}
	if r.starts++; r.starts > 1 {
		r.report.now.Restarts++
	}
	r.running(d)
	// From here on the lock is the daemon's alone, so that we can tell when all of it has ended.
	return d, nil, lock.Close()
}

// launch starts the daemon with the lock in its hands.
func (r *runner) launch(lock *process.Lock) (*daemon, error) {
	s := r.spec.Spec
	binary, err := fingerprint(r.binary())
	if err != nil {
		return nil, err
	}
	rec := record{Binary: binary, Revision: s.Revision, Core: s.Core, RestartToken: s.RestartToken, LogStart: size(r.path(LogFile))}
	child, err := process.Start(process.Spec{
		Path: r.binary(), Args: append([]string{"start", "--home", r.home()}, s.Args...),
		Dir: r.home(), Env: r.environment(), LogPath: r.path(LogFile), ExtraFiles: []*os.File{lock.File()},
	})
	if err != nil {
		return nil, err
	}
	d := &daemon{id: child.Identity, started: time.Now().UTC(), logStart: rec.LogStart, record: rec}
	note, err := json.Marshal(rec)
	if err == nil {
		err = lock.Record(process.Holder{Name: s.Daemon, Process: d.id, Since: d.started, Note: note})
	}
	if err != nil {
		r.log.Warn("daemon not noted in its lock", "err", err) // it can still be found by the lock that it holds
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan end, 1)
	go func() {
		e := end{exit: child.Wait()}
		e.lock, e.err = relock(ctx, r.path(HomeLock))
		ended <- e
	}()
	d.ended, d.release = ended, cancel
	return d, nil
}

// environment is all that the daemon sees of ours: nothing that could hold a secret.
func (r *runner) environment() []string {
	return []string{"HOME=" + r.home(), "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + os.TempDir()}
}

// running puts d into the report.
func (r *runner) running(d *daemon) {
	n := &r.report.now
	n.Daemon, n.DaemonSince, n.Adopted, n.Binary = d.id, d.started, d.adopted, d.record.Binary.Path
	n.Revision, n.Core, n.RestartToken = d.record.Revision, d.record.Core, d.record.RestartToken
	r.log.Info("daemon runs", "pid", d.id.PID, "adopted", d.adopted, "binary", n.Binary)
	r.report.phase(Starting)
}

// relock takes the lock on the home after the daemon has ended. Whatever holds it still was started by the daemon, since
// nobody else had the lock, and is killed.
func relock(ctx context.Context, path string) (*process.Lock, error) {
	lock, err := waitLock(ctx, path, relockWait)
	if err == nil || ctx.Err() != nil {
		return lock, err
	}
	holders, findErr := process.LockHolders(path)
	if len(holders) == 0 {
		return nil, errors.Join(err, findErr)
	}
	for _, id := range holders {
		if err := id.Kill(); err != nil && !errors.Is(err, process.ErrGone) {
			return nil, fmt.Errorf("end what the daemon left: %w", err)
		}
	}
	return waitLock(ctx, path, relockWait)
}

func waitLock(ctx context.Context, path string, d time.Duration) (*process.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return process.WaitLock(ctx, path)
}

// stop ends d gracefully, and returns once it is gone. It goes on when ctx is done: a daemon must not be left half way.
func (r *runner) stop(ctx context.Context, d *daemon, why string) (*end, error) {
	r.log.Info("stopping the daemon", "pid", d.id.PID, "why", why, "grace", r.spec.Spec.GracePeriod)
	r.report.phase(Stopping)
	if err := process.Terminate(context.WithoutCancel(ctx), d.id, r.spec.Spec.GracePeriod); err != nil {
		return nil, fmt.Errorf("stop daemon: %w", err)
	}
	t := time.NewTimer(endWait)
	defer t.Stop()
	select {
	case e := <-d.ended:
		return &e, nil
	case <-t.C:
		return &end{exit: process.Exit{Code: -1}, err: fmt.Errorf("lock %q is not free", r.path(HomeLock))}, nil
	}
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
