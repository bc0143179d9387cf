package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/signing"
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

// Whoever cannot see how far the chain is when the wait begins waits for one block more than the first that it sees: that
// one may be from before, unless the chain begins with this plan.
//
// The validator's agent, too, may be cut off once.
func TestAwaitSigningBlind(t *testing.T) {
	for genesis, want := range map[string]string{"of an older plan": "block 10 ", "": "block 9 "} {
		awaitsBlind(t, genesis, want)
	}
}

func awaitsBlind(t *testing.T, genesis, want string) {
	t.Helper()
	o := newOperator(t)
	o.have.Genesis = genesis
	o.start(t, "s1", "validator")
	ours, world := o.agents["validator"], o.agents["s1"]
	ours.status.Enrolled = &api.Enrolled{Identity: make([]byte, 32), Consensus: make([]byte, 32)}
	ours.onAsk = func(asked int) {
		if asked == 1 {
			panic(http.ErrAbortHandler)
		}
	}
	o.world.inventory.Put(o.hosts["s1"])
	asked := 0
	world.more = func(*fakeAgent, *http.Request) (any, error) {
		if asked++; asked == 1 {
			return nil, errors.New("it does not answer yet")
		}
		height := int64(9)
		if asked > 4 {
			height++
		}
		return api.Commit{Height: height, Time: time.Now(), Signers: []string{signing.Address(make([]byte, 32))}}, nil
	}
	var said []string
	o.Progress = func(e Event) {
		if strings.HasPrefix(e.Word, "block") {
			said = append(said, e.Word)
		}
	}
	must(t, o.awaitSigning(t.Context(), o.own, o.hosts["validator"]))
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("with a genesis %q it said %q, and not %q", genesis, said, want)
	}
}
