package fakecloud

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machine is what every module takes for a host.
type machine struct {
	Role      string        `json:"role"`
	Region    string        `json:"region"`
	Size      string        `json:"size"`
	Image     string        `json:"image"`
	VolumeGB  int           `json:"volume_gb"`
	Protected bool          `json:"protected"`
	Group     string        `json:"group"`
	Ports     []machinePort `json:"ports"`
}

type machinePort struct {
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
}

// moduleRegions are where each module is tried: openstack's both kinds of network.
var moduleRegions = []struct{ cloud, name, region, size string }{
	{"hetzner", "hcloud", "fsn1", "cx33"},
	{"digitalocean", "digitalocean", "fra1", "s-4vcpu-8gb"},
	{"vultr", "vultr", "waw", "vc2-4c-8gb"},
	{"openstack", "openstack", "GRA11", "b3-8"},
	{"openstack", "openstack", "RegionOne/public", "b3-8"},
	{"exoscale", "exoscale", "de-fra-1", "standard.large"},
}

// The project's own modules: one validator with a volume and two sentries are made, found as they are, grown by a sentry
// without touching the others, and destroyed.
func TestModules(t *testing.T) {
	schemas := realSchemas(t)
	for _, m := range moduleRegions {
		module, err := filepath.Abs(filepath.Join("..", "tofu", "modules", m.cloud))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tools {
			t.Run(m.cloud+"/"+strings.ReplaceAll(m.region, "/", "-")+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := newRoot(t, name, schemas)
				r.module(module, m.name, fleet(m.region, m.size, 2, false))
				r.must("init", "-input=false", "-no-color")
				r.must("validate", "-no-color")
				r.apply()
				r.plan(0)
				r.hasAddresses(3)
				r.noSecrets()
				r.module(module, m.name, fleet(m.region, m.size, 3, false))
				r.plan(2)
				for address, actions := range r.actions() {
					if fmt.Sprint(actions) != "[create]" || !strings.Contains(address, "s3") {
						t.Errorf("another sentry is %v of %s", actions, address)
					}
				}
				r.must("apply", "-input=false", "-no-color", "p")
				r.plan(0)
				r.must("destroy", "-input=false", "-no-color", "-auto-approve")
				r.nothingRemains()
			})
		}
	}
}

// Edits that must leave machines as they are: other keys (hcloud#737, hcloud#372), and from where SSH is let in.
func TestModulesKeepMachines(t *testing.T) {
	schemas := realSchemas(t)
	for _, m := range moduleRegions {
		module, err := filepath.Abs(filepath.Join("..", "tofu", "modules", m.cloud))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(m.cloud+"/"+strings.ReplaceAll(m.region, "/", "-"), func(t *testing.T) {
			t.Parallel()
			r := newRoot(t, "tofu", schemas)
			hosts := fleet(m.region, m.size, 1, false)
			r.module(module, m.name, hosts)
			r.must("init", "-input=false", "-no-color")
			r.apply()
			raw, err := os.ReadFile(filepath.Join(r.dir, "main.tf.json"))
			if err != nil {
				t.Fatal(err)
			}
			r.write("main.tf.json", strings.ReplaceAll(string(raw), "operator@here", "operator@elsewhere"))
			r.plan(0)
			// SSH is closed: nothing but firewalls changes, also where a validator's has no rule left.
			r.write("main.tf.json", regexp.MustCompile(`"admin_cidrs": \[[^]]*\]`).ReplaceAllString(string(raw), `"admin_cidrs": []`))
			r.plan(2)
			for address, actions := range r.actions() {
				if !regexp.MustCompile(`firewall|security_group_rule|secgroup_rule`).MatchString(address) {
					t.Errorf("closing SSH is %v of %s", actions, address)
				}
			}
			r.must("apply", "-input=false", "-no-color", "p")
			r.plan(0)
		})
	}
}

