package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/tofu"
)

// Codes of findings about where hosts are.
const (
	CodeOneRegion   = "placement-region"
	CodeOneProvider = "placement-provider"
)

// Placement says which hosts would fail together. Of servers that were there already nobody knows where they are, so
// each counts as apart from all others; on this computer everything fails together, which is no finding.
func Placement(hosts []deployment.Host) []health.Finding {
	var sentries []deployment.Host
	validator, have := deployment.Host{}, false
	for _, h := range hosts {
		switch {
		case h.Removing:
		case h.Role == roster.RoleSentry:
			sentries = append(sentries, h)
		case h.Role == roster.RoleValidator:
			validator, have = h, true
		}
	}
	if len(sentries) == 0 || slices.ContainsFunc(sentries, func(h deployment.Host) bool { return !h.Bought() }) {
		return nil
	}
	with := have && validator.Bought()
	all := sentries
	if with {
		all = append(slices.Clone(sentries), validator)
	}
	switch {
	case with && together(all, placeOf):
		return []health.Finding{inOneRegion(sentries, "the validator and all sentries", "an outage there stops all of it at once, and nothing of it answers until it is over")}
	case len(sentries) > 1 && together(sentries, placeOf):
		return []health.Finding{inOneRegion(sentries, "all sentries", "an outage there cuts the validator off, and it signs nothing until it is over")}
	case with && together(all, providerOf):
		return []health.Finding{atOneProvider(sentries, "the validator and all sentries", "a locked account, a mistake with its token or an outage of the provider stops all of it at once")}
	case len(sentries) > 1 && together(sentries, providerOf):
		return []health.Finding{atOneProvider(sentries, "all sentries", "a locked account, a mistake with its token or an outage of the provider cuts the validator off")}
	}
	return nil
}

func together(hosts []deployment.Host, of func(deployment.Host) string) bool {
	return !slices.ContainsFunc(hosts, func(h deployment.Host) bool { return of(h) != of(hosts[0]) })
}

func providerOf(h deployment.Host) string { return h.Provider }

// placeOf is what has power, cooling and a network of its own, as far as a cloud says. What follows a slash is a network
// in an OpenStack region.
func placeOf(h deployment.Host) string {
	region, _, _ := strings.Cut(h.Region, "/")
	return h.Provider + " " + region
}

func inOneRegion(sentries []deployment.Host, who, what string) health.Finding {
	last := sentries[len(sentries)-1]
	other := "REGION"
	if c, ok := tofu.Lookup(last.Provider); ok {
		for _, region := range c.Regions {
			if placeOf(deployment.Host{Provider: last.Provider, Region: region}) != placeOf(last) {
				other = region
				break
			}
		}
	}
	return health.Finding{
		Code: CodeOneRegion, Severity: health.Warning, Subject: last.Name,
		Message: fmt.Sprintf("%s (%s) are in one place, %s: %s", who, names(sentries), placeOf(last), what),
		Next:    spread(sentries, "region: "+other),
	}
}

func atOneProvider(sentries []deployment.Host, who, what string) health.Finding {
	last := sentries[len(sentries)-1]
	other := slices.IndexFunc(config.Clouds, func(c string) bool { return c != last.Provider })
	return health.Finding{
		Code: CodeOneProvider, Severity: health.Info, Subject: last.Name,
		Message: fmt.Sprintf("%s (%s) are at one provider, %s: %s", who, names(sentries), last.Provider, what),
		Next:    spread(sentries, "provider: "+config.Clouds[other]) + ", or any other provider",
	}
}

// spread is the one line of the config that puts a sentry elsewhere: a host that has its machine keeps it.
func spread(sentries []deployment.Host, where string) string {
	last := sentries[len(sentries)-1]
	if !last.Exists() {
		return fmt.Sprintf("write %s for %s", where, last.Name)
	}
	fresh := ""
	for n := 1; fresh == ""; n++ {
		name := fmt.Sprintf("s%d", n)
		if !slices.ContainsFunc(sentries, func(h deployment.Host) bool { return h.Name == name }) {
			fresh = name
		}
	}
	return fmt.Sprintf("add a sentry, - {name: %s, %s}, and apply; another one can leave then", fresh, where)
}

func names(hosts []deployment.Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return strings.Join(out, ", ")
}

// placement notes what would fail together once the plan is done.
func (b *builder) placement() {
	for _, f := range Placement(b.want.Own.Hosts) {
		b.note("%s: %s", f.Message, f.Next)
	}
}

// elsewhere is the region for a host of a cloud of which nothing else is said: the first one that the fewest other hosts
// are in. Those that have a machine, or of which the config says where, count wherever they are in the config.
func elsewhere(cloud tofu.Cloud, name string, c config.Deployment, resolved, saved deployment.Inventory) string {
	used := map[string]int{}
	count := func(other string, m config.Machine) {
		h, known := resolved.Host(other)
		if !known {
			h, known = saved.Host(other)
		}
		switch {
		case other == name || c.ProviderOf(m) != cloud.Name:
		case m.Region != "":
			used[m.Region]++
		case known && h.Provider == cloud.Name:
			used[h.Region]++
		}
	}
	count(config.ValidatorHost, c.Validator.Machine)
	for _, s := range c.Sentries {
		if !s.Invited() {
			count(s.Name, s.Machine)
		}
	}
	best := cloud.Regions[0]
	for _, region := range cloud.Regions {
		if used[region] < used[best] {
			best = region
		}
	}
	return best
}

// apart is the number of the group for a host: that of the machine it has, or the first that is not full in its region. One that was
// chosen for a machine that is not bought yet is kept while there is room in it.
func apart(cloud tofu.Cloud, h deployment.Host, resolved, saved deployment.Inventory) int {
	was, known := saved.Host(h.Name)
	known = known && was.Provider == h.Provider && was.Region == h.Region
	if known && was.Address != "" {
		return was.Spread
	}
	members := map[int]map[string]bool{}
	for _, other := range slices.Concat(resolved.Hosts, saved.All()) { // also of those that leave: they are there until then
		if other.Machine() == h.Machine() || other.Provider != h.Provider || other.Region != h.Region {
			continue
		}
		if members[other.Spread] == nil {
			members[other.Spread] = map[string]bool{}
		}
		members[other.Spread][other.Machine()] = true
	}
	full := func(n int) bool { return cloud.Together > 0 && len(members[n]) >= cloud.Together }
	if known && !full(was.Spread) {
		return was.Spread
	}
	n := 0
	for full(n) {
		n++
	}
	return n
}

// groupName is what the configuration calls the group with a number.
func groupName(n int) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprintf("all%d", n+1)
}
