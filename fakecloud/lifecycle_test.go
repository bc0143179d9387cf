package fakecloud

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Each cloud, by each tool: make all, find nothing to do, lose the server, change its image, list it, destroy all.
func TestLifecycle(t *testing.T) {
	schemas := realSchemas(t)
	images := map[string]string{
		"hcloud": "debian-13", "digitalocean": "debian-13-x64", "vultr": "2284", "openstack": "Debian 13", "exoscale": "Linux Debian 13 (Trixie) 64-bit",
	}
	servers := map[string]string{
		"hcloud": "hcloud_server", "digitalocean": "digitalocean_droplet", "vultr": "vultr_instance",
		"openstack": "openstack_compute_instance_v2", "exoscale": "exoscale_compute_instance",
	}
	for _, c := range clouds {
		for _, name := range tools {
			t.Run(c.provider+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := newRoot(t, name, schemas)
				hcl, err := os.ReadFile(filepath.Join("testdata", "lifecycle", c.provider+".tf"))
				if err != nil {
					t.Fatal(err)
				}
				r.write("main.tf", string(hcl))
				r.must("init", "-input=false", "-no-color")
				r.must("validate", "-no-color")
				r.apply()
				r.plan(0)
				r.hasOne()
				r.losesServer(servers[c.provider])
				r.plan(2, "-var", "image="+images[c.provider])
				if got := r.actions()[servers[c.provider]+".s"]; !reflect.DeepEqual(got, []string{"delete", "create"}) {
					t.Fatalf("another image is %v of the server, want delete and create", got)
				}
				r.must("apply", "-input=false", "-no-color", "p")
				r.plan(0, "-var", "image="+images[c.provider])
				r.must("destroy", "-input=false", "-no-color", "-auto-approve")
				r.nothingRemains()
				r.journalHas(servers[c.provider], 3)
			})
		}
	}
}

// hasOne checks that the server is found by its label or tag, and that it has an address.
func (r *root) hasOne() {
	r.t.Helper()
	var listed []string
	var address string
	r.output("listed", &listed)
	r.output("address", &address)
	if !slices.Equal(listed, []string{"s1"}) || address == "" {
		r.t.Fatalf("listed %v with the address %q, want s1 with one", listed, address)
	}
}

// losesServer takes the server away behind the tool's back: it is made anew, and then there is nothing to do.
func (r *root) losesServer(typ string) {
	r.t.Helper()
	r.world(func(w *world) {
		for id := range w.Objects[typ] {
			w.drop(typ, id)
		}
	})
	r.plan(2)
	if got := r.actions()[typ+".s"]; !slices.Equal(got, []string{"create"}) {
		r.t.Fatalf("a lost server is planned as %v, want create", got)
	}
	r.apply()
	r.plan(0)
}

// journalHas checks that servers were made and deleted as often as they should: one of three was lost.
func (r *root) journalHas(typ string, made int) {
	r.t.Helper()
	calls, err := Journal(r.cloud)
	if err != nil {
		r.t.Fatal(err)
	}
	count := map[string]int{}
	for _, c := range calls {
		if c.Type == typ && c.Error == "" {
			count[c.Op]++
		}
	}
	if count["create"] != made || count["delete"] != made-1 || count["read"] == 0 {
		r.t.Fatalf("the journal has %v of %s, want %d created and %d deleted", count, typ, made, made-1)
	}
}

// A root that is locked to the real providers' checksums: init refuses the fake ones, the overrides work without init.
func TestRootThatIsLockedToTheRealProvider(t *testing.T) {
	schemas, err := filepath.Abs(filepath.Join("testdata", "schemas"))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range tools {
		t.Run(name, func(t *testing.T) {
			r := newRoot(t, name, schemas)
			r.write("main.tf", serverOnly)
			r.write(".terraform.lock.hcl", fmt.Sprintf("provider %q {\n  version = %q\n  hashes = [%q]\n}\n",
				registries[i]+"/hetznercloud/hcloud", hetzner.version, "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
			if out, code := r.run("init", "-input=false", "-no-color"); code == 0 || !strings.Contains(out, "checksum") {
				t.Fatalf("init took a provider with another checksum:\n%s", out)
			}
			r.env = append(r.env, "TF_CLI_CONFIG_FILE="+filepath.Join(filepath.Dir(r.cloud), "dev.tofurc"))
			r.must("get", "-no-color")
			r.apply()
			r.must("destroy", "-input=false", "-no-color", "-auto-approve")
			r.nothingRemains()
		})
	}
}
