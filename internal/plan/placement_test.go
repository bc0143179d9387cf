package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/tofu"
)

// fleet reads "validator=hetzner/fsn1 s1=ssh s2=vultr/ams*", a star for a host that has its machine.
func fleet(words string) (hosts []deployment.Host) {
	for _, w := range strings.Fields(words) {
		name, where, _ := strings.Cut(w, "=")
		where, made := strings.CutSuffix(where, "*")
		provider, region, _ := strings.Cut(where, "/")
		h := deployment.Host{Name: name, Role: roster.RoleSentry, Provider: provider, Region: region, Made: made}
		if name == config.ValidatorHost {
			h.Role = roster.RoleValidator
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func TestPlacement(t *testing.T) {
	for name, test := range map[string]struct {
		hosts, code, says, next string
	}{
		"on this computer":         {hosts: "validator= s1= s2="},
		"brought":                  {hosts: "validator=ssh s1=ssh s2=ssh"},
		"one is brought":           {hosts: "validator=hetzner/fsn1 s1=hetzner/fsn1 s2=ssh"},
		"two providers":            {hosts: "validator=hetzner/fsn1 s1=hetzner/fsn1 s2=vultr/ams"},
		"all in one region":        {"validator=hetzner/fsn1 s1=hetzner/fsn1 s2=hetzner/fsn1", CodeOneRegion, "the validator and all sentries (s1, s2) are in one place, hetzner fsn1", "write region: nbg1 for s2"},
		"one sentry beside it":     {"validator=hetzner/nbg1 s1=hetzner/nbg1", CodeOneRegion, "the validator and all sentries (s1)", "write region: fsn1 for s1"},
		"sentries in one region":   {"validator=hetzner/fsn1 s1=hetzner/nbg1 s2=hetzner/nbg1", CodeOneRegion, "all sentries (s1, s2) are in one place, hetzner nbg1: an outage there cuts the validator off", "region: fsn1"},
		"and they have machines":   {"validator=vultr/ams s1=hetzner/nbg1* s2=hetzner/nbg1*", CodeOneRegion, "all sentries", "add a sentry, - {name: s3, region: fsn1}"},
		"two networks of a region": {"validator=ssh s1=openstack/GRA11/Ext-Net s2=openstack/GRA11/Other", CodeOneRegion, "openstack GRA11", "region: "},
		"one provider":             {"validator=hetzner/fsn1 s1=hetzner/nbg1 s2=hetzner/hel1", CodeOneProvider, "the validator and all sentries (s1, s2) are at one provider, hetzner", "write provider: digitalocean for s2"},
		"sentries at one provider": {"validator=ssh s1=digitalocean/fra1 s2=digitalocean/ams3", CodeOneProvider, "all sentries (s1, s2) are at one provider, digitalocean", "provider: hetzner"},
		"one sentry elsewhere":     {hosts: "validator=vultr/ams s1=hetzner/fsn1"},
		"nobody yet":               {hosts: "validator=hetzner/fsn1"},
	} {
		t.Run(name, func(t *testing.T) {
			found := Placement(fleet(test.hosts))
			if test.code == "" {
				if len(found) != 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Code != test.code || !strings.Contains(found[0].Message, test.says) || !strings.Contains(found[0].Next, test.next) {
				t.Errorf("found %+v", found)
			}
		})
	}
	if f := Placement(fleet("validator=hetzner/fsn1 s1=hetzner/fsn1")); f[0].Severity != health.Warning {
		t.Errorf("%+v", f)
	}
}

// What nobody says anything about is spread over a cloud's regions, around what is said and what is there.
func TestRegionsAreSpread(t *testing.T) {
	for name, test := range map[string]struct {
		sentries, saved, want string
	}{
		"nothing is said":       {"  - {name: s1}\n  - {name: s2}\n  - {name: s3}\n", "", "validator=fsn1 s1=nbg1 s2=hel1 s3=fsn1"},
		"one says where":        {"  - {name: s1}\n  - {name: s2, region: nbg1}\n", "", "validator=fsn1 s1=hel1 s2=nbg1"},
		"one is there":          {"  - {name: s1}\n  - {name: s2}\n", "s2=hetzner/nbg1*", "validator=fsn1 s1=hel1 s2=nbg1"},
		"each cloud for itself": {"  - {name: s1, provider: vultr}\n  - {name: s2}\n  - {name: s3, provider: vultr}\n", "", "validator=fsn1 s1=V0 s2=nbg1 s3=V1"},
	} {
		t.Run(name, func(t *testing.T) {
			port := 20000
			f := Facts{Dir: "/x", Ports: func() (string, error) { port++; return fmt.Sprintf("127.0.0.1:%d", port), nil }}
			for _, h := range fleet(test.saved) {
				f.Own.Put(h)
			}
			text, _, _ := strings.Cut(cloudConfig, "sentries:")
			w, err := Resolve(parse(t, text+"sentries:\n"+test.sentries), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, pair := range strings.Fields(test.want) {
				name, region, _ := strings.Cut(pair, "=")
				for i, r := range regionsOf("vultr") {
					region = strings.Replace(region, fmt.Sprintf("V%d", i), r, 1)
				}
				if h, _ := w.Own.Host(name); h.Region != region {
					t.Errorf("%s is in %s, want %s", name, h.Region, region)
				}
			}
		})
	}
}

func regionsOf(cloud string) []string {
	c, _ := tofu.Lookup(cloud)
	return c.Regions
}

// A group takes only so many: the next host is of another one. Who has a machine stays where it is, also when others leave.
func TestGroupsAreNotOverfilled(t *testing.T) {
	limit := func(cloud string) int { c, _ := tofu.Lookup(cloud); return c.Together }
	for _, cloud := range []string{"hetzner", "exoscale"} {
		region := regionsOf(cloud)[0]
		resolve := func(saved deployment.Inventory, from, to int) deployment.Inventory {
			port := 20000
			f := Facts{Dir: "/x", Own: saved, Ports: func() (string, error) { port++; return fmt.Sprintf("127.0.0.1:%d", port), nil }}
			text, _, _ := strings.Cut(cloudConfig, "sentries:")
			text += "sentries:\n"
			for i := from; i <= to; i++ {
				text += fmt.Sprintf("  - {name: s%d, provider: %s, region: %s}\n", i, cloud, region)
			}
			w, err := Resolve(parse(t, text), f)
			if err != nil {
				t.Fatal(err)
			}
			return w.Own
		}
		before := resolve(deployment.Inventory{}, 1, 2*limit(cloud))
		members := map[string]int{}
		for _, h := range Machines(before, nil).Hosts {
			members[h.Cloud+"/"+h.Region+"/"+h.Group]++
		}
		for group, n := range members {
			if in, _, _ := strings.Cut(group, "/"); n > limit(in) {
				t.Errorf("%d hosts in %s, which takes %d", n, group, limit(in))
			}
		}
		for i := range before.Hosts {
			before.Hosts[i].Address = "pressenter@192.0.2.1"
		}
		after := resolve(before, 3, 2*limit(cloud)+1)
		for _, h := range after.Hosts {
			if was, known := before.Host(h.Name); known && was.Spread != h.Spread {
				t.Errorf("%s was in group %d and is in %d: its machine would be replaced", h.Name, was.Spread, h.Spread)
			}
		}
		if first, _ := after.Host(fmt.Sprintf("s%d", 2*limit(cloud)+1)); groupName(first.Spread) == "all" {
			t.Errorf("a new host is in a group of which not all have left yet")
		}
	}
}

// A group that is full takes no machine in the place of another: both are there for a while.
func TestReplacedWhereAGroupIsFull(t *testing.T) {
	cloud, _ := tofu.Lookup("hetzner")
	yaml := "apiVersion: pressenter/v1\nkind: Deployment\nname: hub\nchain: practice\nprovider: hetzner\nvalidator: {region: fsn1}\nsentries:\n"
	for i := 1; i <= 12; i++ {
		yaml += fmt.Sprintf("  - {name: s%d, region: fsn1}\n", i)
	}
	for _, name := range []string{"s1", "s12"} {
		s := upBy(t, yaml)
		for n := 2; n < 5; n++ { // noted, then bought: it is decided once
			s.replace = name
			if _, err := s.apply(n); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			there := s.resolve().Own
			there.Replaced = s.saved[1].Replaced
			groups := map[string]int{}
			for _, m := range Machines(there, nil).Hosts {
				groups[m.Group]++
			}
			for group, n := range groups {
				if n > cloud.Together {
					t.Errorf("%s: %d machines are in %s, which takes %d", name, n, group, cloud.Together)
				}
			}
		}
	}
}
