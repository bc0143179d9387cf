package fakecloud

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// openstack's defaults and force-new are those of github.com/terraform-provider-openstack/terraform-provider-openstack
// v3.4.0, openstack/resource_openstack_*.go; what the API refuses is from https://docs.openstack.org/api-ref, "API" below.
// Sizes and images are called as OVHcloud calls them. Two networks are external: Ext-Net, which all may use as OVHcloud's
// is, and public, which is for routers and floating addresses only.
var openstack = &cloud{
	name: "openstack", provider: "openstack", namespace: "terraform-provider-openstack", version: "3.4.0",
	newID: uuid,
	login: func(config object, env func(string) string) error {
		if text(config["cloud"]) != "" || env("OS_CLOUD") != "" {
			return nil
		}
		if err := credential(config, env, "auth_url", "OS_AUTH_URL"); err != nil {
			return errors.New("one of 'auth_url' or 'cloud' must be specified") // provider.go
		}
		secret := "password"
		if text(config["application_credential_id"]) != "" || env("OS_APPLICATION_CREDENTIAL_ID") != "" {
			secret = "application_credential_secret"
		}
		return credential(config, env, secret, "OS_"+strings.ToUpper(secret))
	},
	given: openstackGiven(),
	limits: func(w *world, limits map[string]int, typ string, row object) {
		n := 100.0
		if l, ok := limits["openstack_compute_instance_v2"]; ok {
			n = float64(l)
		}
		row["max_total_instances"], row["instances"] = n, n
		row["total_instances_used"] = float64(len(w.Objects["openstack_compute_instance_v2"]))
	},
	texts: map[string]string{
		FaultUnavailable: "No valid host was found. There are not enough hosts available.",
		FaultQuota:       "HTTP 403 Quota exceeded for instances: Requested 1, but already used 10 of 10 instances",
		FaultRate:        "HTTP 429 This request was rate-limited, Retry-After: 60",
		FaultServerError: "HTTP 500 Unexpected API Error",
	},
	firewalls: openstackFirewalls,
	addresses: func(w *world) map[string]string {
		out := map[string]string{}
		for _, p := range w.all("openstack_networking_port_v2") {
			for _, s := range w.having("openstack_compute_instance_v2", "network.port", p["id"]) {
				for _, a := range texts(p["all_fixed_ips"]) {
					out[a] = text(s["name"])
				}
				for _, a := range w.having("openstack_networking_floatingip_associate_v2", "port_id", p["id"]) {
					out[text(a["floating_ip"])] = text(s["name"])
				}
			}
		}
		return out
	},
	resources: map[string]*resource{
		"openstack_compute_instance_v2": {
			legacy: true,
			defaults: map[string]any{
				"stop_before_destroy": false, "force_delete": false, "power_state": "active", "network.access_network": false,
				"vendor_options.ignore_resize_confirmation": false, "vendor_options.detach_ports_before_destroy": false,
				"block_device.delete_on_termination": false, "block_device.multiattach": false,
			},
			forceNew: strings.Fields("region user_data availability_zone_hints availability_zone network_mode network hypervisor_hostname config_drive " +
				"key_pair block_device scheduler_hints image_id image_name"),
			hashed: []string{"user_data"}, sticky: []string{"network"},
			unread: strings.Fields("user_data config_drive stop_before_destroy force_delete block_device scheduler_hints personality vendor_options " +
				"availability_zone_hints network_mode admin_pass"),
			refs: []ref{
				{attr: "key_pair", to: "openstack_compute_keypair_v2", by: []string{"name"}},
				{attr: "security_groups", to: "openstack_networking_secgroup_v2", by: []string{"name", "id"}, holds: true},
				{attr: "scheduler_hints.group", to: "openstack_compute_servergroup_v2"},
				{attr: "network.port", to: "openstack_networking_port_v2"},
				{attr: "network.uuid", to: "openstack_networking_network_v2"},
			},
			server: &server{
				region: "region", size: "flavor_name", image: "image_name", ipv4: "access_ip_v4", ipv6: "access_ip_v6",
				reboots: []string{"flavor_name", "flavor_id"}, keys: openstackKeys, reserved: openstackReserved,
			},
			check: openstackInstance, fill: openstackInstanceFill,
		},
		"openstack_compute_keypair_v2": {
			forceNew: strings.Fields("region name public_key value_specs user_id"), unique: []string{"name+region"},
			check: checkKey("public_key"), fill: fillKey("public_key"), id: func(c *change) string { return text(c.planned["name"]) },
		},
		"openstack_compute_servergroup_v2": {
			forceNew: strings.Fields("region name policies rules value_specs"),
			valid: func(config object) error {
				return oneOf("policies", text(first1(config["policies"])), "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity", "")
			},
			derive: func(w *world, o object) {
				o["members"] = ids(w.having("openstack_compute_instance_v2", "scheduler_hints.group", o["id"]))
			},
		},
		"openstack_compute_volume_attach_v2": {
			named: "volume_id", legacy: true, forceNew: strings.Fields("region instance_id volume_id multiattach tag vendor_options"),
			unread: []string{"vendor_options"}, unique: []string{"volume_id"},
			refs: []ref{
				{attr: "instance_id", to: "openstack_compute_instance_v2", falls: true},
				{attr: "volume_id", to: "openstack_blockstorage_volume_v3", holds: true}, // API: a volume in use is not deleted
			},
			fill: func(c *change) { c.set("device", "/dev/sdb") },
			id:   func(c *change) string { return text(c.planned["instance_id"]) + "/" + text(c.planned["volume_id"]) },
		},
		"openstack_blockstorage_volume_v3": {
			legacy: true, defaults: map[string]any{"volume_retype_policy": "never"}, grows: []string{"size"},
			forceNew: strings.Fields("region availability_zone snapshot_id source_vol_id image_id backup_id consistency_group_id source_replica scheduler_hints"),
			unread:   strings.Fields("volume_retype_policy enable_online_resize scheduler_hints image_id backup_id"),
			check:    openstackVolume,
			fill: func(c *change) {
				c.set("availability_zone", "nova")
				c.set("volume_type", "classic")
				if c.planned["metadata"] == unknown {
					c.planned["metadata"] = object{}
				}
			},
			derive: func(w *world, o object) {
				on := []any{}
				for _, a := range w.having("openstack_compute_volume_attach_v2", "volume_id", o["id"]) {
					on = append(on, object{"id": a["id"], "instance_id": a["instance_id"], "device": a["device"]})
				}
				o["attachment"] = on
			},
		},
		"openstack_networking_network_v2": {
			forceNew: strings.Fields("region tenant_id value_specs availability_zone_hints transparent_vlan"), valid: openstackTags,
			fill: func(c *change) {
				c.set("admin_state_up", true)
				c.set("shared", false)
				c.set("external", false)
				c.set("mtu", 1450.0)
			},
		},
		"openstack_networking_subnet_v2": {
			legacy: true, defaults: map[string]any{"no_gateway": false, "ip_version": 4.0, "enable_dhcp": true},
			forceNew: strings.Fields("region network_id cidr prefix_length tenant_id ip_version ipv6_address_mode ipv6_ra_mode subnetpool_id value_specs"),
			refs:     []ref{{attr: "network_id", to: "openstack_networking_network_v2", holds: true}}, // API: 409 while ports use it
			valid:    func(config object) error { return first(checkNetworks(list(config["cidr"])), openstackTags(config)) },
			fill: func(c *change) {
				if p, err := netip.ParsePrefix(text(c.planned["cidr"])); err == nil {
					c.set("gateway_ip", p.Addr().Next().String())
				}
			},
		},
		"openstack_networking_router_v2": {
			forceNew: strings.Fields("region distributed flavor_id tenant_id value_specs availability_zone_hints"), valid: openstackTags,
			refs: []ref{{attr: "external_network_id", to: "openstack_networking_network_v2"}},
			fill: func(c *change) {
				c.set("admin_state_up", true)
				c.set("distributed", false)
				c.set("enable_snat", true)
			},
		},
		"openstack_networking_router_interface_v2": {
			named: "router_id", legacy: true, defaults: map[string]any{"force_destroy": false},
			forceNew: strings.Fields("region router_id subnet_id port_id"), unread: []string{"force_destroy"},
			refs: []ref{
				{attr: "router_id", to: "openstack_networking_router_v2", holds: true}, // API: 409, router has ports
				{attr: "subnet_id", to: "openstack_networking_subnet_v2", holds: true},
			},
			fill:   func(c *change) { c.set("port_id", c.id) },
			remove: openstackLegNeeded,
		},
		"openstack_networking_port_v2": {
			forceNew: strings.Fields("region network_id mac_address tenant_id device_owner device_id value_specs"), valid: openstackTags,
			legacy: true, defaults: map[string]any{"extra_dhcp_option.ip_version": 4.0, "binding.vnic_type": "normal"}, sticky: []string{"binding"},
			refs: []ref{
				{attr: "network_id", to: "openstack_networking_network_v2", holds: true},
				{attr: "fixed_ip.subnet_id", to: "openstack_networking_subnet_v2", holds: true},
				{attr: "security_group_ids", to: "openstack_networking_secgroup_v2", holds: true}, // API: 409, in use
			},
			address: &address{attr: "all_fixed_ips", many: true, families: openstackPortFamilies}, check: openstackPort,
			fill: func(c *change) {
				c.set("mac_address", "fa:16:3e:00:00:01")
				c.set("admin_state_up", true)
				c.set("all_security_group_ids", c.planned["security_group_ids"])
				c.set("port_security_enabled", true)
			},
		},
		"openstack_networking_secgroup_v2": {
			forceNew: []string{"region", "tenant_id", "delete_default_rules"}, unread: []string{"delete_default_rules"}, valid: openstackTags,
			fill: func(c *change) { c.set("description", ""); c.set("stateful", true) },
			check: func(c *change) error {
				if c.planned["name"] == "default" { // API: the name default is the project's own group
					return errors.New("HTTP 409 Default security group already exists")
				}
				return nil
			},
		},
		"openstack_networking_secgroup_rule_v2": {
			named: "description",
			forceNew: strings.Fields("region description direction ethertype port_range_min port_range_max protocol remote_group_id remote_ip_prefix " +
				"remote_address_group_id security_group_id tenant_id"),
			refs:  []ref{{attr: "security_group_id", to: "openstack_networking_secgroup_v2", falls: true}},
			valid: openstackRule, check: openstackRuleCheck,
			fill: func(c *change) {
				c.set("remote_ip_prefix", "")
				c.set("remote_group_id", "")
				c.set("remote_address_group_id", "")
			},
		},
		"openstack_networking_floatingip_v2": {
			named: "address", forceNew: strings.Fields("region address pool tenant_id value_specs dns_name dns_domain"), valid: openstackTags,
			unread: []string{"subnet_ids"}, address: &address{attr: "address", families: familyOf("family")},
			check: func(c *change) error { return c.inCatalogue("pool", "openstack_networking_network_v2", "name") },
			fill:  func(c *change) { c.set("port_id", ""); c.set("fixed_ip", "") },
			derive: func(w *world, o object) {
				for _, a := range w.having("openstack_networking_floatingip_associate_v2", "floating_ip", o["address"]) {
					o["port_id"], o["fixed_ip"] = a["port_id"], a["fixed_ip"]
				}
			},
		},
		"openstack_networking_floatingip_associate_v2": {
			named: "floating_ip", forceNew: []string{"region", "floating_ip"},
			refs: []ref{
				{attr: "floating_ip", to: "openstack_networking_floatingip_v2", by: []string{"address"}, falls: true},
				{attr: "port_id", to: "openstack_networking_port_v2", falls: true},
			},
			check: openstackReachable,
			fill: func(c *change) {
				c.set("fixed_ip", text(first1(c.is("port_id", "openstack_networking_port_v2")["all_fixed_ips"])))
			},
			id: func(c *change) string {
				by := ref{to: "openstack_networking_floatingip_v2", by: []string{"address"}}
				return text(c.p.cloud.find(c.w, by, c.planned["floating_ip"])["id"])
			},
		},
	},
}

