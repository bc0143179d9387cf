package apply

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/plan"
)

// restarter supplies fake agents and replaces them as a provider does.
type restarter struct {
	local.Provider
	restart func(deployment.Host) error
	stop    func(deployment.Host) error
}

func (r restarter) RestartAgent(_ context.Context, h deployment.Host) error { return r.restart(h) }
func (r restarter) StopAgent(_ context.Context, h deployment.Host) error    { return r.stop(h) }
func (r restarter) StartAgent(context.Context, deployment.Host) error       { return nil }

// An agent of another build is replaced, says so then, and is locked again: its lock ended with it.
func TestRestartAgent(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1")
	o.Build, o.Who = "new", "me"
	step := plan.RestartAgent{On: plan.On{Deployment: "hub", Name: "s1"}}
	restarted := 0
	become := func(build string) {
		o.Provider = restarter{restart: func(h deployment.Host) error {
			restarted++
			o.agents[h.Name].says(build)
			return nil
		}}
	}
	become("new")
	must(t, o.do(t.Context(), step))
	if restarted != 1 || len(o.locks) != 1 || o.agents["s1"].locked != 1 {
		t.Errorf("restarted %d times; %d locks here, %d there", restarted, len(o.locks), o.agents["s1"].locked)
	}
	become("old")
	if err := o.do(t.Context(), step); err == nil || !strings.Contains(err.Error(), "not the one that is installed there") {
		t.Errorf("it is what it was: %v", err)
	}
	failed := errors.New("no such unit")
	o.Provider = restarter{restart: func(deployment.Host) error { return failed }}
	if err := o.do(t.Context(), step); !errors.Is(err, failed) {
		t.Errorf("it cannot be restarted: %v", err)
	}
}
