// Package supervisor keeps one chain daemon running: it starts it when that is of use, stops it with care, says in words
// why it ended or stands still, and never lets two run on one home.
//
// Two locks make that hold however processes die. supervisor.lock is held by the supervisor. home.lock is taken by the
// supervisor for every start and then belongs to the daemon alone, which inherited it: it is free exactly when the daemon
// and whatever it started have ended. A supervisor that finds home.lock taken has found the daemon of a supervisor that
// was killed. It adopts it when it knows it, and starts nothing until the lock is free.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
)

// Files in a host's folder.
const (
	SpecFile       = "node.json"
	ReportFile     = "node.report.json"
	LogFile        = "node.log"
	OwnLogFile     = "supervisor.log" // where who starts the supervisor sends its output
	SupervisorLock = "supervisor.lock"
	HomeLock       = "home.lock"
	HomeDir        = "home"
)

// lockName is how a supervisor calls itself in the locks that it holds.
const lockName = "pressenter node run"

// Supervisor runs the daemon of the host folder Dir.
type Supervisor struct {
	Dir    string
	Logger *slog.Logger // nil: silent

	timing timing // zero: the real one
}

// timing is how long things take. Tests of real processes shorten it.
type timing struct {
	specEvery    time.Duration // node.json is looked at
	observeEvery time.Duration // the node is asked
	probeEvery   time.Duration // missing peers are tried
	gateEvery    time.Duration // peers are tried before a start
	gateFirst    time.Duration // wait for peers before the first start
	gateAgain    time.Duration // and before later ones
	backoff      backoff
	healthy      time.Duration // a run this long ends a series of failures
}

func realTiming() timing {
	return timing{
		specEvery: 250 * time.Millisecond, observeEvery: 2 * time.Second, probeEvery: 10 * time.Second,
		gateEvery: 100 * time.Millisecond, gateFirst: 15 * time.Second, gateAgain: 3 * time.Second,
		backoff: backoff{min: time.Second, max: time.Minute, soon: 2 * time.Second}, healthy: time.Minute,
	}
}

// Run supervises until ctx is done, and then stops the daemon and returns nil. It returns at once with a *process.Held
// inside the error if the folder has a supervisor already.
func (s *Supervisor) Run(ctx context.Context) (err error) {
	lock, err := process.TryLock(filepath.Join(s.Dir, SupervisorLock), lockName)
	if err != nil {
		return fmt.Errorf("supervise %q: %w", s.Dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	r, err := s.runner()
	if err != nil {
		return fmt.Errorf("supervise %q: %w", s.Dir, err)
	}
	r.log.Info("supervisor started", "dir", s.Dir, "pid", os.Getpid())
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("supervise %q: %w", s.Dir, err)
	}
	r.log.Info("supervisor ended")
	return nil
}

func (s *Supervisor) runner() (*runner, error) {
	log, t := s.Logger, s.timing
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if t == (timing{}) {
		t = realTiming()
	}
	dir, err := filepath.Abs(s.Dir) // the daemon works in another folder
	if err != nil {
		return nil, err
	}
	report, err := newReporter(dir, log)
	if err != nil {
		return nil, err
	}
	r := &runner{dir: dir, log: log, timing: t, spec: specFile{dir: dir}, report: report}
	if _, err := r.spec.reload(); err != nil {
		return nil, err
	}
	return r, nil
}

func writeFile(path string, b []byte) error { return atomicfile.Write(path, b, 0o600) }
