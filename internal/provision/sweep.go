package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/pressenter/pressenter/tofu"
)

// Sweep asks the clouds what carries the deployment's id, which needs no state. What a cloud does not list by a label is
// not in it: see [tofu.Cloud.Journalled].
func (w *Workspace) Sweep(ctx context.Context, id string) ([]tofu.Found, error) {
	files, err := tofu.Sweep(id, union(w.Clouds, w.kept))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	var o struct {
		Found struct {
			Value map[string][]struct{ Type, ID, Name, Host string } `json:"value"`
		} `json:"found"`
	}
	if err := w.lookAround(ctx, "sweep", files, &o); err != nil {
		return nil, fmt.Errorf("ask the clouds what carries the deployment's id: %w", err)
	}
	var found []tofu.Found
	for _, cloud := range slices.Sorted(maps.Keys(o.Found.Value)) {
		for _, f := range o.Found.Value[cloud] {
			found = append(found, tofu.Found{Cloud: cloud, Type: f.Type, ID: f.ID, Name: f.Name, Host: f.Host})
		}
	}
	return found, nil
}

// sweeps are the types that a sweep finds.
func (w *Workspace) sweeps() map[string]bool {
	swept := map[string]bool{}
	for _, name := range union(w.Clouds, w.kept) {
		if c, ok := tofu.Lookup(name); ok {
			for _, t := range c.Swept {
				swept[t] = true
			}
		}
	}
	return swept
}

// lookAround runs a configuration that only looks, in a folder of its own, and reads its outputs.
func (w *Workspace) lookAround(ctx context.Context, folder string, files map[string][]byte, into any) error {
	look := *w
	look.Dir = w.path(folder)
	if err := os.RemoveAll(look.path(stateFile)); err != nil { // so that nothing remains of the last look
		return err
	}
	if err := look.prepareFiles(ctx, files); err != nil {
		return err
	}
	err := look.ready(ctx, files, func() error {
		_, err := look.ask(ctx, "apply", "-input=false", "-auto-approve", "-no-color")
		return err
	})
	if err != nil {
		return err
	}
	out, err := look.ask(ctx, "output", "-json")
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}
