package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/tofu"
)

// run is one apply, as the workspace remembers it: runs/NUMBER/run.json, beside stream.jsonl, which the tool writes.
type run struct {
	Spec    tofu.Spec        `json:"spec"`
	Begun   time.Time        `json:"begun"`
	Process process.Identity `json:"process"` // zero: nothing was started
	// Settled: whatever it made is in the state.
	Settled bool `json:"settled"`
	// State is the one that was there when the runs were settled, of which this is the last; nil for others.
	State *version `json:"state,omitempty"`

	dir string
}

const (
	runsFolder = "runs"
	runFile    = "run.json"
	streamFile = "stream.jsonl"
)

func (r *run) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(r.dir, runFile), append(b, '\n'), 0o600)
}

// runs returns all runs, the oldest first.
func (w *Workspace) runs() ([]*run, error) {
	folders, err := filepath.Glob(w.path(runsFolder, "*", runFile))
	if err != nil {
		return nil, err
	}
	slices.Sort(folders)
	out := make([]*run, 0, len(folders))
	for _, f := range folders {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		r := &run{dir: filepath.Dir(f)}
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("read %q: %w", f, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// begin notes a run before anything of it can happen, and sets room aside for its journal: nothing is bought that could
// not be noted.
func (w *Workspace) begin(p *Plan) (*run, error) {
	earlier, err := w.runs()
	if err != nil {
		return nil, err
	}
	n := 1
	if len(earlier) > 0 {
		if _, err := fmt.Sscanf(filepath.Base(earlier[len(earlier)-1].dir), "%d", &n); err != nil {
			return nil, err
		}
		n++
	}
	r := &run{Spec: p.Spec, Begun: time.Now().UTC(), dir: w.path(runsFolder, fmt.Sprintf("%06d", n))}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	if err := reserve(filepath.Join(r.dir, streamFile), roomFor(p)); err != nil {
		return nil, err
	}
	if err := w.keepState(r); err != nil {
		return nil, err
	}
	w.recovered = false
	return r, r.save()
}

// roomFor is how much the journal of a plan may take: some lines for each change, and as many again that count seconds.
func roomFor(p *Plan) int64 { return 1<<20 + int64(len(p.Changes))*8<<10 }

// gate runs the tool as soon as a line comes on file descriptor 3, and never if that is closed without one.
const gate = `read -r go <&3 && exec "$@" 3<&-`

// apply runs the tool on a plan. It returns once the tool has ended, however long that takes: ctx interrupts the tool
// once, which makes it finish what it is doing and write its state. To kill it would lose what it made.
func (w *Workspace) apply(ctx context.Context, p *Plan) error {
	env, err := w.environment()
	if err != nil {
		return err
	}
	r, err := w.begin(p)
	if err != nil {
		return fmt.Errorf("note what is about to be done: %w", err)
	}
	held, opened, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(held.Close(), opened.Close()) }()
	child, err := process.Start(process.Spec{
		Path: "/bin/sh", Args: []string{"-c", gate, "sh", w.Tool.Path, "apply", "-input=false", "-json", "-lock-timeout=" + w.lockWait(), filepath.Base(p.file)},
		Dir: w.Dir, Env: env, LogPath: filepath.Join(r.dir, streamFile), ExtraFiles: []*os.File{held},
	})
	if err != nil {
		return err
	}
	exit := make(chan process.Exit, 1)
	go func() { exit <- child.Wait() }()
	r.Process = child.Identity
	if err := r.save(); err != nil { // it must be known who buys before anything is bought
		_ = opened.Close()
		<-exit
		return fmt.Errorf("note who is about to do it: %w", err)
	}
	if _, err := opened.WriteString("go\n"); err != nil {
		return errors.Join(err, opened.Close())
	}
	return w.follow(ctx, r, exit)
}

// settle notes that the state knows everything that was ever made. While something is unknown it does not, however well a
// later run ended.
func (w *Workspace) settle() error {
	if w.unknown {
		w.recovered = true
		return nil
	}
	all, err := w.runs()
	if err != nil {
		return err
	}
	is := w.version()
	for i, r := range all {
		last := i == len(all)-1 && is != nil && (r.State == nil || *r.State != *is)
		if r.Settled && !last {
			continue
		}
		r.Settled = true
		if last {
			r.State = is
		}
		if err := r.save(); err != nil {
			return err
		}
	}
	if err := dropStates(all); err != nil {
		return err
	}
	w.recovered = true
	return w.found()
}
