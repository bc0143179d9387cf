package apply

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// reports collects what became of each host.
type reports struct {
	names []string
	errs  map[string]error
}

func (r *reports) add(t Target, err error) {
	if r.errs == nil {
		r.errs = map[string]error{}
	}
	r.names = append(r.names, t.Host.Name) // the session calls one at a time
	r.errs[t.Host.Name] = err
}

// A node is started only if its host says that it is to run: one in a copied folder is not.
func TestStart(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	o.Provider, o.Who = restarter{}, "me"
	const why = "this folder is a copy of a host; the original may be running"
	for _, a := range o.agents {
		a.status.Intent.Stopped = true
	}
	o.agents["validator"].status.Reason = why
	all, err := o.Hosts(nil)
	must(t, err)
	var got reports
	err = o.Start(t.Context(), all, got.add)
	var down *NotStarted
	if !errors.As(err, &down) || down.Host != "validator" || down.Why != why {
		t.Errorf("err %v", err)
	}
	if !errors.As(got.errs["validator"], &down) || got.errs["s1"] != nil || got.errs["s2"] != nil || len(got.names) != 3 {
		t.Errorf("reported %v", got.errs)
	}
	for name, a := range o.agents {
		if a.intent.Stopped || a.intent.By != "me" {
			t.Errorf("%s was told %+v", name, a.intent)
		}
	}
	must(t, o.Start(t.Context(), slices.DeleteFunc(all, func(t Target) bool { return t.Host.Name == "validator" }), got.add))
}

// A person names hosts as they see them; the validator stops before who stands in front of it.
func TestHosts(t *testing.T) {
	o := newOperator(t)
	o.own.inventory.Deployment = "hub"
	o.world.inventory.Deployment = "hub-world"
	o.world.inventory.Put(deployment.Host{Name: "w1", Role: roster.RoleGenesisValidator})
	for _, names := range [][]string{{"w1", "s2"}, {"hub-world/w1", "hub/s2"}} {
		got, err := o.Hosts(names)
		if err != nil || len(got) != 2 || got[0].Host.Name != "w1" || !got[0].World || got[1].Host.Name != "s2" || got[1].World {
			t.Errorf("%v: %+v, %v", names, got, err)
		}
	}
	if _, err := o.Hosts([]string{"s1", "s9"}); err == nil || err.Error() != `there is no host "s9"; there are w1, s1, s2, validator` {
		t.Errorf("err %v", err)
	}
	all, err := o.Hosts(nil)
	must(t, err)
	var order []string
	for _, group := range byRank(all) {
		for _, t := range group {
			order = append(order, t.Host.Name)
		}
	}
	if want := []string{"validator", "s1", "s2", "w1"}; !slices.Equal(order, want) {
		t.Errorf("they stop in the order %v, want %v", order, want)
	}
}

// A stop is done once nothing runs any more, the validator's before the others'; agents end only with everything.
func TestStop(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	var mu sync.Mutex
	ended := map[string]bool{}
	o.Provider, o.Who = restarter{stop: func(h deployment.Host) error {
		mu.Lock()
		defer mu.Unlock()
		ended[h.Name] = true
		return nil
	}}, "me"
	for _, a := range o.agents {
		a.status.Node = api.NodeStatus{Phase: "running", SupervisorPID: 1, DaemonPID: 2}
		a.onAsk = func(n int) {
			if a.intent.Stopped && n > 2 { // it takes a while
				a.status.Node = api.NodeStatus{Phase: "down"}
			}
		}
	}
	all, err := o.Hosts(nil)
	must(t, err)
	var got reports
	must(t, o.Stop(t.Context(), all[:2], false, got.add))
	if len(ended) != 0 {
		t.Errorf("agents ended: %v", ended)
	}
	must(t, o.Stop(t.Context(), all, true, got.add))
	if got.names[2] != "validator" || len(ended) != 3 {
		t.Errorf("stopped %v, agents of %v", got.names, ended)
	}
	// A host whose folder is gone has nothing to stop.
	gone := all[0]
	gone.Host.Folder = t.TempDir() + "/gone"
	must(t, o.Stop(t.Context(), []Target{gone}, true, got.add))
}

// A hold adds to what a person wanted before, and needs an agent that obeys it.
func TestHold(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1")
	o.Who = "me"
	o.agents["s1"].status.Intent = api.Intent{Stopped: true, By: "ann"}
	target, err := o.Hosts([]string{"s1"})
	must(t, err)
	must(t, o.Hold(t.Context(), target, true))
	if i := o.agents["s1"].intent; !i.Held || !i.Stopped || i.By != "me" {
		t.Errorf("held: %+v", i)
	}
	must(t, o.Hold(t.Context(), target, false))
	if i := o.agents["s1"].intent; i.Held || !i.Stopped {
		t.Errorf("released: %+v", i)
	}
	away, err := o.Hosts([]string{"s2"})
	must(t, err)
	if err := o.Hold(t.Context(), away, true); err == nil {
		t.Error("a host was held whose agent does not run")
	}
}
