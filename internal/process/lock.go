package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const maxHolder = 64 << 10

// Holder is what the taker of a lock wrote about itself into the lock's file. It is a hint for people: the lock is what
// counts, and a file that says something about a process that is gone says nothing.
type Holder struct {
	Name    string          `json:"name"` // what it does, e.g. "pressenter apply"
	Process Identity        `json:"process"`
	Since   time.Time       `json:"since"`
	Note    json.RawMessage `json:"note,omitempty"` // whatever else the taker wants to leave
}

// Held is the error for a lock that somebody else has.
type Held struct {
	Path   string
	Holder Holder // zero when the holder left no word
}

// Error says who has the lock.
func (e *Held) Error() string {
	if e.Holder.Process.IsZero() {
		return fmt.Sprintf("lock %q: somebody else holds it", e.Path)
	}
	return fmt.Sprintf("lock %q: held by %s (process %d) since %s",
		e.Path, e.Holder.Name, e.Holder.Process.PID, e.Holder.Since.Format(time.RFC3339))
}

// Lock is a held flock(2). It lasts until Close and until every process that inherited File has ended.
type Lock struct{ f *os.File }

// TryLock takes the lock on the file at path, which is made if need be, and leaves name and our identity in it. If the
// lock is taken the error is a *Held.
func TryLock(path, name string) (*Lock, error) {
	self, err := Self()
	if err != nil {
		return nil, err
	}
	l, err := tryLock(path)
	if err != nil {
		return nil, err
	}
	if err := l.Record(Holder{Name: name, Process: self, Since: time.Now().UTC()}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// WaitLock takes the lock as soon as it is free. It asks again and again instead of sleeping in the kernel: a thread
// asleep in flock cannot be called back, and would take the lock long after its caller lost interest. What the last
// holder wrote stays in the file.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	var failed error
	err = poll(ctx, func() bool {
		failed = flock(f)
		return !errors.Is(failed, unix.EWOULDBLOCK)
	})
	if err = errors.Join(failed, err); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("wait for lock %q: %w", path, err)
	}
	return &Lock{f: f}, nil
}

func tryLock(path string) (*Lock, error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if err == nil {
		return &Lock{f: f}, nil
	}
	defer func() { _ = f.Close() }()
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := readHolder(f) // no word from the holder is no error
		return nil, &Held{Path: filepath.Clean(path), Holder: holder}
	}
	return nil, fmt.Errorf("lock %q: %w", path, err)
}

func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return f, nil
}

// flock takes the lock, or returns EWOULDBLOCK.
func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Record replaces what the lock's file says about its holder.
func (l *Lock) Record(h Holder) error {
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write holder of lock %q: %w", l.f.Name(), err)
	}
	b = append(b, '\n')
	if _, err := l.f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write holder of lock: %w", err)
	}
	if err := l.f.Truncate(int64(len(b))); err != nil {
		return fmt.Errorf("write holder of lock: %w", err)
	}
	return nil
}

// File is the open file that carries the lock; a process that gets it in Spec.ExtraFiles holds the lock as well.
func (l *Lock) File() *os.File { return l.f }

// Close ends our hold. It never unlocks by itself: a child that inherited the file keeps the lock.
func (l *Lock) Close() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("close lock: %w", err)
	}
	return nil
}

// ReadHolder reads what the last taker left in the lock's file, without touching the lock.
func ReadHolder(path string) (Holder, error) {
	f, err := os.Open(path)
	if err != nil {
		return Holder{}, fmt.Errorf("read holder of lock: %w", err)
	}
	defer func() { _ = f.Close() }()
	return readHolder(f)
}

func readHolder(f *os.File) (Holder, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
	if err != nil {
		return Holder{}, fmt.Errorf("read holder of lock: %w", err)
	}
	var h Holder
	// A first value followed by the tail of a longer, older one is what a reader sees in the midst of Record.
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&h); err != nil {
		return Holder{}, fmt.Errorf("read holder of lock %q: %w", f.Name(), err)
	}
	return h, nil
}
