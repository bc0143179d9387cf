package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/takeover"
)

// silentFarm is a deployment whose validator's host is lost. The key is silent.
func silentFarm(t *testing.T) (*Session, *farm) {
	t.Helper()
	s, f := newFarm(t)
	s.Config.Practice.BlockTime = 8 * time.Millisecond
	must(t, s.Open())
	applies(t, s)
	v, _ := s.own.inventory.Host("validator")
	must(t, f.StopAgent(t.Context(), v))
	must(t, os.RemoveAll(v.Folder))
	f.missed.Store(1 << 30)
	return s, f
}

// A key is silent when everybody who watches has read enough blocks without it, one after the other, from now on.
func TestProveSilence(t *testing.T) {
	s, f := silentFarm(t)
	read := map[string]map[int64]bool{}
	first := f.height.Load()
	f.sees = func(host string, at int64, _ *api.Seen) {
		if read[host] == nil {
			read[host] = map[int64]bool{}
		}
		read[host][at] = at > first
	}
	must(t, s.ProveSilence(t.Context()))
	if len(read) != len(s.world.inventory.Hosts)+2 {
		t.Errorf("%d watched", len(read))
	}
	for host, at := range read {
		n, lowest := 0, int64(1<<62)
		for h, after := range at {
			if after {
				n, lowest = n+1, min(lowest, h)
			}
		}
		for h := lowest; h < lowest+int64(n); h++ {
			if !at[h] {
				t.Errorf("%s did not read height %d", host, h)
			}
		}
		if n < signing.SilentBlocks {
			t.Errorf("%s read %d heights", host, n)
		}
	}
}

// Whatever leaves a doubt is no proof.
func TestUnproven(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*testing.T, *Session, *farm)
		why    string
	}{
		"it signs": {func(_ *testing.T, _ *Session, f *farm) { f.missed.Store(0) }, "it signed block"},
		"one sees it sign once, late": {func(_ *testing.T, _ *Session, f *farm) {
			asked := 0
			f.sees = func(host string, at int64, seen *api.Seen) {
				if host == "s2" && at > 0 {
					asked++
					seen.Signed = asked == signing.SilentBlocks
				}
			}
		}, "as s2 sees it"},
		"a chain that stands": {func(_ *testing.T, _ *Session, f *farm) { f.stands.Store(true) }, "0 blocks"},
		"blocks of yesterday": {func(_ *testing.T, _ *Session, f *farm) {
			f.sees = func(host string, _ int64, seen *api.Seen) {
				if host == "w1" {
					seen.Time = time.Now().Add(-24 * time.Hour)
				}
			}
		}, "w1 has is of"},
		"out of the active set": {func(_ *testing.T, _ *Session, f *farm) {
			f.sees = func(_ string, _ int64, seen *api.Seen) { seen.InSet = false }
		}, "active set"},
		"none of the others answers": {func(t *testing.T, s *Session, f *farm) {
			for _, h := range s.world.inventory.Hosts {
				must(t, f.StopAgent(t.Context(), h))
			}
		}, "no other validator"},
		"the sentries have no links": {func(_ *testing.T, _ *Session, f *farm) {
			for _, a := range f.on {
				a.linked = nil
			}
		}, "no sentry"},
		"a sentry has a link to the validator": {func(_ *testing.T, s *Session, f *farm) {
			m, _ := s.Head().Member("validator")
			h, _ := s.own.inventory.Host("s2")
			f.on[h.Folder].linked = append(f.on[h.Folder].linked, api.Peer{NodeID: m.NodeID})
		}, "s2 has a link to the node of validator"},
		"one stops telling": {func(_ *testing.T, s *Session, f *farm) {
			h, _ := s.own.inventory.Host("s1")
			asked := 0
			f.on[h.Folder].more = func(a *fakeAgent, r *http.Request) (any, error) {
				if asked++; asked > 5 {
					return nil, errors.New("its node has stopped")
				}
				return f.answer(a, r)
			}
		}, "s1 does not tell any more"},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := silentFarm(t)
			tt.change(t, s, f)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if f.stands.Load() {
				asked := 0
				f.sees = func(string, int64, *api.Seen) {
					if asked++; asked == 50 { // as when the time is over for which it is waited
						cancel()
					}
				}
			}
			var no *Unproven
			if err := s.ProveSilence(ctx); !errors.As(err, &no) || !strings.Contains(fmt.Sprint(err), tt.why) {
				t.Errorf("%v, want %q", err, tt.why)
			}
		})
	}
}