func first1(v any) any {
	if l := list(v); len(l) > 0 {
		return l[0]
	}
	return nil
}

// openstackTags: API, networking tags: at most 60 characters, no slash and no comma.
func openstackTags(config object) error {
	for _, tag := range texts(config["tags"]) {
		if len(tag) > 60 || strings.ContainsAny(tag, "/,") {
			return fmt.Errorf("HTTP 400 invalid input for tags: %q has more than 60 characters, or a slash or a comma", tag)
		}
	}
	return nil
}

func openstackInstance(c *change) error {
	o := c.planned
	if text(o["name"]) == "" || len(text(o["name"])) > 255 {
		return errors.New("HTTP 400 invalid input for name: 1 to 255 characters")
	}
	if text(o["flavor_name"]) == "" && text(o["flavor_id"]) == "" {
		return errors.New("either flavor_id or flavor_name must be specified")
	}
	for _, k := range []string{"metadata"} {
		m, _ := o[k].(object)
		for name, v := range m { // API: at most 255 bytes each
			if len(name) > 255 || len(text(v)) > 255 {
				return fmt.Errorf("HTTP 400 metadata %q has more than 255 characters", name)
			}
		}
	}
	err := first(
		c.inCatalogue("flavor_name", "openstack_compute_flavor_v2", "name"), c.inCatalogue("flavor_id", "openstack_compute_flavor_v2", "id"),
		c.inCatalogue("image_name", "openstack_images_image_v2", "name"), c.inCatalogue("image_id", "openstack_images_image_v2", "id"),
	)
	if err != nil || c.prior != nil {
		return err
	}
	if len(blocks(o["network"])) == 0 && len(c.w.Objects["openstack_networking_network_v2"]) > 1 { // API: 409
		return errors.New("HTTP 409 multiple possible networks found, use a Network ID to be more specific")
	}
	for _, id := range at(o, "network.port") {
		if on := c.w.having(c.typ, "network.port", id); text(id) != "" && len(on) > 0 {
			return fmt.Errorf("HTTP 409 Port %s is still in use", text(id))
		}
	}
	return openstackSpread(c)
}

