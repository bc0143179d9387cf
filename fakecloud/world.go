package fakecloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// world is all that the clouds hold, of every provider that uses the same folder.
type world struct {
	Next    int64                        `json:"next"`             // the last number given to an object
	Objects map[string]map[string]*entry `json:"objects"`          // by resource type, then by id
	Used    map[string]int               `json:"used,omitempty"`   // how often each fault was asked about
	Pushed  map[string]string            `json:"pushed,omitempty"` // what the hook was told last
}

// entry is one object of the cloud.
type entry struct {
	Values object `json:"values"`
	// Before are the values before the last update: what a stale read answers.
	Before object `json:"before,omitempty"`
	// Secret is what the cloud was given and never shows: the user data whose hash the values have.
	Secret object `json:"secret,omitempty"`
}

// Call is one line of the journal: one call of a cloud's API.
type Call struct {
	Time  time.Time `json:"time"`
	Cloud string    `json:"cloud"`
	Op    string    `json:"op"` // create, read, update, delete, import, list
	Type  string    `json:"type"`
	ID    string    `json:"id,omitempty"`
	Name  string    `json:"name,omitempty"`
	Error string    `json:"error,omitempty"`
}

// store is the folder of the world: cloud.json under the flock of the file lock, journal.jsonl, and faults.json, which
// tests write.
type store struct{ dir string }

func (s store) path(name string) string { return filepath.Join(s.dir, name) }

// locked runs f while nobody else, in no other process either, holds the lock of that name.
func (s store) locked(name string, f func() error) error {
	lock, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock of the cloud: %w", err)
	}
	defer lock.Close() // nothing was written
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock the cloud: %w", err)
	}
	return f()
}

// with loads the world, lets f change it, and writes it back where f has no error.
func (s store) with(f func(*world) error) error {
	return s.locked("lock", func() error {
		w, err := s.load()
		if err != nil {
			return err
		}
		if err := f(w); err != nil {
			return err
		}
		return s.save(w)
	})
}

func (s store) load() (*world, error) {
	w := &world{Next: 1000, Objects: map[string]map[string]*entry{}, Used: map[string]int{}, Pushed: map[string]string{}}
	raw, err := os.ReadFile(s.path("cloud.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, w)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cloud: %w", err)
	}
	return w, nil
}

// save replaces the file in one step: a provider that is killed meanwhile leaves the old world or the new one.
func (s store) save(w *world) error {
	raw, err := json.MarshalIndent(w, "", " ")
	if err != nil {
		return fmt.Errorf("write the cloud: %w", err)
	}
	if err := os.WriteFile(s.path("cloud.json.new"), raw, 0o600); err != nil {
		return fmt.Errorf("write the cloud: %w", err)
	}
	return os.Rename(s.path("cloud.json.new"), s.path("cloud.json"))
}

// note appends one call to the journal, in one write, so that lines of several processes do not mix.
func (s store) note(c Call) error {
	c.Time = time.Now().UTC()
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path("journal.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer f.Close() // the write tells
	_, err = f.Write(append(line, '\n'))
	return err
}

// Journal reads the calls of all clouds whose folder is dir, the oldest first.
func Journal(dir string) ([]Call, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var calls []Call
	for d := json.NewDecoder(bytes.NewReader(raw)); d.More(); {
		var c Call
		if err := d.Decode(&c); err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// Remaining names what the clouds of dir still hold, as type/id, in order.
func Remaining(dir string) ([]string, error) {
	w, err := store{dir}.load()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, typ := range slices.Sorted(maps.Keys(w.Objects)) {
		for _, id := range slices.Sorted(maps.Keys(w.Objects[typ])) {
			out = append(out, typ+"/"+id)
		}
	}
	return out, nil
}

func (w *world) put(typ, id string, e *entry) {
	if w.Objects[typ] == nil {
		w.Objects[typ] = map[string]*entry{}
	}
	w.Objects[typ][id] = e
}

func (w *world) drop(typ, id string) {
	delete(w.Objects[typ], id)
	if len(w.Objects[typ]) == 0 {
		delete(w.Objects, typ)
	}
}

// all are the objects of a type, in the order of their ids.
func (w *world) all(typ string) []object {
	var out []object
	for _, id := range slices.Sorted(maps.Keys(w.Objects[typ])) {
		out = append(out, w.Objects[typ][id].Values)
	}
	return out
}

// get is the object of a type with that id; nil where there is none.
func (w *world) get(typ string, id any) object {
	if e := w.Objects[typ][text(id)]; e != nil {
		return e.Values
	}
	return nil
}

// next is a number that no object of this world has.
func (w *world) next() int64 {
	w.Next++
	return w.Next
}
