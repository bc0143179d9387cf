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

	"github.com/pressenter/pressenter/tofu"
)

// Recovery is what earlier runs left that the state does not know.
type Recovery struct {
	// Imports take into the state what was made.
	Imports []tofu.Import
	// Hosts are those of the imports, as they were wanted when they were made: to be imported they have to be in the
	// configuration, also if nobody wants them any more.
	Hosts map[string]tofu.Host
	// Unknown may exist: their making was begun, nobody saw its end, and their cloud cannot be asked for them.
	Unknown []string
}

// Empty says that the state knows everything.
func (r Recovery) Empty() bool { return len(r.Imports) == 0 && len(r.Unknown) == 0 }

// Recover finds what earlier runs made and the state does not know. A run that still goes on is waited for. With lost it
// asks the clouds in any case, since the state may be gone altogether.
func (w *Workspace) Recover(ctx context.Context, id string, lost bool) (Recovery, error) {
	open, err := w.unsettled(ctx)
	if err != nil || len(open) == 0 && !lost {
		return Recovery{}, err
	}
	if err := w.pushErrored(ctx); err != nil {
		return Recovery{}, err
	}
	known, err := w.stateIDs(ctx)
	if err != nil {
		return Recovery{}, err
	}
	made, begun := map[string]string{}, map[string]bool{}
	hosts := map[string]tofu.Host{}
	for _, r := range open {
		maps.Copy(hosts, r.Spec.Hosts)
		if err := replay(filepath.Join(r.dir, streamFile), made, begun); err != nil {
			return Recovery{}, fmt.Errorf("read the journal of an earlier run: %w", err)
		}
	}
	out := Recovery{Hosts: map[string]tofu.Host{}}
	add := func(address, id, host string) {
		if _, there := known[address]; there || slices.ContainsFunc(out.Imports, func(i tofu.Import) bool { return i.To == address }) {
			return
		}
		out.Imports = append(out.Imports, tofu.Import{To: address, ID: id})
		if h, ok := hosts[host]; ok {
			out.Hosts[host] = h
		}
	}
	for _, address := range slices.Sorted(maps.Keys(made)) {
		add(address, made[address], hostOf(address))
	}
	if len(begun) == 0 && !lost {
		return out, nil
	}
	found, asked, err := w.sweep(ctx, id)
	if err != nil {
		return out, err
	}
	for _, f := range found {
		if to := f.Address(); to != "" {
			add(to, f.ID, f.Host)
			delete(begun, to)
		}
	}
	for _, address := range slices.Sorted(maps.Keys(begun)) {
		if _, there := known[address]; !there && !asked(address) {
			out.Unknown = append(out.Unknown, address)
		}
	}
	return out, nil
}

// unsettled are the runs of which the state may not know everything, all of them ended.
func (w *Workspace) unsettled(ctx context.Context) ([]*run, error) {
	all, err := w.runs()
	if err != nil {
		return nil, err
	}
	open := slices.DeleteFunc(all, func(r *run) bool { return r.Settled })
	for _, r := range open {
		if !r.Process.IsZero() && r.Process.Alive() {
			w.tell(Event{Message: fmt.Sprintf("an earlier run goes on (process %d): waiting for its end", r.Process.PID)})
			if err := w.follow(ctx, r, nil); err != nil && ctx.Err() != nil {
				return nil, err
			}
		}
	}
	return open, nil
}

// settle notes that the state knows everything that was ever made.
func (w *Workspace) settle() error {
	all, err := w.runs()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Settled {
			continue
		}
		r.Settled = true
		if err := r.save(); err != nil {
			return err
		}
	}
	return nil
}

// replay reads what was made, with its id, and what was begun to be made and not seen to end.
func replay(path string, made map[string]string, begun map[string]bool) error {
	s := &stream{path: path}
	defer s.close()
	events, err := s.more()
	if err != nil {
		return err
	}
	for _, e := range events {
		switch {
		case e.Action == "create" && e.State == Started:
			begun[e.Address] = true
			delete(made, e.Address)
		case e.Action == "create" && e.State == Complete:
			delete(begun, e.Address)
			if e.IDValue != "" {
				made[e.Address] = e.IDValue
			}
		case e.Action == "create" && e.State == Errored: // the cloud may have made it all the same
			begun[e.Address] = true
		case e.Action == "delete" && e.State == Complete:
			delete(made, e.Address)
			delete(begun, e.Address)
		}
	}
	return nil
}

// hostOf is the key in an address, module.CLOUD.TYPE.NAME["HOST"].
func hostOf(address string) string {
	_, key, ok := strings.Cut(address, `["`)
	if !ok {
		return ""
	}
	host, _, _ := strings.Cut(key, `"]`)
	return host
}

// stateIDs are the resources that the state knows.
func (w *Workspace) stateIDs(ctx context.Context) (map[string]bool, error) {
	if _, err := os.Stat(w.path("main.tf.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	out, err := w.ask(ctx, "state", "list")
	var failed *Failure
	if errors.As(err, &failed) && strings.Contains(strings.ToLower(failed.Error()), "no state file was found") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	known := map[string]bool{}
	for l := range strings.Lines(string(out)) {
		known[strings.TrimSpace(l)] = true
	}
	return known, nil
}

// pushErrored takes in the state that the tool could not write where it belongs and left beside.
func (w *Workspace) pushErrored(ctx context.Context) error {
	left := w.path("errored.tfstate")
	if _, err := os.Stat(left); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := w.ask(ctx, "state", "push", left); err != nil {
		return fmt.Errorf("take in the state %q that an earlier run could not write: %w", left, err)
	}
	return os.Rename(left, left+".taken")
}

// sweep asks the clouds what carries the deployment's id. Asked says whether a resource would have been found.
func (w *Workspace) sweep(ctx context.Context, id string) (found []tofu.Found, asked func(address string) bool, err error) {
	swept := map[string]bool{}
	for _, name := range w.Clouds {
		if c, ok := tofu.Lookup(name); ok {
			for _, t := range c.Swept {
				swept[t] = true
			}
		}
	}
	asked = func(address string) bool {
		return slices.ContainsFunc(strings.Split(address, "."), func(part string) bool { return swept[part] })
	}
	files, err := tofu.Sweep(id, w.Clouds)
	if err != nil || len(files) == 0 {
		return nil, asked, err
	}
	out, err := w.lookAround(ctx, "sweep", files)
	if err != nil {
		return nil, asked, fmt.Errorf("ask the clouds what carries the deployment's id: %w", err)
	}
	var o struct {
		Found struct {
			Value map[string][]struct{ Type, ID, Name, Host string } `json:"value"`
		} `json:"found"`
	}
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, asked, err
	}
	for _, cloud := range slices.Sorted(maps.Keys(o.Found.Value)) {
		for _, f := range o.Found.Value[cloud] {
			found = append(found, tofu.Found{Cloud: cloud, Type: f.Type, ID: f.ID, Name: f.Name, Host: f.Host})
		}
	}
	return found, asked, nil
}

// lookAround runs a configuration that only looks, in a folder of its own, and returns its outputs.
func (w *Workspace) lookAround(ctx context.Context, name string, files map[string][]byte) ([]byte, error) {
	look := *w
	look.Dir = w.path(name)
	if err := os.RemoveAll(filepath.Join(look.Dir, "terraform.tfstate")); err != nil {
		return nil, err
	}
	if err := look.write(files); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"init", "-input=false", "-no-color"}, {"apply", "-input=false", "-auto-approve", "-no-color"}} {
		if _, err := look.ask(ctx, args...); err != nil {
			return nil, err
		}
	}
	return look.ask(ctx, "output", "-json")
}