// openstackSpread: a group has at most ten members, the default of the quota server_group_members.
func openstackSpread(c *change) error {
	for _, id := range at(c.planned, "scheduler_hints.group") {
		if len(c.w.having(c.typ, "scheduler_hints.group", id)) >= 10 {
			return errors.New("HTTP 403 Quota exceeded, too many servers in group")
		}
	}
	return nil
}

func openstackInstanceFill(c *change) {
	o := c.planned
	flavor := c.p.cloud.row("openstack_compute_flavor_v2", "name", o["flavor_name"])
	if flavor == nil {
		flavor = c.p.cloud.row("openstack_compute_flavor_v2", "id", o["flavor_id"])
	}
	image := c.p.cloud.row("openstack_images_image_v2", "name", o["image_name"])
	if image == nil {
		image = c.p.cloud.row("openstack_images_image_v2", "id", o["image_id"])
	}
	o["flavor_name"], o["flavor_id"] = flavor["name"], flavor["id"]
	c.set("image_name", image["name"])
	c.set("image_id", image["id"])
	c.set("availability_zone", "nova")
	c.set("created", "2026-01-01 00:00:00 +0000 UTC")
	c.set("updated", "2026-01-01 00:00:00 +0000 UTC")
	c.set("all_metadata", o["metadata"])
	c.set("all_tags", list(o["tags"]))
	c.set("security_groups", []any{"default"})
	for _, n := range blocks(o["network"]) {
		port := c.w.get("openstack_networking_port_v2", n["port"])
		for _, a := range texts(port["all_fixed_ips"]) {
			attr, access := "fixed_ip_v4", "access_ip_v4"
			if strings.Contains(a, ":") {
				attr, access = "fixed_ip_v6", "access_ip_v6"
			}
			if n[attr] == unknown {
				n[attr] = a
			}
			c.set(access, a)
		}
		if n["uuid"] == unknown {
			n["uuid"] = port["network_id"]
		}
	}
}

