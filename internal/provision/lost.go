package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// lostFile is there while a state that was lost is not yet found again.
const lostFile = "lost"

// Establish makes the folder of a workspace before anything is bought, so that its loss is seen.
func Establish(dir string) error { return os.MkdirAll(filepath.Join(dir, runsFolder), 0o700) }

// Blank says that there is neither a state nor a journal: nothing was ever made here, or all that was known is lost.
func (w *Workspace) Blank() bool { return !w.has(stateFile) && !w.has(runsFolder) }

// ID is the deployment's id by the journals, or else by the last configuration; "" if there is neither.
func (w *Workspace) ID() string {
	if all, err := w.runs(); err == nil && len(all) > 0 {
		return all[len(all)-1].Spec.ID
	}
	var values struct{ ID string }
	if b, err := os.ReadFile(w.path("terraform.tfvars.json")); err != nil || json.Unmarshal(b, &values) != nil {
		return ""
	}
	return values.ID
}

func (w *Workspace) markLost() error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(w.path(lostFile), []byte("The state was lost, and is being found again by the deployment's id.\n"), 0o600)
}

// found ends the search for a lost state.
func (w *Workspace) found() error {
	if err := os.Remove(w.path(lostFile)); err == nil {
		return Establish(w.Dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// searched says what a search for a lost state did not find of the machines that there may be: which have none at all, and,
// without journals, what their clouds do not list. The tool's own plan says what a machine has.
func (w *Workspace) searched(ctx context.Context, l *ledger, out *Recovery) error {
	if len(w.Former) == 0 {
		return nil
	}
	p, err := w.plan(ctx, l.spec)
	if err != nil {
		return err
	}
	all, err := w.runs()
	if err != nil {
		return err
	}
	for _, c := range p.Changes {
		host := hostOf(c.Address)
		if _, former := w.Former[host]; !former || c.Action != Create || w.held[c.Address] != "" {
			continue
		}
		if c.Kind == Server && !unlisted(c.Address) {
			out.Missing = append(out.Missing, host)
		}
		if !unlisted(c.Address) || len(all) > 0 {
			continue
		}
		words := fmt.Sprintf("%s: %s cannot be asked for it, and the journal is gone; it would be called %s", c.Address, c.Cloud, l.nameOf(c.Address))
		out.Unknown = append(out.Unknown, words)
		if costs(c.Type) {
			w.held[c.Address] = words
		}
	}
	slices.Sort(out.Missing)
	return nil
}

// Doubt says that something may be there already that a plan would make.
type Doubt struct{ Words []string }

// Error implements error.
func (d *Doubt) Error() string {
	return "what may be there already would be bought again: " + strings.Join(d.Words, "; ")
}

// Hint says what to do.
func (d *Doubt) Hint() string {
	return "look for it in the cloud's console, and delete there what is too much; then run the command again with --looked"
}

// doubt refuses a plan that makes what may be there.
func (w *Workspace) doubt(p *Plan) error {
	words := map[string]bool{}
	for _, c := range p.Changes {
		if held := w.held[c.Address]; held != "" && (c.Action == Create || c.Action == Replace) {
			words[held] = true
		}
	}
	if len(words) == 0 {
		return nil
	}
	return &Doubt{slices.Sorted(maps.Keys(words))}
}

// Left asks the clouds what still carries the deployment's id, in words.
func (w *Workspace) Left(ctx context.Context, id string) ([]string, error) {
	found, err := w.Sweep(ctx, id)
	var words []string
	for _, f := range found {
		words = append(words, fmt.Sprintf("%s %s (%s) at %s", f.Type, f.ID, f.Name, f.Cloud))
	}
	return words, err
}