// Before there is a key there is nothing to prove.
func TestProveSilenceOfNothing(t *testing.T) {
	s, _ := newFarm(t)
	must(t, s.Open())
	must(t, s.ProveSilence(t.Context()))
}

// Only a plan that makes the validator of an assigned key anew is one that takes a proof.
func TestGone(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	p, err := s.Plan(t.Context())
	must(t, err)
	if name := Gone(p); name != "" {
		t.Errorf("the first plan makes %q anew", name)
	}
	must(t, s.Do(t.Context(), p))
	v, _ := s.own.inventory.Host("validator")
	must(t, f.StopAgent(t.Context(), v))
	must(t, os.RemoveAll(v.Folder))
	var refusal *plan.Refusal
	if _, err := s.Plan(t.Context()); !errors.As(err, &refusal) {
		t.Errorf("without a word: %v", err)
	}
	s.ReplaceLost = true
	p, err = s.Plan(t.Context())
	must(t, err)
	if name := Gone(p); name != "validator" {
		t.Errorf("it makes %q anew", name)
	}
	if err := s.Do(t.Context(), p); !errors.As(err, &refusal) {
		t.Errorf("without the proof: %v", err)
	}
	s.Anew = "validator"
	must(t, s.Do(t.Context(), p))
	s = anew(t, s, f) // which does it no second time
	if p, err := s.Plan(t.Context()); err != nil || Gone(p) != "" {
		t.Errorf("again: %v, %v", p.Steps(), err)
	}
}

// While a sentry is replaced it is the machine that the roster has which watches, and whose links count.
func TestSilenceWhileReplaced(t *testing.T) {
	s, f := silentFarm(t)
	m, _ := s.Head().Member("s1")
	v, _ := s.Head().Member("validator")
	old, _ := s.own.inventory.Host("s1")
	s.own.inventory.Replace(deployment.Host{Name: "s1", Role: roster.RoleSentry, Number: 1, Folder: t.TempDir()}, m.Identity)
	linked, err := s.linkedSentries(t.Context())
	if must(t, err); !slices.Contains(linked, "s1") {
		t.Errorf("linked are %v", linked)
	}
	watched := false
	f.sees = func(host string, _ int64, _ *api.Seen) { watched = watched || host == "s1" }
	must(t, s.ProveSilence(t.Context()))
	if !watched {
		t.Error("s1 did not watch")
	}
	f.on[old.Folder].linked = append(f.on[old.Folder].linked, api.Peer{NodeID: v.NodeID})
	var no *Unproven
	if err := s.ProveSilence(t.Context()); !errors.As(err, &no) || !strings.Contains(err.Error(), "s1 has a link to the node of validator") {
		t.Errorf("it has a link to the one that is to be lost: %v", err)
	}
}

// On a network that is there nobody told the block time, and the sentries alone bear witness: at least two, where there are
// two.
func TestProveSilenceOfAdopted(t *testing.T) {
	s, f, server := existingFarm(t)
	server.state = ordered(takeover.Done)
	s.Adoption().Begun, s.Adoption().Taken = true, true
	applies(t, s)
	v, _ := s.own.inventory.Host("validator")
	must(t, f.StopAgent(t.Context(), v))
	must(t, os.RemoveAll(v.Folder))
	f.missed.Store(1 << 30)
	if least, most := s.watchTimes(); least < fresh || most < least+fresh {
		t.Errorf("a watch takes %v to %v", least, most)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := int64(0)
	f.sees = func(_ string, at int64, _ *api.Seen) {
		if read = max(read, at); at > 3*signing.SilentBlocks { // enough of them, and not for long enough
			cancel()
		}
	}
	var no *Unproven
	if err := s.ProveSilence(ctx); !errors.As(err, &no) || !strings.Contains(err.Error(), "2m0s") || read < signing.SilentBlocks {
		t.Errorf("blocks that came too fast, up to %d: %v", read, err)
	}
	f.sees = nil
	s2, _ := s.own.inventory.Host("s2")
	f.on[s2.Folder].linked = nil
	if err := s.ProveSilence(t.Context()); !errors.As(err, &no) || !strings.Contains(err.Error(), "one sentry") {
		t.Errorf("by one sentry: %v", err)
	}
}
