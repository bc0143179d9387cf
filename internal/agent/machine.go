package agent

import (
	"context"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/machine"
)

// drift is what somebody changed on the machine behind the agent's back.
type drift struct {
	looked  time.Time
	trouble string
	found   []health.Finding

	checked time.Time
	rest    []health.Finding // what the agent does not put back by itself
}

const (
	// driftEvery is how often a machine's units are compared with what its set-up made.
	driftEvery = 5 * time.Second
	// restEvery is how often the rest of it is.
	restEvery = time.Minute
	// driftShown is how long a repair is told of.
	driftShown = time.Hour
)

// keepMachine puts back what differs from what the machine's set-up made, if this host is a machine. Unlike the node, a
// host that a person holds is not left as it is: what is guarded here is that nobody else gets in its way.
func (k *keeper) keepMachine(ctx context.Context) {
	if !machine.Is(string(k.Folder)) {
		return
	}
	k.checkRest(ctx)
	found := machine.RepairFolders()
	if time.Since(k.drift.looked) < driftEvery && len(found) == 0 {
		return
	}
	units, err := machine.Repair(ctx)
	if ctx.Err() != nil {
		return
	}
	found = append(found, units...)
	for _, f := range found {
		if slices.ContainsFunc(k.drift.found, func(old health.Finding) bool { return old.Message == f.Message && f.Since.IsZero() }) {
			continue // it is as it was
		}
		k.Logger.Warn("the machine is not as it should be", "code", f.Code, "subject", f.Subject, "message", f.Message)
	}
	if err != nil && err.Error() != k.drift.trouble {
		k.Logger.Error("keeping the machine as it should be", "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drift.looked = time.Now()
	k.drift.remember(found, err)
}

// checkRest looks at what only a set-up puts back.
func (k *keeper) checkRest(ctx context.Context) {
	if k.host == nil || time.Since(k.drift.checked) < restEvery {
		return
	}
	rest := machine.Check(ctx, k.host.Enrollment.Deployment, k.host.Enrollment.Name)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drift.checked, k.drift.rest = time.Now(), rest
}

// overruledFindings say what does not run because a person stopped it on the machine itself.
func (k *keeper) overruledFindings() (found []health.Finding) {
	node, mesh, _ := k.runner.Overruled() // an error is the loop's trouble
	for _, why := range []string{node, mesh} {
		if why != "" {
			found = append(found, health.Finding{Code: "stopped-here", Severity: health.Warning, Message: why + "."})
		}
	}
	return found
}

// remember keeps what was found: what was repaired for a while, and what is for as long as it is.
func (d *drift) remember(found []health.Finding, err error) {
	d.found = slices.DeleteFunc(d.found, func(f health.Finding) bool {
		again := slices.ContainsFunc(found, func(n health.Finding) bool { return n.Code == f.Code && n.Subject == f.Subject })
		return again || f.Since.IsZero() || time.Since(f.Since) > driftShown
	})
	d.found = append(d.found, found...)
	d.trouble = ""
	if err != nil {
		d.trouble = err.Error()
		d.found = append(d.found, health.Finding{
			Code: "drift-unrepaired", Severity: health.Warning,
			Message: "The machine may not be as its set-up made it, and cannot be made so: " + d.trouble + ".",
			Next:    "Mend the cause; the agent goes on by itself.",
		})
	}
}
