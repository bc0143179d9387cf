package fakecloud

import (
	"maps"
	"strings"
	"testing"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv me"

// trial is one cloud without a schema: rules need none.
type trial struct {
	t *testing.T
	p *provider
}

func newTrial(t *testing.T, c *cloud) trial {
	t.Helper()
	return trial{t, &provider{cloud: c, store: store{t.TempDir()}, stopped: t.Context()}}
}

// try validates and creates an object.
func (x trial) try(typ string, o object) (object, error) {
	x.t.Helper()
	rules := x.p.rules(typ)
	if rules.valid != nil {
		if err := rules.valid(o); err != nil {
			return nil, err
		}
	}
	planned := cloneObject(o)
	for attr, v := range rules.defaults {
		if planned[attr] == nil && !strings.Contains(attr, ".") {
			planned[attr] = v
		}
	}
	if rules.address != nil && planned[rules.address.attr] == nil {
		planned[rules.address.attr] = unknown
	}
	planned["id"] = unknown
	c := &change{p: x.p, typ: typ, rules: rules, planned: planned, config: o}
	return c.apply(x.t.Context())
}

// made is try for what must work.
func (x trial) made(typ string, o object) object {
	x.t.Helper()
	out, err := x.try(typ, o)
	if err != nil {
		x.t.Fatalf("make %s: %v", typ, err)
	}
	return out
}

func (x trial) update(typ string, was object, edits object) error {
	x.t.Helper()
	planned := cloneObject(was)
	maps.Copy(planned, edits)
	c := &change{p: x.p, typ: typ, rules: x.p.rules(typ), prior: was, planned: planned, config: planned}
	_, err := c.apply(x.t.Context())
	return err
}

func (x trial) delete(typ string, o object) error {
	x.t.Helper()
	c := &change{p: x.p, typ: typ, rules: x.p.rules(typ), prior: o}
	_, err := c.apply(x.t.Context())
	return err
}

// with is o with some attributes changed.
func with(o object, edits object) object {
	out := cloneObject(o)
	maps.Copy(out, edits)
	return out
}

// refused is one object that a cloud refuses, and a word of its reason.
type refused struct {
	rule, typ string
	o         object
	word      string
}

// refuse checks that the object is made as given, and that each case is refused for its own reason.
func (x trial) refuse(cases []refused) {
	x.t.Helper()
	for _, r := range cases {
		x.t.Run(r.rule, func(t *testing.T) {
			_, err := x.try(r.typ, r.o)
			if err == nil || !strings.Contains(err.Error(), r.word) {
				t.Fatalf("answered %v, want a refusal with %q", err, r.word)
			}
		})
	}
}

// held checks that an object is not deleted, for a reason.
func (x trial) held(rule, typ string, o object, word string) {
	x.t.Helper()
	if err := x.delete(typ, o); err == nil || !strings.Contains(err.Error(), word) {
		x.t.Errorf("%s: deleting answered %v, want a refusal with %q", rule, err, word)
	}
}

// outgrown checks that an edit of an object is refused.
func (x trial) outgrown(rule, typ string, o, edits object, word string) {
	x.t.Helper()
	if err := x.update(typ, o, edits); err == nil || !strings.Contains(err.Error(), word) {
		x.t.Errorf("%s: the update answered %v, want a refusal with %q", rule, err, word)
	}
}

func TestHetznerRefuses(t *testing.T) {
	x := newTrial(t, hetzner)
	server := object{"name": "s1", "server_type": "cx23", "image": "debian-12", "location": "fsn1", "ssh_keys": []any{"me"}}
	x.made("hcloud_ssh_key", object{"name": "me", "public_key": testKey})
	firewall := object{"name": "f", "rule": []any{object{"direction": "in", "protocol": "tcp", "port": "22", "source_ips": []any{"0.0.0.0/0"}}}}
	fw := x.made("hcloud_firewall", firewall)
	group := x.made("hcloud_placement_group", object{"name": "g", "type": "spread"})
	ip := x.made("hcloud_primary_ip", object{"name": "ip", "type": "ipv4", "location": "fsn1"})
	network := x.made("hcloud_network", object{"name": "n", "ip_range": "10.0.0.0/16"})
	far := x.made("hcloud_server", with(server, object{"name": "far", "location": "hel1"}))
	s1 := x.made("hcloud_server", with(server, object{
		"firewall_ids": []any{number(fw["id"])}, "placement_group_id": number(group["id"]),
		"public_net": []any{object{"ipv4": number(ip["id"]), "ipv4_enabled": true}},
	}))
	volume := x.made("hcloud_volume", object{"name": "v", "size": 20.0, "location": "fsn1"})
	attached := x.made("hcloud_volume_attachment", object{"volume_id": number(volume["id"]), "server_id": number(s1["id"])})
	subnet := object{"network_id": number(network["id"]), "type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}
	rule := func(edits object) object {
		return with(firewall, object{"name": "g", "rule": []any{with(blocks(firewall["rule"])[0], edits)}})
	}
	x.refuse([]refused{
		{"a name is a hostname", "hcloud_server", with(server, object{"name": "s_1"}), "hostname"},
		{"names are unique", "hcloud_server", server, "uniqueness_error"},
		{"label keys have a form", "hcloud_server", with(server, object{"name": "a", "labels": object{"a b": "c"}}), "label key"},
		{"label values have a form", "hcloud_server", with(server, object{"name": "a", "labels": object{"a": "-c"}}), "label value"},
		{"sizes are known", "hcloud_server", with(server, object{"name": "a", "server_type": "cx99"}), "does not exist"},
		{"places are known", "hcloud_server", with(server, object{"name": "a", "location": "mars1"}), "does not exist"},
		{"images are known", "hcloud_server", with(server, object{"name": "a", "image": "debian-1"}), "not found"},
		{"a size is not everywhere", "hcloud_server", with(server, object{"name": "a", "location": "ash"}), "unsupported location"},
		{"keys are there", "hcloud_server", with(server, object{"name": "a", "ssh_keys": []any{"you"}}), "not found"},
		{"protections are alike", "hcloud_server", with(server, object{"name": "a", "delete_protection": true}), "same value"},
		{"an address is one server's", "hcloud_server", with(server, object{"name": "a", "public_net": []any{object{"ipv4": ip["id"]}}}), "primary_ip_assigned"},
		{"an address is of its family", "hcloud_server", with(server, object{"name": "a", "public_net": []any{object{"ipv6": ip["id"]}}}), "type ipv6"},
		{"an address is where its server is", "hcloud_server", with(server, object{"name": "a", "location": "nbg1", "public_net": []any{object{"ipv4": ip["id"]}}}), "the server in nbg1"},
		{"a network has a subnet first", "hcloud_server", with(server, object{"name": "a", "network": []any{object{"network_id": number(network["id"])}}}), "no_subnet_available"},
		{"an attachment waits for a subnet", "hcloud_server_network", object{"server_id": number(s1["id"]), "network_id": number(network["id"])}, "no_subnet_available"},
		{"subnets are inside", "hcloud_network_subnet", with(subnet, object{"ip_range": "10.9.1.0/24"}), "not in the network's range"},
		{"zones are known", "hcloud_network_subnet", with(subnet, object{"network_zone": "moon"}), "network_zone"},
		{"a key is there once", "hcloud_ssh_key", object{"name": "again", "public_key": testKey}, "uniqueness_error"},
		{"a key is a key", "hcloud_ssh_key", object{"name": "bad", "public_key": "ssh-ed25519 nonsense"}, "SSH key is invalid"},
		{"tcp needs a port", "hcloud_firewall", rule(object{"port": nil}), "needs a port"},
		{"icmp has no port", "hcloud_firewall", rule(object{"protocol": "icmp"}), "has no port"},
		{"what comes in has a source", "hcloud_firewall", rule(object{"source_ips": []any{}}), "source_ips"},
		{"a network starts at its start", "hcloud_firewall", rule(object{"source_ips": []any{"10.0.0.1/8"}}), "not the start"},
		{"a port is a port", "hcloud_firewall", rule(object{"port": "70000"}), "not a port"},
		{"protocols are known", "hcloud_firewall", rule(object{"protocol": "sctp"}), "expected protocol"},
		{"a firewall has 50 rules", "hcloud_firewall", with(firewall, object{"name": "h", "rule": manyOf(51, blocks(firewall["rule"])[0])}), "at most 50"},
		{"groups spread", "hcloud_placement_group", object{"name": "h", "type": "pack"}, "expected type"},
		{"datacenter is gone", "hcloud_primary_ip", object{"name": "x", "type": "ipv4", "datacenter": "fsn1-dc14"}, "removed"},
		{"a volume has 10 GB", "hcloud_volume", object{"name": "w", "size": 5.0, "location": "fsn1"}, "range"},
		{"a volume is somewhere", "hcloud_volume", object{"name": "w", "size": 10.0}, "location or a server"},
		{"a volume is formatted as known", "hcloud_volume", object{"name": "w", "size": 10.0, "location": "fsn1", "format": "zfs"}, "expected format"},
		{"a volume is where its server is", "hcloud_volume", object{"name": "w", "size": 10.0, "location": "fsn1", "server_id": number(far["id"])}, "server in hel1"},
		{"a volume is attached once", "hcloud_volume_attachment", object{"volume_id": number(volume["id"]), "server_id": number(s1["id"])}, "uniqueness_error"},
	})
	x.made("hcloud_network_subnet", subnet)
	x.refuse([]refused{{"subnets do not overlap", "hcloud_network_subnet", subnet, "overlaps"}})
	x.outgrown("volumes only grow", "hcloud_volume", volume, object{"size": 10.0}, "only grow")
	big := x.made("hcloud_server", with(server, object{"name": "big", "server_type": "cx33"}))
	x.outgrown("a disk does not shrink", "hcloud_server", big, object{"server_type": "cx23"}, "smaller disk")
	x.held("a firewall in use (hetzner-k3s#625)", "hcloud_firewall", fw, "resource_in_use")
	x.held("a group in use", "hcloud_placement_group", group, "resource_in_use")
	x.held("an address in use", "hcloud_primary_ip", ip, "must_be_unassigned")
	x.held("a volume in use", "hcloud_volume", volume, "resource_in_use")
	guarded := x.made("hcloud_server", with(server, object{"name": "guarded", "delete_protection": true, "rebuild_protection": true}))
	x.held("protection", "hcloud_server", guarded, "protected")
	if err := x.delete("hcloud_server", s1); err != nil {
		t.Fatal(err)
	}
	if seen, err := x.p.read("hcloud_volume_attachment", attached); seen != nil || err != nil {
		t.Errorf("the attachment outlived its server: %v, %v", seen, err)
	}
	for range 10 {
		x.made("hcloud_server", with(server, object{"name": "g" + text(x.count("hcloud_server")), "placement_group_id": number(group["id"])}))
	}
	x.refuse([]refused{{"a group has ten", "hcloud_server", with(server, object{"name": "eleventh", "placement_group_id": number(group["id"])}), "ten servers"}})
}

func manyOf(n int, o object) []any {
	var out []any
	for range n {
		out = append(out, o)
	}
	return out
}

func (x trial) count(typ string) int {
	x.t.Helper()
	w, err := x.p.store.load()
	if err != nil {
		x.t.Fatal(err)
	}
	return len(w.Objects[typ])
}

func TestDigitaloceanRefuses(t *testing.T) {
	x := newTrial(t, digitalocean)
	droplet := object{"name": "s1", "region": "fra1", "size": "s-2vcpu-4gb", "image": "debian-12-x64"}
	firewall := object{"name": "f", "inbound_rule": []any{object{"protocol": "tcp", "port_range": "22", "source_addresses": []any{"0.0.0.0/0"}}}}
	x.made("digitalocean_ssh_key", object{"name": "me", "public_key": testKey, "fingerprint": unknown})
	x.made("digitalocean_firewall", firewall)
	volume := x.made("digitalocean_volume", object{"name": "v", "region": "fra1", "size": 20.0})
	vpc := x.made("digitalocean_vpc", object{"name": "n", "region": "fra1"})
	s1 := x.made("digitalocean_droplet", with(droplet, object{"volume_ids": []any{volume["id"]}, "vpc_uuid": vpc["id"], "disk": unknown}))
	x.made("digitalocean_droplet", droplet) // names are not unique
	ip := x.made("digitalocean_reserved_ip", object{"region": "nyc1"})
	rule := func(edits object) object {
		return with(firewall, object{"name": "g", "inbound_rule": []any{with(blocks(firewall["inbound_rule"])[0], edits)}})
	}
	x.refuse([]refused{
		{"a name is a hostname", "digitalocean_droplet", with(droplet, object{"name": "s_1"}), "hostname"},
		{"tags have a form", "digitalocean_droplet", with(droplet, object{"tags": []any{"a=b"}}), "tags may contain"},
		{"a tag has a form", "digitalocean_tag", object{"name": "a.b"}, "tags may contain"},
		{"images are known", "digitalocean_droplet", with(droplet, object{"image": "debian-1-x64"}), "invalid image"},
		{"regions are known", "digitalocean_droplet", with(droplet, object{"region": "mars1"}), "does not exist"},
		{"sizes are known", "digitalocean_droplet", with(droplet, object{"size": "s-99"}), "does not exist"},
		{"keys are there", "digitalocean_droplet", with(droplet, object{"ssh_keys": []any{"99"}}), "not found"},
		{"a key is there once", "digitalocean_ssh_key", object{"name": "again", "public_key": testKey, "fingerprint": unknown}, "uniqueness_error"},
		{"a firewall's name is unique", "digitalocean_firewall", firewall, "uniqueness_error"},
		{"a firewall's name has a form", "digitalocean_firewall", with(firewall, object{"name": "a_b"}), "firewall name"},
		{"a firewall has a rule", "digitalocean_firewall", object{"name": "g"}, "at least one rule"},
		{"tcp needs a port", "digitalocean_firewall", rule(object{"port_range": nil}), "port_range"},
		{"a port is a port", "digitalocean_firewall", rule(object{"port_range": "0"}), "not a port"},
		{"protocols are known", "digitalocean_firewall", rule(object{"protocol": "gre"}), "expected protocol"},
		{"a firewall's tag is there", "digitalocean_firewall", with(firewall, object{"name": "g", "tags": []any{"none"}}), "not found"},
		{"a volume's name has a form", "digitalocean_volume", object{"name": "V", "region": "fra1", "size": 10.0}, "volume name"},
		{"a volume's name is unique there", "digitalocean_volume", object{"name": "v", "region": "fra1", "size": 10.0}, "uniqueness_error"},
		{"a volume is not too large", "digitalocean_volume", object{"name": "w", "region": "fra1", "size": 20000.0}, "range"},
		{"a volume is one droplet's", "digitalocean_droplet", with(droplet, object{"volume_ids": []any{volume["id"]}}), "is attached to droplet"},
		{"a volume is where its droplet is", "digitalocean_droplet", with(droplet, object{"region": "nyc1", "volume_ids": []any{volume["id"]}}), "the droplet in nyc1"},
		{"an address is where its droplet is", "digitalocean_reserved_ip_assignment", object{"ip_address": ip["ip_address"], "droplet_id": number(s1["id"])}, "reserved IP is in nyc1"},
		{"a network's name is unique", "digitalocean_vpc", object{"name": "n", "region": "fra1"}, "uniqueness_error"},
		{"a project's name is unique", "digitalocean_project", x.made("digitalocean_project", object{"name": "p"}), "uniqueness_error"},
	})
	x.outgrown("volumes only grow", "digitalocean_volume", volume, object{"size": 10.0}, "only grow")
	x.outgrown("a disk does not shrink", "digitalocean_droplet", s1, object{"size": "s-1vcpu-1gb"}, "smaller disk")
	x.held("a volume in use", "digitalocean_volume", volume, "resource_in_use")
	x.held("a network in use", "digitalocean_vpc", vpc, "resource_in_use")
}

func TestVultrRefuses(t *testing.T) {
	x := newTrial(t, vultr)
	instance := object{"label": "s1", "region": "waw", "plan": "vc2-2c-4gb", "os_id": 2136.0}
	group := x.made("vultr_firewall_group", object{"description": "f"})
	rule := object{"firewall_group_id": group["id"], "protocol": "tcp", "ip_type": "v4", "subnet": "0.0.0.0", "subnet_size": 0.0, "port": "22"}
	x.made("vultr_firewall_rule", rule)
	ip := x.made("vultr_reserved_ip", object{"region": "waw", "ip_type": "v4"})
	vpc := x.made("vultr_vpc", object{"region": "waw"})
	s1 := x.made("vultr_instance", with(instance, object{
		"firewall_group_id": group["id"], "vpc_ids": []any{vpc["id"]}, "reserved_ip_id": ip["id"], "disk": unknown,
	}))
	volume := x.made("vultr_block_storage", object{"region": "waw", "size_gb": 20.0})
	x.refuse([]refused{
		{"regions are known", "vultr_instance", with(instance, object{"region": "mars"}), "does not exist"},
		{"plans are known", "vultr_instance", with(instance, object{"plan": "vc9"}), "does not exist"},
		{"systems are known", "vultr_instance", with(instance, object{"os_id": 1.0}), "does not exist"},
		{"one system", "vultr_instance", with(instance, object{"snapshot_id": "x"}), "exactly one"},
		{"some system", "vultr_instance", with(instance, object{"os_id": nil}), "exactly one"},
		{"a hostname is one", "vultr_instance", with(instance, object{"hostname": "s_1"}), "hostname"},
		{"an address is one instance's", "vultr_instance", with(instance, object{"reserved_ip_id": ip["id"]}), "already attached"},
		{"an address is where its instance is", "vultr_instance", with(instance, object{"region": "ewr", "reserved_ip_id": ip["id"]}), "same region"},
		{"an address is assigned where it is", "vultr_reserved_ip", object{"region": "ewr", "ip_type": "v4", "instance_id": s1["id"]}, "same region"},
		{"families are known", "vultr_reserved_ip", object{"region": "waw", "ip_type": "ipv4"}, "ip_type"},
		{"a rule is there once", "vultr_firewall_rule", rule, "already defined"},
		{"tcp needs a port", "vultr_firewall_rule", with(rule, object{"port": ""}), "Invalid port"},
		{"icmp has no port", "vultr_firewall_rule", with(rule, object{"protocol": "icmp"}), "Invalid port"},
		{"a port is a port", "vultr_firewall_rule", with(rule, object{"port": "99999"}), "not a port"},
		{"protocols are lower case", "vultr_firewall_rule", with(rule, object{"protocol": "TCP"}), "expected protocol"},
		{"a subnet is of its family", "vultr_firewall_rule", with(rule, object{"ip_type": "v6"}), "Invalid subnet"},
		{"a subnet starts at its start", "vultr_firewall_rule", with(rule, object{"subnet": "10.0.0.1", "subnet_size": 8.0}), "Invalid subnet"},
		{"a subnet is an address", "vultr_firewall_rule", with(rule, object{"subnet": "10.0.0.0/8"}), "valid IP"},
		{"block storage has 10 GB", "vultr_block_storage", object{"region": "waw", "size_gb": 5.0}, "range"},
		{"slow block storage has 40 GB", "vultr_block_storage", object{"region": "waw", "size_gb": 20.0, "block_type": "storage_opt"}, "range"},
		{"block types are known", "vultr_block_storage", object{"region": "waw", "size_gb": 20.0, "block_type": "nvme"}, "block_type"},
		{"block storage is where its instance is", "vultr_block_storage", object{"region": "ewr", "size_gb": 20.0, "attached_to_instance": s1["id"]}, "same region"},
		{"a key is a key", "vultr_ssh_key", object{"name": "me", "ssh_key": "no"}, "SSH key is invalid"},
	})
	for i := range 49 {
		x.made("vultr_firewall_rule", with(rule, object{"port": text(1000 + i)}))
	}
	x.refuse([]refused{{"a group has 50 rules", "vultr_firewall_rule", with(rule, object{"port": "99"}), "Maximum number"}})
	x.outgrown("block storage only grows", "vultr_block_storage", volume, object{"size_gb": 10.0}, "only grow")
	x.outgrown("a disk does not shrink", "vultr_instance", s1, object{"plan": "vc2-1c-1gb"}, "smaller disk")
	x.held("a firewall in use", "vultr_firewall_group", group, "resource_in_use")
	x.held("a network in use", "vultr_vpc", vpc, "resource_in_use")
}

func TestOpenstackRefuses(t *testing.T) {
	x := newTrial(t, openstack)
	net := x.made("openstack_networking_network_v2", object{"name": "n"})
	portless := object{"network_id": net["id"]}
	x.refuse([]refused{{"a port needs a subnet", "openstack_networking_port_v2", portless, "has no subnet"}})
	subnet := x.made("openstack_networking_subnet_v2", object{"network_id": net["id"], "cidr": "10.0.0.0/24"})
	group := x.made("openstack_networking_secgroup_v2", object{"name": "f"})
	rule := object{
		"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22.0, "port_range_max": 22.0,
		"remote_ip_prefix": "0.0.0.0/0",
	}
	x.made("openstack_networking_secgroup_rule_v2", rule)
	port := x.made("openstack_networking_port_v2", with(portless, object{"security_group_ids": []any{group["id"]}}))
	ip := x.made("openstack_networking_floatingip_v2", object{"pool": "public"})
	associate := object{"floating_ip": ip["address"], "port_id": port["id"]}
	instance := object{"name": "s1", "flavor_name": "b3-8", "image_name": "Debian 12", "network": []any{object{"port": port["id"]}}}
	s1 := x.made("openstack_compute_instance_v2", instance)
	volume := x.made("openstack_blockstorage_volume_v3", object{"name": "v", "size": 20.0})
	x.made("openstack_compute_volume_attach_v2", object{"instance_id": s1["id"], "volume_id": volume["id"]})
	x.made("openstack_compute_keypair_v2", object{"name": "me", "region": "R", "public_key": testKey})
	x.made("openstack_networking_network_v2", object{"name": "second"})
	x.refuse([]refused{
		{"a name is not empty", "openstack_compute_instance_v2", with(instance, object{"name": ""}), "invalid input for name"},
		{"a size is given", "openstack_compute_instance_v2", with(instance, object{"flavor_name": nil}), "flavor_name must be specified"},
		{"sizes are known", "openstack_compute_instance_v2", with(instance, object{"flavor_name": "b9"}), "does not exist"},
		{"images are known", "openstack_compute_instance_v2", with(instance, object{"image_name": "Debian 1"}), "does not exist"},
		{"metadata is short", "openstack_compute_instance_v2", with(instance, object{"metadata": object{"k": strings.Repeat("v", 256)}}), "255"},
		{"a port is one instance's", "openstack_compute_instance_v2", instance, "still in use"},
		{"a network is named when there are two", "openstack_compute_instance_v2", with(instance, object{"network": []any{}}), "multiple possible networks"},
		{"a key pair is there once", "openstack_compute_keypair_v2", object{"name": "me", "region": "R", "public_key": testKey}, "uniqueness_error"},
		{"key pairs are there", "openstack_compute_instance_v2", with(instance, object{"key_pair": "you"}), "not found"},
		{"policies are known", "openstack_compute_servergroup_v2", object{"name": "g", "policies": []any{"spread"}}, "policies"},
		{"tags are short", "openstack_networking_network_v2", object{"name": "t", "tags": []any{strings.Repeat("t", 61)}}, "60"},
		{"tags have no slash", "openstack_networking_port_v2", with(portless, object{"tags": []any{"a/b"}}), "slash"},
		{"default is taken", "openstack_networking_secgroup_v2", object{"name": "default"}, "already exists"},
		{"a rule is there once", "openstack_networking_secgroup_rule_v2", rule, "already exists"},
		{"a prefix is of its family", "openstack_networking_secgroup_rule_v2", with(rule, object{"ethertype": "IPv6"}), "Invalid ethertype"},
		{"icmp is of its family", "openstack_networking_secgroup_rule_v2", object{"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv6", "protocol": "icmp"}, "protocol icmp"},
		{"ports go together", "openstack_networking_secgroup_rule_v2", with(rule, object{"port_range_max": nil}), "go together"},
		{"directions are known", "openstack_networking_secgroup_rule_v2", with(rule, object{"direction": "in"}), "direction"},
		{"pools are known", "openstack_networking_floatingip_v2", object{"pool": "none"}, "does not exist"},
		{"a floating address is reachable", "openstack_networking_floatingip_associate_v2", associate, "not reachable"},
		{"an external network is for administrators", "openstack_networking_port_v2", object{"network_id": uuid("", 2)}, "not allowed"},
		{"a volume is attached once", "openstack_compute_volume_attach_v2", object{"instance_id": s1["id"], "volume_id": volume["id"]}, "uniqueness_error"},
		{"a volume has a size", "openstack_blockstorage_volume_v3", object{"size": 0.0}, "range"},
		{"a network starts at its start", "openstack_networking_subnet_v2", object{"network_id": net["id"], "cidr": "10.0.0.1/24"}, "not the start"},
	})
	router := x.made("openstack_networking_router_v2", object{"external_network_id": uuid("", 2)})
	leg := x.made("openstack_networking_router_interface_v2", object{"router_id": router["id"], "subnet_id": subnet["id"]})
	x.made("openstack_networking_floatingip_associate_v2", associate)
	x.held("a leg that addresses need", "openstack_networking_router_interface_v2", leg, "required by one or more floating IPs")
	x.held("a router with a leg", "openstack_networking_router_v2", router, "resource_in_use")
	x.held("a subnet with a leg", "openstack_networking_subnet_v2", subnet, "resource_in_use")
	x.held("a network with ports", "openstack_networking_network_v2", net, "resource_in_use")
	x.held("a group in use", "openstack_networking_secgroup_v2", group, "resource_in_use")
	x.held("a volume in use", "openstack_blockstorage_volume_v3", volume, "resource_in_use")
	x.outgrown("volumes only grow", "openstack_blockstorage_volume_v3", volume, object{"size": 10.0}, "only grow")
	x.outgrown("an attached volume grows if it may", "openstack_blockstorage_volume_v3", volume, object{"size": 30.0}, "enable_online_resize")
	if err := x.update("openstack_blockstorage_volume_v3", volume, object{"size": 30.0, "enable_online_resize": true}); err != nil {
		t.Errorf("an attached volume that may grow: %v", err)
	}
	spread := x.made("openstack_compute_servergroup_v2", object{"name": "g", "policies": []any{"anti-affinity"}})
	member := with(instance, object{"network": []any{object{"name": "n"}}, "scheduler_hints": []any{object{"group": spread["id"]}}})
	for range 10 {
		x.made("openstack_compute_instance_v2", member)
	}
	x.refuse([]refused{{"a group has ten", "openstack_compute_instance_v2", member, "too many servers"}})
}

func TestExoscaleRefuses(t *testing.T) {
	x := newTrial(t, exoscale)
	template := text(exoscale.row("exoscale_template", "zone", "de-fra-1")["id"])
	instance := object{"name": "s1", "zone": "de-fra-1", "type": "standard.medium", "template_id": template, "disk_size": 50.0}
	key := object{"name": "me", "public_key": testKey}
	x.made("exoscale_ssh_key", key)
	group := x.made("exoscale_security_group", object{"name": "f"})
	spread := x.made("exoscale_anti_affinity_group", object{"name": "g"})
	volume := x.made("exoscale_block_storage_volume", object{"name": "v", "zone": "de-fra-1", "size": 20.0})
	ip := x.made("exoscale_elastic_ip", object{"zone": "de-fra-1"})
	net := x.made("exoscale_private_network", object{"name": "n", "zone": "de-fra-1"})
	s1 := x.made("exoscale_compute_instance", with(instance, object{
		"security_group_ids": []any{group["id"]}, "anti_affinity_group_ids": []any{spread["id"]}, "block_storage_volume_ids": []any{volume["id"]},
		"elastic_ip_ids": []any{ip["id"]}, "network_interface": []any{object{"network_id": net["id"]}},
	}))
	rule := object{"security_group_id": group["id"], "type": "INGRESS", "protocol": "TCP", "cidr": "0.0.0.0/0", "start_port": 22.0, "end_port": 22.0}
	x.refuse([]refused{
		{"a name is a hostname", "exoscale_compute_instance", with(instance, object{"name": "s_1"}), "hostname"},
		{"zones are known", "exoscale_compute_instance", with(instance, object{"zone": "mars-1"}), "does not exist"},
		{"types are known", "exoscale_compute_instance", with(instance, object{"type": "standard.tall"}), "does not exist"},
		{"a template is of its zone", "exoscale_compute_instance", with(instance, object{"zone": "ch-gva-2"}), "not found in zone"},
		{"a disk has 10 GB", "exoscale_compute_instance", with(instance, object{"disk_size": 5.0}), "range"},
		{"keys are there", "exoscale_compute_instance", with(instance, object{"ssh_keys": []any{"you"}}), "not found"},
		{"a volume is one instance's", "exoscale_compute_instance", with(instance, object{"block_storage_volume_ids": []any{volume["id"]}}), "is attached to"},
		{"a key's name is unique", "exoscale_ssh_key", key, "uniqueness_error"},
		{"a group's name is unique", "exoscale_security_group", object{"name": "f"}, "uniqueness_error"},
		{"a spread group's name is unique", "exoscale_anti_affinity_group", object{"name": "g"}, "uniqueness_error"},
		{"one source", "exoscale_security_group_rule", with(rule, object{"user_security_group_id": group["id"]}), "exactly one"},
		{"some source", "exoscale_security_group_rule", with(rule, object{"cidr": nil}), "exactly one"},
		{"ports go together", "exoscale_security_group_rule", with(rule, object{"end_port": nil}), "go together"},
		{"ports are ports", "exoscale_security_group_rule", with(rule, object{"end_port": 70000.0}), "range"},
		{"ICMP has a type", "exoscale_security_group_rule", with(rule, object{"protocol": "ICMP", "start_port": nil, "end_port": nil}), "icmp_type"},
		{"ports are not ICMP's", "exoscale_security_group_rule", with(rule, object{"icmp_type": 8.0, "icmp_code": 0.0}), "conflict"},
		{"directions are known", "exoscale_security_group_rule", with(rule, object{"type": "IN"}), "expected type"},
		{"a volume has 10 GB", "exoscale_block_storage_volume", object{"name": "w", "zone": "de-fra-1", "size": 5.0}, "range"},
		{"a volume has a size", "exoscale_block_storage_volume", object{"name": "w", "zone": "de-fra-1"}, "must be given"},
		{"a managed network is whole", "exoscale_private_network", object{"name": "m", "zone": "de-fra-1", "start_ip": "10.0.0.2"}, "go together"},
	})
	x.outgrown("volumes only grow", "exoscale_block_storage_volume", volume, object{"size": 10.0}, "only grow")
	x.outgrown("disks only grow", "exoscale_compute_instance", s1, object{"disk_size": 20.0}, "only grow")
	for typ, o := range map[string]object{
		"exoscale_security_group": group, "exoscale_anti_affinity_group": spread, "exoscale_block_storage_volume": volume,
		"exoscale_elastic_ip": ip, "exoscale_private_network": net,
	} {
		x.held("in use: "+typ, typ, o, "resource_in_use")
	}
	guarded := x.made("exoscale_compute_instance", with(instance, object{"name": "guarded", "destroy_protected": true}))
	x.held("protection", "exoscale_compute_instance", guarded, "protected")
	member := with(instance, object{"anti_affinity_group_ids": []any{spread["id"]}})
	for range 7 {
		x.made("exoscale_compute_instance", member)
	}
	x.refuse([]refused{{"a spread group has eight", "exoscale_compute_instance", member, "8 instances"}})
}

// Credentials: missing, and revoked.
func TestLogin(t *testing.T) {
	for _, c := range clouds {
		if err := c.login(object{}, func(string) string { return "" }); err == nil {
			t.Errorf("%s lets in who has no credentials", c.name)
		}
		revoked := "revoked" + strings.Repeat("x", 57)
		env := func(name string) string {
			if name == "OS_AUTH_URL" {
				return "http://127.0.0.1"
			}
			if strings.HasPrefix(name, "OS_") && name != "OS_PASSWORD" {
				return ""
			}
			return revoked
		}
		if err := c.login(object{}, env); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%s answers %v to revoked credentials, want 401", c.name, err)
		}
	}
	if err := hetzner.login(object{"token": "short"}, func(string) string { return "" }); err == nil {
		t.Error("hetzner takes a token that is not 64 characters long")
	}
}