// openstackReserved are a server's addresses that were there before it: of its ports.
func openstackReserved(w *world, o object) []string {
	var out []string
	for _, id := range at(o, "network.port") {
		out = append(out, texts(w.get("openstack_networking_port_v2", id)["all_fixed_ips"])...)
	}
	return out
}

// openstackPortFamilies: in a network that all may use a port has an address of each family, in a private one of its own.
func openstackPortFamilies(w *world, o object) []string {
	if w.get("openstack_networking_network_v2", o["network_id"]) == nil {
		return []string{"ipv4", "ipv6"}
	}
	return []string{"private"}
}

// openstackPort: policy create_port: only an administrator makes ports in an external network that is not shared; and a
// network needs a subnet before a port in it has an address.
func openstackPort(c *change) error {
	given := c.p.cloud.row("openstack_networking_network_v2", "id", c.planned["network_id"])
	if given != nil && given["shared"] != "true" {
		return fmt.Errorf("HTTP 403 Tenant not allowed to create port on network %s", text(given["name"]))
	}
	if given == nil && len(c.w.having("openstack_networking_subnet_v2", "network_id", c.planned["network_id"])) == 0 {
		return fmt.Errorf("HTTP 400 network %s has no subnet to take an address from", text(c.planned["network_id"]))
	}
	return nil
}

