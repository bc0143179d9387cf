package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/process"
)

// lowRoom is the free space below which a run is asked to end: what is under way is finished and noted, nothing new begun.
const lowRoom = 1 << 20

// follow passes on what a run says until it has ended. With exit it is our own child, and ctx interrupts it; without, it is
// the child of a process that is gone, and ctx only ends the waiting.
func (w *Workspace) follow(ctx context.Context, r *run, exit <-chan process.Exit) error {
	s := &stream{path: filepath.Join(r.dir, streamFile)}
	defer s.close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	asked, interrupted := ctx.Done(), false
	interrupt := func(why string) {
		if interrupted {
			return
		}
		interrupted = true
		if err := r.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, process.ErrGone) {
			w.warn("it could not be interrupted: %v", err)
		}
		w.tell(Event{At: time.Now(), Message: why + ": what is under way is finished first, so that nothing is lost"})
	}
	var ended *process.Exit
	var failed []string
	for {
		events, err := s.more()
		if err != nil {
			w.warn("%v", err)
		}
		for _, e := range events {
			if e.Severity == "error" {
				failed = append(failed, e.Message)
			}
			w.tell(e)
		}
		if ended != nil {
			return w.outcome(ctx, *ended, append(failed, s.odd...))
		}
		select {
		case e := <-exit:
			ended = &e
		case <-asked:
			if exit == nil {
				return fmt.Errorf("wait for an earlier run, which goes on as process %d: %w", r.Process.PID, ctx.Err())
			}
			asked = nil
			interrupt("interrupting")
		case <-tick.C:
			if exit == nil && !r.Process.Alive() {
				ended = &process.Exit{}
			}
			if free, err := room(w.Dir); err == nil && free < lowRoom {
				interrupt("the disk is full, interrupting")
			}
		}
	}
}

// outcome is how a run ended. What the tool said beside its events counts only if there is no other word.
func (w *Workspace) outcome(ctx context.Context, exit process.Exit, words []string) error {
	if exit.Code == 0 && len(words) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w; what was made is known", ctx.Err())
	}
	f := &Failure{Tool: w.Tool.Name, Command: "apply", Code: exit.Code, Words: words}
	if exit.Signal != "" {
		f.Words = append([]string{exit.String()}, words...)
	}
	f.hint = advice(f.Error())
	return f
}

// stream reads a journal while it grows.
type stream struct {
	path string
	file *os.File
	rest []byte
	odd  []string // the last of what the tool said that is no event: of its own end
}

func (s *stream) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// more returns the events that came since the last call, durably on disk. A line that cannot be understood does not keep
// the others from being read; the first such error is returned with them.
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
	var problem error
	if err := s.file.Sync(); err != nil { // what was bought is not to be lost with the power
		problem = fmt.Errorf("keep the journal: %w", err)
	}
	s.rest = append(s.rest, b...)
	var out []Event
	for {
		l, rest, whole := bytes.Cut(s.rest, []byte{'\n'})
		if !whole {
			if len(s.rest) > maxLine {
				s.rest = nil
			}
			return out, problem
		}
		s.rest = rest
		e, known, err := parse(l)
		switch {
		case err != nil && problem == nil:
			problem = err
		case known:
			out = append(out, e)
		case !bytes.HasPrefix(bytes.TrimSpace(l), []byte{'{'}):
			s.say(string(l))
		}
	}
}

func (s *stream) say(text string) {
	if text = strings.TrimSpace(text); text != "" && len(s.odd) < 5 {
		s.odd = append(s.odd, plainly(text))
	}
}
