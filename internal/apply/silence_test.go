package apply

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/plan"
)

// A key is silent when others have made enough blocks without it, from now on; a chain that stands proves nothing.
func TestProveSilence(t *testing.T) {
	s, f := newFarm(t)
	s.Config.Practice.BlockTime = 8 * time.Millisecond
	must(t, s.Open())
	if err := s.ProveSilence(t.Context()); err != nil {
		t.Errorf("before there is a key: %v", err)
	}
	applies(t, s)
	var no *Unproven
	if err := s.ProveSilence(t.Context()); !errors.As(err, &no) || !strings.Contains(no.Why, "it signed block") {
		t.Errorf("while it signs: %v", err)
	}
	f.missed.Store(1 << 30)
	before := f.height.Load()
	if err := s.ProveSilence(t.Context()); err != nil || f.height.Load()-before < silentBlocks {
		t.Errorf("while it is silent: %v, after %d blocks", err, f.height.Load()-before)
	}
	for _, h := range s.world.inventory.Hosts {
		f.on[h.Folder].more = func(*fakeAgent, *http.Request) (any, error) { return nil, errors.New("it does not run") }
	}
	if err := s.ProveSilence(t.Context()); !errors.As(err, &no) || !strings.Contains(no.Why, "answers") {
		t.Errorf("with nobody to ask: %v", err)
	}
}

// Only a plan that makes the validator of an assigned key anew is one that takes a proof.
func TestGone(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	p, err := s.Plan(t.Context())
	must(t, err)
	if name := s.Gone(p); name != "" {
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
	if name := s.Gone(p); name != "validator" {
		t.Errorf("it makes %q anew", name)
	}
}