// openstackReachable: API, floating IPs: "External network … is not reachable from subnet …" without a router between.
func openstackReachable(c *change) error {
	port := c.is("port_id", "openstack_networking_port_v2")
	for _, s := range c.w.having("openstack_networking_subnet_v2", "network_id", port["network_id"]) {
		if len(c.w.having("openstack_networking_router_interface_v2", "subnet_id", s["id"])) > 0 {
			return nil
		}
	}
	return fmt.Errorf("HTTP 404 External network is not reachable from the subnet of port %s. Therefore, cannot associate it with a Floating IP", text(port["id"]))
}

// openstackLegNeeded: API, remove interface: 409 while floating addresses go through it.
func openstackLegNeeded(c *change) error {
	subnet := c.w.get("openstack_networking_subnet_v2", c.w.get(c.typ, c.id)["subnet_id"])
	for _, port := range c.w.having("openstack_networking_port_v2", "network_id", subnet["network_id"]) {
		if len(c.w.having("openstack_networking_floatingip_associate_v2", "port_id", port["id"])) > 0 {
			return errors.New("HTTP 409 Router interface cannot be deleted, as it is required by one or more floating IPs")
		}
	}
	return nil
}

func openstackRule(config object) error {
	min, max := config["port_range_min"], config["port_range_max"]
	if (min == nil) != (max == nil) || min != nil && config["protocol"] == nil {
		return errors.New("port_range_min, port_range_max and protocol go together")
	}
	return first(
		oneOf("direction", config["direction"], "ingress", "egress"), oneOf("ethertype", config["ethertype"], "IPv4", "IPv6"),
		between("port_range_min", min, 0, 65535), between("port_range_max", max, 0, 65535),
		oneOf("protocol", config["protocol"], strings.Fields("ah dccp egp esp gre icmp igmp ipip ipv6-encap ipv6-frag ipv6-icmp ipv6-nonxt ipv6-opts "+
			"ipv6-route ospf pgm rsvp sctp tcp udp udplite vrrp any")...),
	)
}

// openstackRuleCheck: API, security group rules: 400 where the prefix is not of the ethertype, 409 for the same rule twice.
func openstackRuleCheck(c *change) error {
	o := c.planned
	if prefix := text(o["remote_ip_prefix"]); prefix != "" {
		p, err := netip.ParsePrefix(prefix)
		if err != nil || p.Addr().Is4() != (text(o["ethertype"]) == "IPv4") {
			return fmt.Errorf("HTTP 400 Invalid ethertype %s for remote_ip_prefix %s", text(o["ethertype"]), prefix)
		}
	}
	if text(o["protocol"]) == "icmp" && text(o["ethertype"]) == "IPv6" {
		return errors.New("HTTP 400 Invalid ethertype IPv6 for protocol icmp")
	}
	for _, r := range c.w.having(c.typ, "security_group_id", o["security_group_id"]) {
		same := true
		for _, attr := range strings.Fields("direction ethertype protocol port_range_min port_range_max remote_ip_prefix remote_group_id") {
			same = same && text(r[attr]) == text(o[attr])
		}
		if same {
			return fmt.Errorf("HTTP 409 Security group rule already exists. Rule id is %s", text(r["id"]))
		}
	}
	return nil
}

func openstackKeys(w *world, o object) []string {
	var out []string
	for _, k := range w.having("openstack_compute_keypair_v2", "name", o["key_pair"]) {
		out = append(out, text(k["public_key"]))
	}
	return out
}

