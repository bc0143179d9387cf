package meshrun

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// How long something that failed waits before it is tried again: doubled each time.
const (
	firstWait = 250 * time.Millisecond
	mostWait  = 15 * time.Second
)

// backoff is how often something was tried in vain.
type backoff struct{ next time.Duration }

// wait waits longer each time; false if ctx is done before.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(firstWait, 2*b.next), mostWait)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settle does what the roster wants and what can fail: it changes the tunnel key and loads the packet filter. What fails
// is told in the status, and keeps what was there before.
func (r *running) settle(ctx context.Context) (done bool) {
	key := r.takeKey()
	filter := r.rules.load(ctx, r.members.Load(), r.spec.Identity)
	r.troubles.note("next tunnel key", key)
	r.troubles.note("packet filter", filter)
	return key == nil && filter == nil
}

// settleAgain tries again what could not be done, until it is.
func (r *running) settleAgain(ctx context.Context) error {
	for {
		select {
		case <-r.again:
		case <-ctx.Done():
			return nil
		}
		done := false
		for b := (backoff{}); !done; {
			if !b.wait(ctx) {
				return nil
			}
			r.obeying.Lock()
			done = r.settle(ctx)
			r.obeying.Unlock()
		}
	}
}

// takeKey changes to the next tunnel key once the roster says that it is ours.
func (r *running) takeKey() error {
	self, ok := r.memberByID(r.spec.Identity)
	if !ok {
		return nil
	}
	next, err := readKey(filepath.Join(r.Dir, Folder, NextKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read next tunnel key: %w", err)
	}
	if k, err := public(r.spec.Driver, next); err != nil || self.Mesh.Key != k {
		return err
	}
	if next != *r.key.Load() {
		if err := r.driver.rekey(next); err != nil {
			return err
		}
		r.key.Store(&next)
	}
	if err := takeNext(r.Dir); err != nil {
		return fmt.Errorf("keep the tunnel key in use: %w", err)
	}
	r.Logger.Info("tunnel key changed", "key", tunnel.Key(self.Mesh.Key))
	return nil
}
