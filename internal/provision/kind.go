package provision

import "slices"

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

// costs says whether a resource is paid for by itself.
func costs(resource string) bool {
	kind := kindOf(resource)
	return kind == Server || kind == Volume || kind == Address
}