// A machine that is replaced gets its volume back, and where the module promises it, its address; the others stay. What is
// protected is not destroyed.
func TestModulesReplace(t *testing.T) {
	schemas := realSchemas(t)
	servers := map[string]string{
		"hetzner": "hcloud_server", "digitalocean": "digitalocean_droplet", "vultr": "vultr_instance",
		"openstack": "openstack_compute_instance_v2", "exoscale": "exoscale_compute_instance",
	}
	for _, m := range moduleRegions {
		module, err := filepath.Abs(filepath.Join("..", "tofu", "modules", m.cloud))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(m.cloud+"/"+strings.ReplaceAll(m.region, "/", "-"), func(t *testing.T) {
			t.Parallel()
			r := newRoot(t, "tofu", schemas)
			r.module(module, m.name, fleet(m.region, m.size, 1, true))
			r.must("init", "-input=false", "-no-color")
			r.apply()
			var before, after map[string]machineOutput
			r.output("hosts", &before)
			for _, host := range []string{"s1", "v1"} {
				address := fmt.Sprintf("module.cloud.%s.host[%q]", servers[m.cloud], host)
				if host == "v1" && (m.cloud == "hetzner" || m.cloud == "exoscale") {
					if out, code := r.run("apply", "-input=false", "-no-color", "-auto-approve", "-replace="+address); code == 0 || !strings.Contains(out, "protected") {
						t.Errorf("the protected validator was replaced:\n%s", out)
					}
					continue
				}
				r.apply("-replace=" + address)
				r.plan(0)
				r.output("hosts", &after)
				if before[host].ID == after[host].ID || before[host].Volume != after[host].Volume {
					t.Errorf("%s was %+v and became %+v", host, before[host], after[host])
				}
				if host == "s1" && m.cloud != "exoscale" && before[host].IPv4 != after[host].IPv4 {
					t.Errorf("the sentry's address was %s and became %s", before[host].IPv4, after[host].IPv4)
				}
			}
		})
	}
}

type machineOutput struct {
	IPv4   string `json:"public_ipv4"`
	IPv6   string `json:"public_ipv6"`
	Volume string `json:"volume_device"`
	ID     string `json:"provider_id"`
	Region string `json:"region"`
	User   string `json:"ssh_user"`
}

// fleet is a validator with a volume and so many sentries.
func fleet(region, size string, sentries int, protected bool) map[string]machine {
	p2p := []machinePort{{"tcp", 26656}, {"udp", 51820}}
	hosts := map[string]machine{"v1": {Role: "validator", Region: region, Size: size, VolumeGB: 50, Protected: protected, Group: "core", Ports: []machinePort{}}}
	for i := range sentries {
		hosts[fmt.Sprintf("s%d", i+1)] = machine{Role: "sentry", Region: region, Size: size, Group: "edge", Ports: p2p}
	}
	return hosts
}

// module writes a root as the tool writes it: one module, its hosts, its output.
func (r *root) module(source, provider string, hosts map[string]machine) {
	r.t.Helper()
	raw, err := json.MarshalIndent(map[string]any{
		"module": map[string]any{"cloud": map[string]any{
			"source": source, "deployment": "trial", "id": "0123456789ab", "hosts": hosts, "admin_cidrs": []string{"198.51.100.7/32", "2001:db8:1::/64"},
			"ssh_keys": []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv operator@here"},
		}},
		"output":   map[string]any{"hosts": map[string]any{"value": "${module.cloud.hosts}"}},
		"provider": map[string]any{provider: map[string]any{}},
	}, "", "  ")
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("main.tf.json", string(raw))
	// A provider block of a root must say where the provider comes from.
	versions, err := os.ReadFile(filepath.Join(source, "versions.tf"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("versions.tf", string(versions))
}

func (r *root) hasAddresses(n int) {
	r.t.Helper()
	var hosts map[string]machineOutput
	r.output("hosts", &hosts)
	seen := map[string]bool{}
	for name, h := range hosts {
		if !regexp.MustCompile(`^192\.0\.2\.`).MatchString(h.IPv4) || seen[h.IPv4] {
			r.t.Errorf("%s has the public address %q, which is none, or another's", name, h.IPv4)
		}
		seen[h.IPv4] = true
		if h.ID == "" || h.Region == "" || h.User == "" || (h.Volume != "") != (name == "v1") {
			r.t.Errorf("%s is %+v", name, h)
		}
	}
	if len(hosts) != n {
		r.t.Errorf("%d hosts, want %d", len(hosts), n)
	}
}

// noSecrets: credentials are in nothing that the tool wrote.
func (r *root) noSecrets() {
	r.t.Helper()
	if found := r.inFolder(strings.Repeat("t", 64)); len(found) > 0 {
		r.t.Errorf("a token is in %v", found)
	}
}
