package meshrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// filterEvery is how often the kernel's packet filter is looked at. Who empties it means another part of it more often
// than ours: a restart of nftables.service empties all there is.
const filterEvery = 15 * time.Second

// watchFilter loads the packet filter again when somebody else changed or emptied it.
func (r *running) watchFilter(ctx context.Context) error {
	if !r.rules.enabled {
		return nil
	}
	t := time.NewTicker(filterEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		r.obeying.Lock()
		changed, err := r.rules.restore(ctx)
		r.obeying.Unlock()
		if err != nil && ctx.Err() == nil {
			r.troubles.note("packet filter", err)
		}
		if changed {
			r.troubles.note("changed packet filter", fmt.Errorf(
				"the packet filter was changed or emptied by something else, and loaded again at %s", time.Now().UTC().Format(time.RFC3339)))
		}
	}
}

// restore loads what was loaded last if the kernel has something else.
func (f *rules) restore(ctx context.Context) (changed bool, err error) {
	if f.loaded == "" || f.lister == nil {
		return false, nil // load is about to
	}
	now, err := f.lister(ctx, f.loaded)
	if err != nil {
		return false, err
	}
	if now == f.listed {
		return false, nil
	}
	if err := f.loader(ctx, f.loaded); err != nil {
		return false, fmt.Errorf("%w: %w", errFilter, err)
	}
	f.listed, err = f.lister(ctx, f.loaded)
	return true, err
}

// listRules returns what the kernel has of the tables in text, without what packets change. It is empty where one of them
// is not there. Nft 1.0.6 finds the last table only if it is asked for several at once.
func listRules(ctx context.Context, text string) (string, error) {
	var all strings.Builder
	for line := range strings.Lines(text) {
		name, ok := strings.CutSuffix(line, " {\n")
		if !ok || !strings.HasPrefix(name, "table ") {
			continue
		}
		out, err := runNFT(ctx, nftPaths, "list "+name+"\n", "--stateless", "--terse", "-f", "-")
		if errors.As(err, new(*nftError)) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		all.WriteString(out)
	}
	return all.String(), nil
}
