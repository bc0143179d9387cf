package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/pressenter/pressenter/tofu"
)

// Action is what becomes of a resource.
type Action string

// Actions.
const (
	Create  Action = "create"
	Update  Action = "update"
	Replace Action = "replace" // destroyed and made anew
	Destroy Action = "destroy"
	Import  Action = "import" // it is there, and the state comes to know it
	Forget  Action = "forget" // the state knows it no more; it stays
)

// Kind is what a resource is to a host.
type Kind string

// Kinds of resources.
const (
	Server   Kind = "server"
	Volume   Kind = "volume"
	Address  Kind = "address"
	Firewall Kind = "firewall"
	Spread   Kind = "placement"
	Network  Kind = "network"
	Label    Kind = "label"
	Other    Kind = "other" // of a module that is newer than this program
)

// Change is what becomes of one resource.
type Change struct {
	Address string `json:"address"` // in the configuration
	Cloud   string `json:"cloud"`
	Type    string `json:"type"` // as the provider calls it
	Kind    Kind   `json:"kind"`
	Host    string `json:"host,omitempty"` // whose it is; empty for what several share
	Action  Action `json:"action"`
	// Because are the attributes that cannot change in place, of a replacement.
	Because []string `json:"because,omitempty"`
}

// Loses says whether the change destroys something that there is.
func (c Change) Loses() bool { return c.Action == Replace || c.Action == Destroy }

// Plan is what would change. It holds for the state that it was made for.
type Plan struct {
	Spec    tofu.Spec
	Changes []Change

	file string
}

// Empty says that nothing would change.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Plan says what has to change so that there are exactly the machines of spec.
func (w *Workspace) Plan(ctx context.Context, spec tofu.Spec) (*Plan, error) {
	if err := w.prepare(ctx, spec); err != nil {
		return nil, err
	}
	file := w.path(planFile)
	if _, err := w.ask(ctx, "plan", "-input=false", "-no-color", "-lock-timeout=20s", "-out="+file); err != nil {
		return nil, fmt.Errorf("plan machines: %w", err)
	}
	out, err := w.ask(ctx, "show", "-json", file)
	if err != nil {
		return nil, fmt.Errorf("read the plan of machines: %w", err)
	}
	changes, err := read(out)
	if err != nil {
		return nil, fmt.Errorf("read the plan of machines: %w", err)
	}
	return &Plan{Spec: spec, Changes: changes, file: file}, nil
}

// Apply does what the plan says, and nothing else. What a failed or interrupted apply made is known: plan again.
func (w *Workspace) Apply(ctx context.Context, p *Plan) error {
	if err := w.apply(ctx, p.Spec, filepath.Base(p.file)); err != nil {
		return fmt.Errorf("make machines: %w", err)
	}
	return w.settle()
}

// read takes a plan in the tool's JSON apart.
func read(b []byte) ([]Change, error) {
	var p tfjson.Plan
	p.UseJSONNumber(true)
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	var out []Change
	for _, r := range p.ResourceChanges {
		if r.Change == nil || r.Mode != tfjson.ManagedResourceMode {
			continue
		}
		action, any := actionOf(r.Change)
		if !any {
			continue
		}
		c := Change{
			Address: r.Address, Cloud: strings.TrimPrefix(r.ModuleAddress, "module."), Type: r.Type, Kind: kindOf(r.Type), Action: action,
			Host: hostOf(r.Address),
		}
		if c.Kind == Spread || c.Kind == Network {
			c.Host = ""
		}
		for _, path := range r.Change.ReplacePaths {
			c.Because = append(c.Because, words(path))
		}
		slices.Sort(c.Because)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Address, b.Address) })
	return out, nil
}

func actionOf(c *tfjson.Change) (Action, bool) {
	switch a := c.Actions; {
	case a.Replace():
		return Replace, true
	case a.Delete():
		return Destroy, true
	case a.Create():
		return Create, true
	case a.Update():
		return Update, true
	case a.Forget():
		return Forget, true
	case c.Importing != nil:
		return Import, true
	}
	return "", false
}

// words is a path of attributes as people write it.
func words(path any) string {
	parts, ok := path.([]any)
	if !ok {
		return fmt.Sprint(path)
	}
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = fmt.Sprint(p)
	}
	return strings.Join(out, ".")
}

// kinds are the resources of the modules. A test compares them with the modules.
var kinds = map[Kind][]string{
	Server: {
		"hcloud_server", "digitalocean_droplet", "vultr_instance", "openstack_compute_instance_v2", "exoscale_compute_instance",
		"aws_instance", "google_compute_instance",
	},
	Volume: {
		"hcloud_volume", "digitalocean_volume", "vultr_block_storage", "openstack_blockstorage_volume_v3",
		"openstack_compute_volume_attach_v2", "exoscale_block_storage_volume", "aws_ebs_volume", "aws_volume_attachment", "google_compute_disk",
	},
	Address: {
		"hcloud_primary_ip", "digitalocean_reserved_ip", "digitalocean_reserved_ip_assignment", "vultr_reserved_ip",
		"openstack_networking_floatingip_v2", "openstack_networking_floatingip_associate_v2", "openstack_networking_port_v2",
		"aws_eip", "aws_eip_association", "google_compute_address",
	},
	Firewall: {
		"hcloud_firewall", "digitalocean_firewall", "vultr_firewall_group", "vultr_firewall_rule", "openstack_networking_secgroup_v2",
		"openstack_networking_secgroup_rule_v2", "exoscale_security_group", "exoscale_security_group_rule", "aws_security_group",
		"aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule", "google_compute_firewall",
	},
	Spread: {
		"hcloud_placement_group", "openstack_compute_servergroup_v2", "exoscale_anti_affinity_group", "aws_placement_group",
		"google_compute_resource_policy",
	},
	Network: {
		"openstack_networking_network_v2", "openstack_networking_subnet_v2", "openstack_networking_router_v2",
		"openstack_networking_router_interface_v2", "google_compute_network",
	},
	Label: {"digitalocean_tag"},
}

func kindOf(resource string) Kind {
	for kind, types := range kinds {
		if slices.Contains(types, resource) {
			return kind
		}
	}
	return Other
}
