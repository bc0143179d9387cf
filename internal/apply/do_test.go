package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
)

// stages makes a plan of agents to restart.
func stages(names ...[]string) plan.Plan {
	var p plan.Plan
	for _, stage := range names {
		var steps []plan.Step
		for _, n := range stage {
			steps = append(steps, plan.RestartAgent{On: plan.On{Deployment: "hub", Name: n}})
		}
		p.Stages = append(p.Stages, steps)
	}
	return p
}

// A plan goes stage by stage, and no further than a step that fails.
func TestDo(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	failed := errors.New("no")
	var did []string
	o.Provider = restarter{restart: func(h deployment.Host) error {
		did = append(did, h.Name)
		if h.Name == "s2" {
			return failed
		}
		return nil
	}}
	var said []string
	o.Progress = func(e Event) { said = append(said, fmt.Sprintf("%s %v %v", e.Step.Host(), e.Done, e.Err)) }
	var met []string
	o.Crash = func(s plan.Step, after bool) { met = append(met, fmt.Sprintf("%s %v", s.Host(), after)) }
	err := o.Do(t.Context(), stages([]string{"s1"}, []string{"s2"}, []string{"validator"}))
	var step *StepError
	if !errors.As(err, &step) || step.Step.Host() != "s2" || !errors.Is(err, failed) || err.Error() != "restart the agent of s2: it is of another build: no" {
		t.Errorf("err %v", err)
	}
	if want := []string{"s1", "s2"}; !slices.Equal(did, want) {
		t.Errorf("did %v, want %v", did, want)
	}
	if want := []string{"s1 false <nil>", "s1 true <nil>", "s2 false <nil>", "s2 true no"}; !slices.Equal(said, want) {
		t.Errorf("said %v, want %v", said, want)
	}
	if want := []string{"s1 false", "s1 true", "s2 false", "s2 true"}; !slices.Equal(met, want) {
		t.Errorf("met %v, want %v", met, want)
	}
}

// Whoever interrupts an apply is told how far it came.
func TestDoInterrupted(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	for _, last := range []string{"s1", "s2"} {
		ctx, cancel := context.WithCancel(t.Context())
		o.Provider = restarter{restart: func(h deployment.Host) error {
			if h.Name == last {
				cancel()
				return ctx.Err()
			}
			return nil
		}}
		err := o.Do(ctx, stages([]string{"s1"}, []string{"s2"}, []string{"validator"}))
		var cut *Interrupted
		if !errors.As(err, &cut) || cut.Done != map[string]int{"s1": 0, "s2": 1}[last] || cut.Steps != 3 || !errors.Is(err, context.Canceled) {
			t.Errorf("at %s: %v", last, err)
		}
	}
}
