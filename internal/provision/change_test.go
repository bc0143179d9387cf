package provision

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// sizes are what the modules set a server's size by.
var sizes = map[string]string{
	"hcloud_server": "server_type", "digitalocean_droplet": "size", "vultr_instance": "plan", "openstack_compute_instance_v2": "flavor_name",
	"exoscale_compute_instance": "type", "aws_instance": "instance_type", "google_compute_instance": "machine_type",
}

// A server that gets another size in place is told apart from one of which anything else changes, in each cloud.
func TestResized(t *testing.T) {
	for _, server := range kinds[Server] {
		attribute := sizes[server]
		for _, tt := range []struct {
			name, resource, before, after, actions string
			resized                                bool
		}{
			{"another size", server, `"small"`, `"large"`, `"update"`, true},
			{"something else", server, `"small"`, `"small"`, `"update"`, false},
			{"made anew", server, `"small"`, `"large"`, `"delete","create"`, false},
			{"no server", "hcloud_volume", `"small"`, `"large"`, `"update"`, false},
		} {
			changes, err := read(strings.NewReader(fmt.Sprintf(`{"format_version":"1.2","resource_changes":[{"address":"module.x.%[1]s.host[\"v1\"]",
				"module_address":"module.x","mode":"managed","type":%[1]q,"change":{"actions":[%[2]s],"before":{%[3]q:%[4]s,"labels":{}},"after":{%[3]q:%[5]s,"labels":null}}}]}`,
				tt.resource, tt.actions, attribute, tt.before, tt.after)))
			if err != nil || len(changes) != 1 || changes[0].Resized != tt.resized {
				t.Errorf("%s, %s: %+v, %v", server, tt.name, changes, err)
			}
		}
	}
}

// The modules set a server's size by these names.
func TestSizesAreTheModules(t *testing.T) {
	for _, server := range kinds[Server] {
		found := false
		for _, src := range modules(t) {
			_, block, is := strings.Cut(src, fmt.Sprintf("resource %q", server))
			found = found || is && regexp.MustCompile(`(?m)^\s+`+sizes[server]+`\s+= .*size`).MatchString(block)
		}
		if !found {
			t.Errorf("no module sets the %s of a %s to its size", sizes[server], server)
		}
	}
}
