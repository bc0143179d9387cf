package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/tofu"
)

// run is one apply, as the workspace remembers it: runs/NUMBER/run.json, beside stream.jsonl, which the tool writes.
type run struct {
	Spec    tofu.Spec        `json:"spec"`
	Begun   time.Time        `json:"begun"`
	Process process.Identity `json:"process"` // zero: it was about to be started
	// Settled: whatever it made is in the state.
	Settled bool `json:"settled"`

	dir string
}

const (
	runsFolder = "runs"
	runFile    = "run.json"
	streamFile = "stream.jsonl"
	planFile   = "plan.bin"
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

// begin notes a run before anything of it can happen.
func (w *Workspace) begin(spec tofu.Spec) (*run, error) {
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
	r := &run{Spec: spec, Begun: time.Now().UTC(), dir: w.path(runsFolder, fmt.Sprintf("%06d", n))}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	return r, r.save()
}

// apply runs the tool on a plan. It returns once the tool has ended, however long that takes: ctx interrupts the tool
// once, which makes it finish what it is doing and write its state. To kill it would lose what it made.
func (w *Workspace) apply(ctx context.Context, spec tofu.Spec, plan string) error {
	env, err := w.environment()
	if err != nil {
		return err
	}
	r, err := w.begin(spec)
	if err != nil {
		return fmt.Errorf("note what is about to be done: %w", err)
	}
	child, err := process.Start(process.Spec{
		Path: w.Tool.Path, Args: []string{"apply", "-input=false", "-json", plan}, Dir: w.Dir, Env: env,
		LogPath: filepath.Join(r.dir, streamFile),
	})
	if err != nil {
		return err
	}
	r.Process = child.Identity
	if err := r.save(); err != nil { // the tool goes on: say so, and wait for it all the same
		w.tell(Event{Message: fmt.Sprintf("the run could not be noted: %v", err), Severity: "warning"})
	}
	exit := make(chan process.Exit, 1)
	go func() { exit <- child.Wait() }()
	return w.follow(ctx, r, exit)
}

// errEnded is what follow returns for the run of another process, of which nobody can tell how it ended.
var errEnded = errors.New("it ended")

// follow passes on what a run says until it has ended.
func (w *Workspace) follow(ctx context.Context, r *run, exit <-chan process.Exit) error {
	s := &stream{path: filepath.Join(r.dir, streamFile)}
	defer s.close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	asked := ctx.Done()
	var ended *process.Exit
	var failed []string
	for {
		events, err := s.more()
		if err != nil {
			w.tell(Event{Message: err.Error(), Severity: "warning"})
		}
		for _, e := range events {
			if e.Severity == "error" {
				failed = append(failed, e.Message)
			}
			w.tell(e)
		}
		if ended != nil {
			return w.outcome(ctx, *ended, failed)
		}
		select {
		case e := <-exit:
			ended = &e
		case <-asked:
			asked = nil
			w.tell(Event{Message: "interrupting: what is under way is finished first, so that nothing is lost"})
			if err := r.Process.Signal(syscall.SIGINT); err != nil {
				w.tell(Event{Message: fmt.Sprintf("it could not be interrupted: %v", err), Severity: "warning"})
			}
		case <-tick.C:
			if exit == nil && !r.Process.Alive() {
				ended = &process.Exit{}
			}
		}
	}
}

func (w *Workspace) outcome(ctx context.Context, exit process.Exit, failed []string) error {
	if exit.Code == 0 && len(failed) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w; what was made is known", ctx.Err())
	}
	f := &Failure{Tool: w.Tool.Name, Command: "apply", Code: exit.Code, Words: failed}
	if len(failed) == 0 {
		f.Words = []string{exit.String()}
	}
	f.hint = advice(f.Error())
	return f
}

// stream reads a journal while it grows.
type stream struct {
	path string
	file *os.File
	rest []byte
}

func (s *stream) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// more returns the events that came since the last call, durably on disk.
func (s *stream) more() ([]Event, error) {
	if s.file == nil {
		f, err := os.Open(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	b, err := io.ReadAll(s.file)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	if err := s.file.Sync(); err != nil { // what was bought is not to be lost with the power
		return nil, fmt.Errorf("keep the journal: %w", err)
	}
	s.rest = append(s.rest, b...)
	var out []Event
	for {
		l, rest, whole := bytes.Cut(s.rest, []byte{'\n'})
		if !whole {
			if len(s.rest) > maxLine {
				s.rest = nil
			}
			return out, nil
		}
		s.rest = rest
		e, known, err := parse(l)
		if err != nil {
			return out, err
		}
		if known {
			out = append(out, e)
		}
	}
}
