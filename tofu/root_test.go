package tofu

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testID = "0123456789ab"

func spec() Spec {
	return Spec{
		Deployment: "osmosis-main",
		ID:         testID,
		SSHKeys:    []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@desk"},
		AdminCIDRs: []string{"192.0.2.7/32"},
		Hosts: map[string]Host{
			"validator": {Cloud: "hetzner", Role: RoleValidator, Region: "fsn1", Size: "cx33", VolumeGB: 200, Protected: true},
			"s1": {
				Cloud: "hetzner", Role: RoleSentry, Region: "nbg1", Size: "cx33", VolumeGB: 200, Group: "sentries",
				Ports: []Port{{"tcp", 26656}, {"udp", 51820}},
			},
			"s2": {
				Cloud: "vultr", Role: RoleSentry, Region: "fra", Size: "vc2-4c-8gb", Image: "2625", Group: "sentries",
				Ports: []Port{{"tcp", 26656}, {"udp", 51820}, {"tcp", 443}},
			},
		},
	}
}

func TestRoot(t *testing.T) {
	full := spec()
	full.Keep = []string{"digitalocean", "vultr"}
	full.Imports = []Import{{To: `module.hetzner.hcloud_server.host["s1"]`, ID: "4711"}}
	full.Moved = []Move{{From: `module.vultr.vultr_instance.host["old"]`, To: `module.vultr.vultr_instance.host["s2"]`}}
	full.Removed = []string{"module.vultr.vultr_reserved_ip.host"}
	full.Backend = &Backend{Type: "s3", Config: map[string]any{"bucket": "states", "key": "osmosis-main"}}
	for name, s := range map[string]Spec{"plain": spec(), "full": full, "empty": {Deployment: "a", ID: testID}} {
		t.Run(name, func(t *testing.T) {
			files, err := Root(s)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "root-"+name, files)
			again, err := Root(s)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(files, again, bytes.Equal) {
				t.Error("the same spec gives other files")
			}
			checkModuleFiles(t, files)
		})
	}
}

func TestSweep(t *testing.T) {
	files, err := Sweep(testID, []string{"vultr", "hetzner", "openstack", "vultr", "digitalocean", "exoscale"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sweep", files)
	checkModuleFiles(t, files)
	if files, err := Sweep(testID, []string{"openstack"}); len(files) > 0 || err != nil {
		t.Errorf("a sweep of a cloud that lists nothing: %d files, %v", len(files), err)
	}
}

func TestPreflight(t *testing.T) {
	s := spec()
	files, err := Preflight(s)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "preflight", files)
	checkModuleFiles(t, files)
	s.Hosts = map[string]Host{"v": {Cloud: "aws"}}
	if files, err := Preflight(s); len(files) > 0 || err != nil {
		t.Errorf("a preflight of a cloud that cannot be asked: %d files, %v", len(files), err)
	}
}

func TestUnknownCloud(t *testing.T) {
	s := spec()
	s.Hosts["s3"] = Host{Cloud: "cumulus"}
	_, inRoot := Root(s)
	_, inPreflight := Preflight(s)
	_, inSweep := Sweep(testID, []string{"cumulus"})
	for _, err := range []error{inRoot, inPreflight, inSweep} {
		if err == nil || !strings.Contains(err.Error(), `"cumulus"`) {
			t.Errorf("an unknown cloud: %v", err)
		}
	}
}

// Whatever the clouds and hosts, an AWS provider knows a region, because it does not start without one.
func TestAWSHasARegion(t *testing.T) {
	for want, s := range map[string]Spec{
		"eu-central-1": {Keep: []string{"aws"}},
		"ap-south-1": {Hosts: map[string]Host{
			"a": {Cloud: "aws", Region: "us-east-1"}, "b": {Cloud: "aws", Region: "ap-south-1"},
		}},
	} {
		files, err := Root(s)
		if err != nil {
			t.Fatal(err)
		}
		var main struct{ Provider map[string]map[string]string }
		if err := json.Unmarshal(files["main.tf.json"], &main); err != nil {
			t.Fatal(err)
		}
		if got := main.Provider["aws"]["region"]; got != want {
			t.Errorf("region %q, want %q", got, want)
		}
	}
}

func TestResourceName(t *testing.T) {
	long := strings.Repeat("a", 9) + "-" + strings.Repeat("b", 30)
	for want, in := range map[string][2]string{
		"osmosis-main-012345-s1":                      {"osmosis-main", "s1"},
		"aaaaaaaaa-012345-" + strings.Repeat("h", 40): {long, strings.Repeat("h", 40)},
		long + "-012345-s1":                           {long, "s1"},
	} {
		if got := ResourceName(in[0], testID, in[1]); got != want {
			t.Errorf("ResourceName(%q, %q) = %q, want %q", in[0], in[1], got, want)
		}
		if len(want+"-data") > 63 {
			t.Errorf("%q is too long for a host's name with a suffix", want)
		}
	}
}

func TestAddress(t *testing.T) {
	for want, f := range map[string]Found{
		`module.hetzner.hcloud_server.host["s1"]`:                {"hetzner", "hcloud_server", "1", "a-012345-s1", "s1"},
		`module.hetzner.hcloud_volume.data["s1"]`:                {"hetzner", "hcloud_volume", "1", "a-012345-s1-data", "s1"},
		`module.hetzner.hcloud_primary_ip.ipv4["s1"]`:            {"hetzner", "hcloud_primary_ip", "1", "a-012345-s1-v4", "s1"},
		`module.hetzner.hcloud_primary_ip.ipv6["s1"]`:            {"hetzner", "hcloud_primary_ip", "1", "a-012345-s1-v6", "s1"},
		`module.hetzner.hcloud_placement_group.spread["x-fsn1"]`: {"hetzner", "hcloud_placement_group", "1", "a-012345-x-fsn1", "x-fsn1"},
		`module.digitalocean.digitalocean_tag.host["s1"]`:        {"digitalocean", "digitalocean_tag", "t", "a-012345-s1", "s1"},
		`module.exoscale.exoscale_compute_instance.host["s1"]`:   {"exoscale", "exoscale_compute_instance", "u@z", "n", "s1"},
		``: {"hetzner", "hcloud_network", "1", "somebody-else", "s1"},
	} {
		if got := f.Address(); got != want {
			t.Errorf("%+v is at %s, want %s", f, got, want)
		}
	}
	if got := (Found{Cloud: "hetzner", Type: "hcloud_server", ID: "1"}).Address(); got != "" {
		t.Errorf("a server of no host is at %s", got)
	}
}

// golden compares the two files that are made; the others are as embedded.
func golden(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	for _, file := range []string{"main.tf.json", "terraform.tfvars.json"} {
		path := filepath.Join("testdata", name+"-"+strings.TrimSuffix(strings.TrimPrefix(file, "terraform."), ".json")+".golden")
		if *update {
			if err := os.WriteFile(path, files[file], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(files[file])); diff != "" {
			t.Errorf("%s differs; -update rewrites it:\n%s", path, diff)
		}
	}
}

// checkModuleFiles looks whether each module that is called is there, and nothing else.
func checkModuleFiles(t *testing.T, files map[string][]byte) {
	t.Helper()
	var main struct {
		Module map[string]struct{ Source string }
	}
	if err := json.Unmarshal(files["main.tf.json"], &main); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, m := range main.Module {
		want = append(want, strings.TrimPrefix(m.Source, "./"))
	}
	for name := range files {
		if dir := filepath.Dir(name); dir != "." && !slices.Contains(got, dir) {
			got = append(got, dir)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		t.Errorf("modules called: %v, written: %v", want, got)
	}
}
