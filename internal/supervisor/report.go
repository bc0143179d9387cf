package supervisor

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

const maxReport = 1 << 20

// heightEvery is how often a report is written for nothing but a new height.
const heightEvery = 10 * time.Second

// Phase is what the supervisor is doing.
type Phase string

// Phases.
const (
	WaitingForLock  Phase = "waiting-for-lock"  // a process that is not ours to end holds the home
	WaitingForPeers Phase = "waiting-for-peers" // no peer listens yet; a start now would be a slow one
	Starting        Phase = "starting"          // the daemon runs and its RPC does not answer yet
	Running         Phase = "running"           // the daemon runs and answers
	Frozen          Phase = "frozen"            // the daemon runs and makes no blocks any more
	Backoff         Phase = "backoff"           // the daemon ended and is started again after a while
	Stopping        Phase = "stopping"          // the daemon was asked to end
	Stopped         Phase = "stopped"           // no daemon; findings say why unless the supervisor was told to
)

// Report is what the supervisor last saw: node.report.json. It is about now only while Supervisor is alive.
type Report struct {
	Supervisor process.Identity `json:"supervisor"`
	Phase      Phase            `json:"phase"`
	Since      time.Time        `json:"since"` // of Phase

	Daemon      process.Identity `json:"daemon,omitzero"` // zero: none runs
	DaemonSince time.Time        `json:"daemon_since,omitzero"`
	Binary      string           `json:"binary,omitempty"` // resolved path of what runs
	Adopted     bool             `json:"adopted"`          // an earlier supervisor started it
	// Revision is of the Spec that the daemon follows; Core and RestartToken are of the one that it was started with.
	Revision     string `json:"revision,omitempty"`
	Core         string `json:"core,omitempty"`
	RestartToken uint64 `json:"restart_token,omitempty"`

	Restarts int              `json:"restarts"` // starts by this supervisor after its first daemon
	LastExit *LastExit        `json:"last_exit,omitempty"`
	Height   int64            `json:"height,omitempty"` // may lag by some seconds
	Findings []health.Finding `json:"findings,omitempty"`
}

// LastExit is how the daemon before ended.
type LastExit struct {
	process.Exit
	At    time.Time `json:"at"`
	Words string    `json:"words"` // for people
}

// ReadReport reads node.report.json of the host folder dir.
func ReadReport(dir string) (Report, error) {
	path := filepath.Join(dir, ReportFile)
	b, err := atomicfile.Read(path, maxReport)
	if err != nil {
		return Report{}, fmt.Errorf("read node report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("read node report %q: %w", path, err)
	}
	return r, nil
}

// reporter keeps the report and its file. Only the supervisor's own goroutine uses it.
type reporter struct {
	dir      string
	log      *slog.Logger
	now      Report
	written  Report
	at       time.Time
	findings map[string][]health.Finding // by what they are about, so that each part replaces only its own
}

func newReporter(dir string, log *slog.Logger) (*reporter, error) {
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	return &reporter{
		dir: dir, log: log, now: Report{Supervisor: self, Since: time.Now().UTC()},
		findings: map[string][]health.Finding{},
	}, nil
}

// phase changes the phase and writes the report.
func (r *reporter) phase(p Phase) {
	if r.now.Phase != p {
		r.log.Info("phase changed", "from", r.now.Phase, "to", p)
		r.now.Phase, r.now.Since = p, time.Now().UTC()
	}
	r.flush()
}

// find replaces the findings about one thing. One that was there before keeps the time it was first seen.
func (r *reporter) find(about string, found ...health.Finding) {
	old := r.findings[about]
	for i := range found {
		same := slices.IndexFunc(old, func(f health.Finding) bool {
			return f.Code == found[i].Code && f.Subject == found[i].Subject
		})
		if same >= 0 {
			found[i].Since = old[same].Since
			continue
		}
		if found[i].Since.IsZero() {
			found[i].Since = time.Now().UTC()
		}
		r.log.Warn("found", "code", found[i].Code, "subject", found[i].Subject, "message", found[i].Message)
	}
	r.findings[about] = found
}

// flush writes the report if it says something new.
func (r *reporter) flush() {
	r.now.Findings = nil
	for _, f := range r.findings {
		r.now.Findings = append(r.now.Findings, f...)
	}
	slices.SortFunc(r.now.Findings, func(a, b health.Finding) int { return a.Since.Compare(b.Since) })
	health.Sort(r.now.Findings)
	if reflect.DeepEqual(r.now, r.written) {
		return
	}
	only := r.written
	only.Height = r.now.Height
	if r.written.Height != 0 && reflect.DeepEqual(r.now, only) && time.Since(r.at) < heightEvery {
		return
	}
	b, err := json.MarshalIndent(r.now, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(r.dir, ReportFile), append(b, '\n'))
	}
	if err != nil {
		r.log.Error("report not written", "err", err) // the disk may be full; the daemon comes first
		return
	}
	r.written, r.at = r.now, time.Now()
}
