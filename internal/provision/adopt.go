package provision

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// adopt takes what is missing into the state, with the configuration by which it was made: so that each has its place.
func (w *Workspace) adopt(ctx context.Context, l *ledger, c *comparison, known state) ([]tofu.Import, error) {
	for _, address := range c.stale {
		if _, err := w.ask(ctx, "state", "rm", address); err != nil {
			return nil, fmt.Errorf("forget %s, which was destroyed: %w", address, err)
		}
	}
	if len(c.missing) == 0 {
		return nil, nil
	}
	at := func(address string) string { return cmp.Or(c.missing[address], known[address]) }
	var imports []tofu.Import
	for _, address := range slices.Sorted(maps.Keys(c.missing)) {
		l.invent(address)
		id := importID(address, c.missing[address], l.spec.Hosts[hostOf(address)], at)
		imports = append(imports, tofu.Import{To: address, ID: id})
	}
	w.kept = union(w.kept, l.spec.Keep)
	taken, err := w.importAll(ctx, l.spec, imports)
	if err != nil {
		return nil, fmt.Errorf("take into the state what it does not know: %w", err)
	}
	return taken, nil
}

// invent gives an address that no known host has one, so that it has a place in the configuration.
func (l *ledger) invent(address string) {
	cloud, _ := tofu.Lookup(cloudOf(address))
	l.spec.Keep = union(l.spec.Keep, []string{cloud.Name})
	h := tofu.Host{Cloud: cloud.Name, Role: tofu.RoleSentry, Region: cloud.Regions[0], Size: cloud.Sizes[tofu.RoleSentry], VolumeGB: 10}
	host := hostOf(address)
	switch kindOf(typeOf(address)) {
	case Network:
		return
	case Spread: // its key is GROUP-REGION, and wherever it is cut, both together are it again
		h.Group, h.Region, _ = strings.Cut(keyOf(address), "-")
		if l.spread(keyOf(address)) {
			return
		}
		host = fmt.Sprintf("group-%d", len(l.spec.Hosts))
	}
	if _, there := l.spec.Hosts[host]; !there {
		l.spec.Hosts[host] = h
	}
}

// spread says whether a host is in the group with that key.
func (l *ledger) spread(key string) bool {
	for _, h := range l.spec.Hosts {
		if h.Group+"-"+h.Region == key {
			return true
		}
	}
	return false
}

// importAll takes all in at once, if nothing else comes of that; otherwise one after the other, which only writes the state:
// what is to change is for a plan to show.
func (w *Workspace) importAll(ctx context.Context, spec tofu.Spec, imports []tofu.Import) ([]tofu.Import, error) {
	for range imports { // each turn drops at least one
		if len(imports) == 0 {
			return nil, nil
		}
		p, err := w.planImports(ctx, spec, imports)
		if lost := nonexistent(err); len(lost) > 0 {
			imports = w.without(imports, lost)
			continue
		}
		if err == nil && !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action != Import }) {
			_, err = w.ask(ctx, "apply", "-input=false", "-no-color", "-lock-timeout="+w.lockWait(), p.file)
			if err == nil || ctx.Err() != nil {
				return imports, err
			}
		}
		break
	}
	return w.importEach(ctx, spec, imports)
}

func (w *Workspace) planImports(ctx context.Context, spec tofu.Spec, imports []tofu.Import) (*Plan, error) {
	spec.Imports = imports
	var targets []string
	for _, i := range imports {
		targets = append(targets, "-target="+i.To)
	}
	return w.plan(ctx, spec, targets...)
}

func (w *Workspace) importEach(ctx context.Context, spec tofu.Spec, imports []tofu.Import) ([]tofu.Import, error) {
	spec.Imports = nil
	files, err := tofu.Root(spec)
	if err != nil {
		return nil, err
	}
	if err := w.prepareFiles(ctx, silent(files)); err != nil {
		return nil, err
	}
	var taken []tofu.Import
	known, err := w.readState(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range imports {
		if _, there := known[i.To]; there {
			taken = append(taken, i)
			continue
		}
		_, err := w.ask(ctx, "import", "-input=false", "-no-color", "-lock-timeout="+w.lockWait(), i.To, i.ID)
		if len(nonexistent(err)) > 0 {
			w.warn("%s (%s) is in a journal and is not in its cloud any more", i.To, i.ID)
			continue
		}
		if err != nil {
			return taken, err
		}
		taken = append(taken, i)
	}
	// An import does not note what depends on what. Without that, all would be destroyed at once.
	_, err = w.ask(ctx, "apply", "-refresh-only", "-auto-approve", "-input=false", "-no-color", "-lock-timeout="+w.lockWait())
	return taken, err
}

// silent is a configuration without outputs: they would ask for what is taken in only next.
func silent(files map[string][]byte) map[string][]byte {
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return path.Base(name) == "outputs.tf" })
	var main map[string]json.RawMessage
	if json.Unmarshal(files[mainFile], &main) == nil {
		delete(main, "output")
		files[mainFile], _ = json.Marshal(main) // it was read from JSON
	}
	return files
}

func (w *Workspace) without(imports []tofu.Import, lost []string) []tofu.Import {
	return slices.DeleteFunc(slices.Clone(imports), func(i tofu.Import) bool {
		if !slices.Contains(lost, i.To) {
			return false
		}
		w.warn("%s (%s) is in a journal and is not in its cloud any more", i.To, i.ID)
		return true
	})
}

var absent = regexp.MustCompile(`(?s)import an existing object to\s+"(\S+)"`)

// nonexistent are the addresses of which a failed import says that their cloud has no such thing.
func nonexistent(err error) []string {
	var failed *Failure
	if !errors.As(err, &failed) || !strings.Contains(failed.text, "Cannot import non-existent remote object") {
		return nil
	}
	var out []string
	for _, m := range absent.FindAllStringSubmatch(boxes.ReplaceAllString(failed.text, " "), -1) {
		out = append(out, strings.ReplaceAll(m[1], `\"`, `"`))
	}
	return out
}