// openstackVolume is a range, and resource_openstack_blockstorage_volume_v3.go: what is attached grows only where it may.
func openstackVolume(c *change) error {
	o := c.planned
	attached := len(c.w.having("openstack_compute_volume_attach_v2", "volume_id", c.id)) > 0
	if c.prior != nil && number(o["size"]) > number(c.prior["size"]) && attached && o["enable_online_resize"] != true {
		return fmt.Errorf("error extending openstack_blockstorage_volume_v3 %s, volume is attached to the instance and resizing online is disabled, see enable_online_resize option", c.id)
	}
	return between("size", o["size"], 1, 12000)
}

func openstackFirewalls(w *world) map[string]Firewall {
	out := map[string]Firewall{}
	for _, g := range w.all("openstack_networking_secgroup_v2") {
		on := slices.Concat(
			w.having("openstack_compute_instance_v2", "security_groups", g["name"]), w.having("openstack_compute_instance_v2", "security_groups", g["id"]))
		for _, p := range w.having("openstack_networking_port_v2", "security_group_ids", g["id"]) {
			on = append(on, w.having("openstack_compute_instance_v2", "network.port", p["id"])...)
		}
		rules := []Rule{{Direction: "out"}} // a new group lets all out
		for _, r := range w.having("openstack_networking_secgroup_rule_v2", "security_group_id", g["id"]) {
			direction := map[string]string{"ingress": "in", "egress": "out"}[text(r["direction"])]
			ports := text(r["port_range_min"]) + "-" + text(r["port_range_max"])
			rules = append(rules, Rule{direction, text(r["protocol"]), strings.TrimPrefix(ports, "-"), texts(r["remote_ip_prefix"])})
		}
		out[text(g["id"])] = Firewall{Servers: namesOf("name", on), Rules: rules}
	}
	return out
}

func openstackGiven() map[string][]object {
	given := map[string][]object{
		"openstack_networking_network_v2": {
			{"id": uuid("", 1), "network_id": uuid("", 1), "name": "Ext-Net", "external": true, "shared": "true", "status": "ACTIVE"},
			{"id": uuid("", 2), "network_id": uuid("", 2), "name": "public", "external": true, "shared": "false", "status": "ACTIVE"},
		},
		"openstack_networking_secgroup_v2":        {{"id": uuid("", 3), "secgroup_id": uuid("", 3), "name": "default"}},
		"openstack_compute_limits_v2":             {{"id": "limits"}},
		"openstack_compute_quotaset_v2":           {{"id": "quota"}},
		"openstack_compute_availability_zones_v2": {{"id": "zones", "names": []any{"nova"}}},
	}
	// CPUs, memory in MB, disk: https://www.ovhcloud.com/en/public-cloud/prices
	for i, w := range strings.Fields("d2-2/1/2048/25 d2-4/2/4096/50 d2-8/4/8192/50 b2-7/2/7168/50 b2-15/4/15360/100 b2-30/8/30720/200 b3-8/2/8192/50 " +
		"b3-16/4/16384/100 b3-32/8/32768/200 b3-64/16/65536/400 c2-7/2/7168/50 c2-15/4/15360/100 c3-4/2/4096/50 c3-8/4/8192/100 c3-16/8/16384/200 " +
		"r2-15/2/15360/50 r3-16/2/16384/50 r3-32/4/32768/100 s1-2/1/2048/10 s1-4/1/4096/20 s1-8/2/8192/40") {
		p := strings.Split(w, "/")
		given["openstack_compute_flavor_v2"] = append(given["openstack_compute_flavor_v2"], object{
			"id": uuid("", int64(100+i)), "flavor_id": uuid("", int64(100+i)), "name": p[0], "vcpus": number(p[1]), "ram": number(p[2]), "disk": number(p[3]),
			"is_public": true,
		})
	}
	for i, name := range []string{"Debian 12", "Debian 13", "Ubuntu 22.04", "Ubuntu 24.04", "Ubuntu 26.04"} {
		given["openstack_images_image_v2"] = append(given["openstack_images_image_v2"], object{
			"id": uuid("", int64(200+i)), "name": name, "visibility": "public", "min_disk_gb": 0.0, "min_ram_mb": 0.0, "tags": []any{},
		})
	}
	return given
}
