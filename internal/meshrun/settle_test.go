package meshrun

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// stubborn is a driver that changes its key only after some refusals.
type stubborn struct {
	driver
	refuses int32
	asked   atomic.Int32
}

func (s *stubborn) rekey(tunnel.Key) error {
	if s.asked.Add(1) <= s.refuses {
		return errors.New("the tunnel is busy")
	}
	return nil
}

// A packet filter that cannot be loaded, and a key that cannot be changed, are tried again until it works, less and less
// often; the status says so meanwhile.
func TestWhatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(dir, Folder), 0o700))
		keys, err := BearNext(dir, roster.MeshWireGuard)
		must(t, err)
		old, err := readKey(tunnelKey(dir, roster.MeshWireGuard))
		must(t, err)
		self := roster.Member{Name: "s1", Role: roster.RoleSentry, Identity: roster.Key{1}, Since: 1, Mesh: roster.Mesh{Key: keys.Next, Next: keys.Tunnel, TLS: keys.TLS}}
		list := roster.New("lab", nil, roster.Chain{ID: "lab-1"})
		list.MeshDriver, list.Members = roster.MeshWireGuard, []roster.Member{self}

		driver := &stubborn{refuses: 20}
		var loads atomic.Int32
		r := &running{
			Process: &Process{Dir: dir, Logger: slog.New(slog.DiscardHandler)}, spec: Spec{Identity: self.Identity, Driver: roster.MeshWireGuard},
			driver: driver, troubles: troubles{logger: slog.New(slog.DiscardHandler)}, again: make(chan struct{}, 1),
			rules: &rules{enabled: true, iface: "pressenter", loader: func(context.Context, string) error {
				if loads.Add(1) <= 5 {
					return errors.New("nft: no such table")
				}
				return nil
			}},
		}
		r.key.Store(&old)
		r.members.Store(membersOf(list))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.settleAgain(ctx) }()
		if r.settle(ctx) {
			t.Fatal("it is said to be done")
		}
		r.again <- struct{}{}
		notes := func() string {
			synctest.Wait()
			return strings.Join(r.troubles.list(), "\n")
		}
		if n := notes(); !strings.Contains(n, "no such table") || !strings.Contains(n, "the tunnel is busy") {
			t.Errorf("notes %q", n)
		}
		time.Sleep(time.Minute)
		if n := notes(); strings.Contains(n, "no such table") || !strings.Contains(n, "the tunnel is busy") || loads.Load() != 6 {
			t.Errorf("after a minute: notes %q, %d loads", n, loads.Load())
		}
		if driver.asked.Load() < 6 || driver.asked.Load() > 12 {
			t.Errorf("the key was tried %d times in a minute", driver.asked.Load())
		}
		time.Sleep(5 * time.Minute)
		now, err := readKey(tunnelKey(dir, roster.MeshWireGuard))
		if n := notes(); n != "" || driver.asked.Load() != driver.refuses+1 || err != nil || *r.key.Load() != now || now == old {
			t.Errorf("in the end: notes %q, %d tries, %v", n, driver.asked.Load(), err)
		}
		cancel()
		must(t, <-done)
	})
}

// squatted is a driver whose port is somebody else's for some tries, and that complains of it each time.
type squatted struct {
	driver
	tries []time.Time
	free  int
}

func (s *squatted) open(_ context.Context, p *Process, _ Spec, _ tunnel.Key) (device, error) {
	p.Logger.Warn("cannot bind")
	if s.tries = append(s.tries, time.Now()); len(s.tries) > s.free {
		return nil, os.ErrPermission
	}
	return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
}

// A port that stays taken costs a try now and then, and no line in the log for each.
func TestTakenPortIsTriedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		dir := t.TempDir()
		_, err := BearKeys(dir, roster.MeshWireGuard)
		must(t, err)
		driver := &squatted{free: 240}
		logger := slog.New(slog.NewTextHandler(&log, nil))
		r := &running{
			Process: &Process{Dir: dir, Logger: logger}, spec: Spec{Listen: "127.0.0.1:0"}, driver: driver, troubles: troubles{logger: logger},
		}
		r.key.Store(&tunnel.Key{1})
		began := time.Now()
		if err := r.await(t.Context()); !errors.Is(err, os.ErrPermission) {
			t.Errorf("it ends with %v", err)
		}
		if took := time.Since(began); took < 50*time.Minute || took > 70*time.Minute {
			t.Errorf("%d tries took %s", len(driver.tries), took)
		}
		if first := driver.tries[3].Sub(began); first > 2*time.Second {
			t.Errorf("the fourth try comes after %s", first)
		}
		if n := strings.Count(log.String(), "\n"); n > 5 {
			t.Errorf("%d lines:\n%.1000s", n, log.String())
		}
	})
}
