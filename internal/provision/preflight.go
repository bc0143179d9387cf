package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pressenter/pressenter/tofu"
)

// Check is one thing that was looked at, or could not be, before anything is bought.
type Check struct {
	Cloud string `json:"cloud"`
	Host  string `json:"host,omitempty"` // empty for what all have in common
	What  string `json:"what"`           // account, quota, region, size, image, name, firewall; or words for what is unchecked or refused
	Name  string `json:"name,omitempty"` // the cloud's own
	OK    bool   `json:"ok"`
	// Unchecked: this cloud's provider cannot be asked, so nobody looked.
	Unchecked bool `json:"unchecked,omitempty"`
	// Why says more of what is not OK, in the cloud's words.
	Why string `json:"why,omitempty"`
}

// Preflight asks each cloud whether the machines of spec can be had there: give it those that are to be made, since the
// name of one that is there is taken. A cloud that refuses to answer is a check that is not OK, and keeps no other from
// being asked.
func (w *Workspace) Preflight(ctx context.Context, spec tofu.Spec) ([]Check, error) {
	hosts := map[string]map[string]tofu.Host{}
	for name, h := range spec.Hosts {
		if hosts[h.Cloud] == nil {
			hosts[h.Cloud] = map[string]tofu.Host{}
		}
		hosts[h.Cloud][name] = h
	}
	var out []Check
	for _, cloud := range slices.Sorted(maps.Keys(hosts)) {
		s := spec
		s.Hosts = hosts[cloud]
		checks, err := w.preflight(ctx, cloud, s)
		if err != nil {
			return nil, fmt.Errorf("ask %s before anything is bought: %w", cloud, err)
		}
		out = append(out, checks...)
	}
	return out, nil
}

func (w *Workspace) preflight(ctx context.Context, cloud string, spec tofu.Spec) ([]Check, error) {
	var out []Check
	c, _ := tofu.Lookup(cloud) // tofu.Preflight refuses unknown ones
	files, err := tofu.Preflight(spec)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		one := *w
		one.Clouds, one.kept = []string{cloud}, nil
		var o struct {
			Checks struct {
				Value map[string][]Check `json:"value"`
			} `json:"checks"`
		}
		err := one.lookAround(ctx, "preflight-"+cloud, files, &o)
		var refused *Failure
		switch {
		case errors.As(err, &refused) && refused.Command == "apply":
			out = append(out, Check{Cloud: cloud, What: whatFailed(refused), Why: refused.Words[0]})
		case err != nil:
			return nil, err
		}
		for _, check := range o.Checks.Value[cloud] {
			check.Cloud = cloud
			out = append(out, check)
		}
	}
	out = append(out, rules(c, spec)...)
	for _, what := range c.Unchecked {
		out = append(out, Check{Cloud: cloud, What: what, Unchecked: true})
	}
	return out, nil
}

// rules says of which hosts the firewall would have more rules than their cloud takes: it would be made in part.
func rules(c tofu.Cloud, spec tofu.Spec) []Check {
	var out []Check
	for _, name := range slices.Sorted(maps.Keys(spec.Hosts)) {
		if n := tofu.RulesOf(spec.Hosts[name], len(spec.AdminCIDRs)); c.Rules > 0 && n > c.Rules {
			out = append(out, Check{Cloud: c.Name, Host: name, What: "firewall", Name: fmt.Sprintf("%d rules of at most %d", n, c.Rules)})
		}
	}
	return out
}

// whatFailed is what a cloud refused: some answer a size that they do not have with an error.
func whatFailed(f *Failure) string {
	if refusesCredentials(f.text) {
		return "account"
	}
	return "the question for regions, sizes and images"
}
