package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// state is what the tool's state knows: the ids of resources by their addresses.
type state map[string]string

// readState asks for the state as it is kept, which needs no provider: format version 4, of OpenTofu and Terraform alike.
func (w *Workspace) readState(ctx context.Context) (state, error) {
	if !w.has(mainFile) && !w.has(stateFile) {
		return nil, nil
	}
	out, err := w.ask(ctx, "state", "pull")
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	s, err := parseState(out)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	return s, nil
}

// deposedMark is in the address of what was to be destroyed after its replacement was made, and was not.
const deposedMark = " (deposed "

// deposed is what the state still has beside what replaced it, in words.
func (s state) deposed() []string {
	var out []string
	for address, id := range s {
		if strings.Contains(address, deposedMark) {
			out = append(out, address+" with the id "+id)
		}
	}
	slices.Sort(out)
	return out
}

func parseState(b []byte) (state, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return state{}, nil
	}
	var raw struct {
		Version   int `json:"version"`
		Resources []struct {
			Module, Mode, Type, Name string
			Instances                []struct {
				Key        any              `json:"index_key"`
				Deposed    string           `json:"deposed"`
				Attributes struct{ ID any } `json:"attributes"`
			}
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	if raw.Version != 4 {
		return nil, fmt.Errorf("its format is %d, and only 4 is understood", raw.Version)
	}
	s := state{}
	for _, r := range raw.Resources {
		if r.Mode != "managed" {
			continue
		}
		for _, i := range r.Instances {
			address := strings.TrimPrefix(r.Module+"."+r.Type+"."+r.Name, ".")
			switch key := i.Key.(type) {
			case string:
				address += fmt.Sprintf("[%q]", key)
			case json.Number:
				address += fmt.Sprintf("[%s]", key)
			}
			if i.Deposed != "" {
				address += deposedMark + i.Deposed + ")"
			}
			s[address] = fmt.Sprint(i.Attributes.ID)
		}
	}
	return s, nil
}

// beforeFile is the state as it was before a run, in the run's folder: the tool writes its state in place, so a crash of
// the tool in the middle of that, or a full disk, leaves half of it or nothing.
const beforeFile = "before.tfstate"

// keepState copies the state into the folder of a run that is about to begin.
func (w *Workspace) keepState(r *run) error {
	b, err := os.ReadFile(w.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(r.dir, beforeFile), b, 0o600)
}

// dropStates removes the copies of settled runs: nothing is ever taken from them, and Terraform's are plain text.
func dropStates(all []*run) error {
	for _, r := range all {
		if err := os.Remove(filepath.Join(r.dir, beforeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the state from before a run: %w", err)
		}
	}
	return nil
}

// mend puts back the state from before the earliest open run, if what there is was cut off. What was made since then is
// in the journals.
func (w *Workspace) mend(open []*run) error {
	b, err := os.ReadFile(w.path(stateFile))
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	if json.Valid(b) || missing && len(open) == 0 {
		return nil
	}
	if len(open) == 0 && w.empty() { // all of it is found again
		return os.Remove(w.path(stateFile))
	}
	if len(open) == 0 {
		return fmt.Errorf("the state %q is not whole, and no run was cut off", w.path(stateFile))
	}
	before, err := os.ReadFile(filepath.Join(open[len(open)-1].dir, beforeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) && missing:
		return nil
	case errors.Is(err, fs.ErrNotExist): // there was none
		w.warn("the state was cut off while it was written first: it is made again from the journal")
		return os.Remove(w.path(stateFile))
	case err != nil:
		return err
	}
	w.warn("the state was cut off while it was written: it is taken from before that run, and what came since from the journal")
	return atomicfile.Write(w.path(stateFile), before, 0o600)
}

// version is which state a file has, as it stands there in plain text even if the rest is encrypted.
type version struct {
	Lineage string `json:"lineage"`
	Serial  int64  `json:"serial"`
}

// newest is the version of the state that is known to know everything; nil if no run noted one.
func newest(all []*run) *version {
	for _, r := range slices.Backward(all) {
		if r.State != nil {
			return r.State
		}
	}
	return nil
}

// version is that of the state; nil if there is none, or not a whole one.
func (w *Workspace) version() *version {
	b, err := os.ReadFile(w.path(stateFile))
	var v version
	if err != nil || json.Unmarshal(b, &v) != nil {
		return nil
	}
	return &v
}

// gone says that the state is not the one that there should be: there is none, nothing is in the file, or it is an older one or
// another's, brought back from a copy.
func (w *Workspace) gone(all []*run) bool {
	if len(all) == 0 || all[len(all)-1].Spec.Backend != nil {
		return false
	}
	if w.empty() {
		return all[len(all)-1].Settled
	}
	noted, is := newest(all), w.version()
	return noted != nil && is != nil && (is.Lineage != noted.Lineage || is.Serial < noted.Serial)
}

// unnoted says that no run noted which state knows everything: they are of an earlier version of this program. Then only the
// journals of all of them tell whether the state is an older one.
func unnoted(all []*run) bool {
	return len(all) > 0 && newest(all) == nil && all[len(all)-1].Spec.Backend == nil
}

// empty says that there is no state, or nothing in its file.
func (w *Workspace) empty() bool {
	b, err := os.ReadFile(w.path(stateFile))
	return errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(b)) == 0
}

// pushErrored takes in the state that the tool could not write where it belongs and left beside. OpenTofu leaves it encrypted
// and pushes only what is not, so it is pulled from a folder of its own first; in between it is in no file.
func (w *Workspace) pushErrored(ctx context.Context) error {
	const left = "errored.tfstate"
	b, err := os.ReadFile(w.path(left))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !json.Valid(b) { // that disk was full as well
		w.warn("%q is not whole: what was made is taken from the journal", w.path(left))
		return os.Remove(w.path(left))
	}
	aside := *w
	aside.Dir = w.path("errored")
	if err := os.MkdirAll(aside.Dir, 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(aside.path(stateFile), b, 0o600); err != nil {
		return err
	}
	plain, err := aside.ask(ctx, "state", "pull")
	if err == nil {
		_, err = w.run(ctx, command{args: []string{"state", "push", "-"}, in: plain})
	}
	if err != nil {
		return fmt.Errorf("take in the state %q that an earlier run could not write: %w", w.path(left), err)
	}
	return errors.Join(os.Remove(w.path(left)), os.RemoveAll(aside.Dir))
}
