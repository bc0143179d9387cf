package plan

import (
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/tofu"
)

// UnprotectMachines takes the clouds' protection off what is destroyed after it. Nothing else changes: the cloud insists on
// a step of its own.
type UnprotectMachines struct {
	On
	Hosts []string `json:"hosts"`
}

// String implements Step.
func (s UnprotectMachines) String() string {
	return "take their clouds' protection off " + strings.Join(s.Hosts, ", ") + ", so that they can be destroyed"
}

// protects says whether a host's cloud is to refuse its deletion: what signs is not lost by a slip in a console.
func protects(h deployment.Host) bool {
	c, ok := tofu.Lookup(h.Provider)
	return ok && c.Protects && h.Role == roster.RoleValidator
}

// unprotect stages the step before changes that destroy what is protected.
func (b *builder) unprotect(changes []provision.Change) {
	var hosts []string
	for _, c := range changes {
		if c.Loses() && c.Protected && !slices.Contains(hosts, c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	if len(hosts) > 0 {
		slices.Sort(hosts)
		b.stage([]Step{UnprotectMachines{On{Deployment: b.want.Own.Deployment}, hosts}})
	}
}
