package fakecloud

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// hetzner is Hetzner Cloud. Defaults and force-new are those of github.com/hetznercloud/terraform-provider-hcloud v1.68.0,
// internal/*/resource*.go; what the API refuses is from https://docs.hetzner.cloud/reference/cloud, "API" below.
var hetzner = &cloud{
	name: "hetzner", provider: "hcloud", namespace: "hetznercloud", version: "1.68.0",
	newID: numbered,
	login: func(config object, env func(string) string) error {
		token := text(config["token"])
		if token == "" {
			token = env("HCLOUD_TOKEN")
		}
		if token != "" && len(token) != 64 { // hcloud/provider.go
			return errors.New("entered token is invalid (must be exactly 64 characters long)")
		}
		return credential(config, env, "token", "HCLOUD_TOKEN")
	},
	given: hetznerGiven(),
	lists: map[string]string{
		"hcloud_images": "hcloud_image", "hcloud_locations": "hcloud_location", "hcloud_server_types": "hcloud_server_type",
	},
	texts: map[string]string{
		FaultUnavailable: "error during placement (resource_unavailable)",
		FaultQuota:       "server limit reached (resource_limit_exceeded)",
		FaultRate:        "limit of 3600 requests per hour reached (rate_limit_exceeded), HTTP 429, retry-after: 60",
		FaultServerError: "internal server error (server_error), HTTP 500",
	},
	firewalls: hetznerFirewalls,
	addresses: func(w *world) map[string]string {
		out := map[string]string{}
		for _, ip := range w.all("hcloud_primary_ip") {
			out[text(ip["ip_address"])] = text(w.get("hcloud_server", hetznerAssignee(w, ip))["name"])
		}
		for _, ip := range w.all("hcloud_floating_ip") {
			out[text(ip["ip_address"])] = text(w.get("hcloud_server", ip["server_id"])["name"])
		}
		return out
	},
	resources: map[string]*resource{
		"hcloud_server": {
			legacy:   true,
			defaults: hetznerServerDefaults,
			forceNew: []string{"image", "location", "user_data", "ssh_keys"},
			hashed:   []string{"user_data"}, sticky: []string{"public_net", "network"},
			unread: []string{"ssh_keys", "user_data", "keep_disk", "shutdown_before_deletion", "ignore_remote_firewall_ids"},
			unique: []string{"name"}, guard: "delete_protection",
			refs: []ref{
				{attr: "ssh_keys", to: "hcloud_ssh_key", by: []string{"id", "name"}},
				{attr: "firewall_ids", to: "hcloud_firewall", holds: true}, // hetzner-k3s#625: a firewall in use is not deleted
				{attr: "placement_group_id", to: "hcloud_placement_group", holds: true},
				{attr: "public_net.ipv4", to: "hcloud_primary_ip"},
				{attr: "public_net.ipv6", to: "hcloud_primary_ip"},
				{attr: "network.network_id", to: "hcloud_network", holds: true},
			},
			server: &server{
				region: "location", size: "server_type", image: "image", ipv4: "ipv4_address", ipv6: "ipv6_address",
				reboots: []string{"server_type"}, keys: hetznerKeys,
				reserved: func(w *world, o object) []string {
					return append(hetznerReserved(w, o, "ipv4"), hetznerReserved(w, o, "ipv6")...)
				},
			},
			valid: checkLabels, check: hetznerServer, fill: hetznerServerFill,
		},
		"hcloud_ssh_key": {
			forceNew: []string{"public_key"}, unique: []string{"name", "fingerprint", "public_key"}, valid: checkLabels,
			check: checkKey("public_key"), fill: fillKey("public_key"),
		},
		"hcloud_firewall": {
			unique: []string{"name"}, valid: hetznerFirewall, sticky: []string{"apply_to"},
			refs: []ref{{attr: "apply_to.server", to: "hcloud_server"}},
		},
		"hcloud_firewall_attachment": {
			named: "firewall_id", forceNew: []string{"firewall_id"}, unique: []string{"firewall_id"},
			refs: []ref{
				{attr: "firewall_id", to: "hcloud_firewall", holds: true},
				{attr: "server_ids", to: "hcloud_server"},
			},
			id: func(c *change) string { return text(c.planned["firewall_id"]) },
		},
		"hcloud_placement_group": {
			unique: []string{"name"},
			valid: func(config object) error {
				return first(checkLabels(config), oneOf("type", config["type"], "spread"))
			},
			derive: func(w *world, o object) {
				o["servers"] = ids(w.having("hcloud_server", "placement_group_id", o["id"]))
			},
		},
		"hcloud_primary_ip": {
			defaults: map[string]any{"auto_delete": false, "delete_protection": false, "assignee_type": "server"},
			forceNew: []string{"type", "location"}, unique: []string{"name"}, guard: "delete_protection", valid: hetznerPrimaryIP,
			address: &address{attr: "ip_address", families: familyOf("type")},
			check:   func(c *change) error { return c.inCatalogue("location", "hcloud_location", "name") },
			fill: func(c *change) {
				c.set("location", "fsn1")
				c.set("ip_network", text(c.planned["ip_address"])+"/64")
				if c.planned["labels"] == unknown {
					c.planned["labels"] = object{}
				}
			},
			remove: func(c *change) error { // API: a Primary IP that is assigned cannot be deleted
				o := c.w.get(c.typ, c.id)
				if id := hetznerAssignee(c.w, o); id != nil {
					return fmt.Errorf("primary IP %q is assigned to server %s (must_be_unassigned)", text(o["name"]), text(id))
				}
				return nil
			},
			derive: func(w *world, o object) { o["assignee_id"] = hetznerAssignee(w, o) },
		},
		"hcloud_floating_ip": {
			legacy: true, defaults: map[string]any{"delete_protection": false}, forceNew: []string{"type", "home_location"},
			unique: []string{"name"}, guard: "delete_protection", address: &address{attr: "ip_address", families: familyOf("type")},
			refs: []ref{{attr: "server_id", to: "hcloud_server"}}, valid: checkLabels,
		},
		"hcloud_floating_ip_assignment": {
			named: "floating_ip_id", forceNew: []string{"floating_ip_id"},
			refs: []ref{
				{attr: "floating_ip_id", to: "hcloud_floating_ip", falls: true},
				{attr: "server_id", to: "hcloud_server", falls: true},
			},
			id: func(c *change) string { return text(c.planned["floating_ip_id"]) },
		},
		"hcloud_network": {
			legacy: true, defaults: map[string]any{"delete_protection": false, "expose_routes_to_vswitch": false},
			forceNew: []string{"ip_range"}, unique: []string{"name"}, guard: "delete_protection",
			valid: func(config object) error { return first(checkLabels(config), checkNetworks(list(config["ip_range"]))) },
		},
		"hcloud_network_subnet": {
			named: "ip_range", forceNew: []string{"network_id", "type", "network_zone", "ip_range", "vswitch_id"},
			refs:  []ref{{attr: "network_id", to: "hcloud_network", falls: true}},
			valid: func(config object) error { return oneOf("type", config["type"], "cloud", "server", "vswitch") },
			check: hetznerSubnet,
			fill: func(c *change) {
				p, _ := netip.ParsePrefix(text(c.planned["ip_range"]))
				c.set("gateway", p.Addr().Next().String())
			},
			id: func(c *change) string { return text(c.planned["network_id"]) + "-" + text(c.planned["ip_range"]) },
		},
		"hcloud_server_network": {
			named: "server_id", forceNew: []string{"server_id", "network_id", "subnet_id", "ip"},
			refs: []ref{
				{attr: "server_id", to: "hcloud_server", falls: true},
				{attr: "network_id", to: "hcloud_network", holds: true},
				{attr: "subnet_id", to: "hcloud_network_subnet", holds: true},
			},
			check: hetznerServerNetwork,
			fill: func(c *change) {
				c.set("ip", invent(c.w, "private"))
				c.set("alias_ips", []any{})
				c.set("mac_address", "86:00:ff:00:00:01")
			},
			id: func(c *change) string { return text(c.planned["server_id"]) + "-" + text(c.planned["network_id"]) },
		},
		"hcloud_volume": {
			legacy: true, defaults: map[string]any{"delete_protection": false}, forceNew: []string{"location"},
			unread: []string{"automount", "format"}, unique: []string{"name"}, grows: []string{"size"}, guard: "delete_protection",
			refs: []ref{{attr: "server_id", to: "hcloud_server"}}, valid: checkLabels, check: hetznerVolume,
			fill: func(c *change) {
				c.set("location", c.is("server_id", "hcloud_server")["location"])
				c.set("linux_device", "/dev/disk/by-id/scsi-0HC_Volume_"+c.id)
			},
			derive: func(w *world, o object) {
				for _, a := range w.having("hcloud_volume_attachment", "volume_id", o["id"]) {
					o["server_id"] = a["server_id"]
				}
				if w.get("hcloud_server", o["server_id"]) == nil {
					o["server_id"] = nil // API: deleting a server detaches its volumes
				}
			},
		},
		"hcloud_volume_attachment": {
			named: "volume_id", forceNew: []string{"volume_id", "server_id"}, unique: []string{"volume_id"}, unread: []string{"automount"},
			refs: []ref{
				{attr: "volume_id", to: "hcloud_volume", holds: true},
				{attr: "server_id", to: "hcloud_server", falls: true},
			},
			check: func(c *change) error {
				return hetznerTogether(c.is("volume_id", "hcloud_volume"), c.is("server_id", "hcloud_server"))
			},
			id: func(c *change) string { return text(c.planned["volume_id"]) },
		},
		"hcloud_rdns": {
			named: "ip_address", forceNew: []string{"server_id", "primary_ip_id", "floating_ip_id", "load_balancer_id", "ip_address"},
			refs: []ref{{attr: "server_id", to: "hcloud_server", falls: true}, {attr: "primary_ip_id", to: "hcloud_primary_ip", falls: true}},
		},
	},
}

var hetznerServerDefaults = map[string]any{
	"keep_disk": false, "backups": false, "ignore_remote_firewall_ids": false, "delete_protection": false,
	"rebuild_protection": false, "shutdown_before_deletion": false, "public_net.ipv4_enabled": true, "public_net.ipv6_enabled": true,
}

// hetznerServer is what the API refuses of a server.
func hetznerServer(c *change) error {
	o := c.planned
	err := first(
		checkHostname("server name", text(o["name"])), // API: "must be a valid hostname as per RFC 1123"
		c.inCatalogue("server_type", "hcloud_server_type", "name"),
		c.inCatalogue("location", "hcloud_location", "name"),
	)
	if err != nil {
		return err
	}
	if image := text(o["image"]); image != "" && c.prior == nil && c.p.cloud.row("hcloud_image", "name", image) == nil {
		if c.p.cloud.row("hcloud_image", "id", image) == nil {
			return fmt.Errorf("image %s not found", image)
		}
	}
	if o["delete_protection"] != o["rebuild_protection"] { // API, change protection: the two need the same value
		return errors.New("delete and rebuild protection need to have the same value (invalid_input)")
	}
	size := c.p.cloud.row("hcloud_server_type", "name", o["server_type"])
	where := text(o["location"])
	if where != "" && !slices.ContainsFunc(blocks(size["locations"]), func(l object) bool { return text(l["name"]) == where }) {
		return fmt.Errorf("unsupported location %s for server type %s (invalid_input)", where, text(o["server_type"]))
	}
	if c.prior != nil { // API, change type: only to a type whose disk is as large
		was := number(c.prior["primary_disk_size"])
		if size := number(size["disk"]); size < was {
			return fmt.Errorf("server type %s has a smaller disk (%g GB) than the server (%g GB) (invalid_server_type)", text(o["server_type"]), size, was)
		}
	}
	group := c.w.having("hcloud_server", "placement_group_id", o["placement_group_id"])
	if text(o["placement_group_id"]) != "" && c.prior == nil && len(group) >= 10 { // API: at most ten servers in a group
		return errors.New("placement group is full: it has ten servers (resource_limit_exceeded)")
	}
	return first(hetznerServerAddresses(c), hetznerServerNetworks(c))
}

// hetznerServerAddresses refuses addresses that are elsewhere or another server's.
func hetznerServerAddresses(c *change) error {
	for _, net := range blocks(c.planned["public_net"]) {
		for _, family := range []string{"ipv4", "ipv6"} {
			ip := c.w.get("hcloud_primary_ip", net[family])
			if ip == nil {
				continue
			}
			if text(ip["type"]) != family {
				return fmt.Errorf("primary IP %q is not of type %s (invalid_input)", text(ip["name"]), family)
			}
			if where := text(c.planned["location"]); where != "" && text(ip["location"]) != where {
				return fmt.Errorf("primary IP %q is in %s and the server in %s (invalid_input)", text(ip["name"]), text(ip["location"]), where)
			}
			if other := hetznerAssignee(c.w, ip); other != nil && text(other) != c.id {
				return fmt.Errorf("primary IP %q is assigned to server %s (primary_ip_assigned)", text(ip["name"]), text(other))
			}
		}
	}
	return nil
}

// hetznerServerNetworks refuses a network without a subnet: error code no_subnet_available of the API.
func hetznerServerNetworks(c *change) error {
	for _, net := range blocks(c.planned["network"]) {
		if id := text(net["network_id"]); id != "" && len(c.w.having("hcloud_network_subnet", "network_id", id)) == 0 {
			return fmt.Errorf("network %s has no subnet yet (no_subnet_available)", id)
		}
	}
	return nil
}

func hetznerServerFill(c *change) {
	o, w := c.planned, c.w
	size := c.p.cloud.row("hcloud_server_type", "name", o["server_type"])
	c.set("location", "fsn1")
	c.set("datacenter", text(o["location"])+"-dc1")
	c.set("image", "debian-12")
	c.set("status", "running")
	c.set("firewall_ids", []any{})
	c.set("backup_window", "")
	if o["keep_disk"] != true || c.prior == nil {
		o["primary_disk_size"] = size["disk"]
	}
	for attr, family := range map[string]string{"ipv4_address": "ipv4", "ipv6_address": "ipv6"} {
		for _, net := range blocks(o["public_net"]) {
			if net[family+"_enabled"] == false {
				o[attr] = ""
			}
		}
		if ip := hetznerReserved(w, o, family); len(ip) > 0 {
			o[attr] = ip[0]
		}
	}
	c.set("ipv6_network", "2001:db8::/64")
	for _, net := range blocks(o["network"]) {
		for attr, v := range map[string]any{"ip": invent(w, "private"), "alias_ips": []any{}, "mac_address": "86:00:ff:00:00:02"} {
			if net[attr] == unknown {
				net[attr] = v
			}
		}
	}
}

// hetznerAssignee is the server that an address is on: who names it in its public_net, or whom it names.
func hetznerAssignee(w *world, ip object) any {
	for _, s := range w.all("hcloud_server") {
		if slices.Contains(texts(append(at(s, "public_net.ipv4"), at(s, "public_net.ipv6")...)), text(ip["id"])) {
			return s["id"]
		}
	}
	if w.get("hcloud_server", ip["assignee_id"]) != nil {
		return ip["assignee_id"]
	}
	return nil
}

func hetznerReserved(w *world, server object, family string) []string {
	var out []string
	for _, id := range at(server, "public_net."+family) {
		if ip := w.get("hcloud_primary_ip", id); ip != nil {
			out = append(out, text(ip["ip_address"]))
		}
	}
	return out
}

func hetznerKeys(w *world, o object) []string {
	var out []string
	for _, k := range w.all("hcloud_ssh_key") {
		if r := (ref{attr: "ssh_keys", by: []string{"id", "name"}}); r.names(o, k) {
			out = append(out, text(k["public_key"]))
		}
	}
	return out
}

// hetznerPrimaryIP is what the provider and the API refuse of an address.
func hetznerPrimaryIP(config object) error {
	if config["datacenter"] != nil {
		return errors.New("the datacenter attribute was removed: use location")
	}
	return first(checkLabels(config), oneOf("type", config["type"], "ipv4", "ipv6"), oneOf("assignee_type", config["assignee_type"], "server"))
}

// hetznerFirewall is internal/firewall/validation.go, and the API: ports for tcp and udp and for nothing else, sources for
// what comes in, at most 50 rules.
func hetznerFirewall(config object) error {
	rules := blocks(config["rule"])
	if len(rules) > 50 {
		return errors.New("a firewall has at most 50 rules (invalid_input)")
	}
	for _, r := range rules {
		err := first(
			oneOf("direction", r["direction"], "in", "out"),
			oneOf("protocol", r["protocol"], "tcp", "udp", "icmp", "gre", "esp"),
			checkNetworks(list(r["source_ips"])), checkNetworks(list(r["destination_ips"])),
		)
		if err != nil {
			return err
		}
		ported := text(r["protocol"]) == "tcp" || text(r["protocol"]) == "udp"
		switch {
		case ported && r["port"] == nil:
			return fmt.Errorf("a rule for %s needs a port (invalid_input)", text(r["protocol"]))
		case !ported && r["port"] != nil && r["port"] != unknown:
			return fmt.Errorf("a rule for %s has no port (invalid_input)", text(r["protocol"]))
		case text(r["direction"]) == "in" && r["source_ips"] != unknown && len(list(r["source_ips"])) == 0:
			return errors.New("a rule for what comes in needs source_ips (invalid_input)")
		case ported:
			if err := checkPorts(r["port"]); err != nil {
				return err
			}
		}
	}
	return checkLabels(config)
}

// hetznerVolume: 10 to 10240 GB, either a location or a server, and both in one place.
func hetznerVolume(c *change) error {
	o := c.planned
	if err := first(between("size", o["size"], 10, 10240), oneOf("format", o["format"], "ext4", "xfs")); err != nil {
		return err
	}
	on := c.is("server_id", "hcloud_server")
	if text(o["location"]) == "" && on == nil {
		return errors.New("a volume needs a location or a server (invalid_input)")
	}
	return first(hetznerTogether(o, on), c.inCatalogue("location", "hcloud_location", "name"))
}

func hetznerTogether(volume, server object) error {
	if a, b := text(volume["location"]), text(server["location"]); a != "" && b != "" && a != b {
		return fmt.Errorf("the volume is in %s and the server in %s (invalid_input)", a, b)
	}
	return nil
}

// hetznerSubnet: inside its network's range, and no two overlap.
func hetznerSubnet(c *change) error {
	mine, err := netip.ParsePrefix(text(c.planned["ip_range"]))
	if err != nil {
		return err
	}
	whole, err := netip.ParsePrefix(text(c.is("network_id", "hcloud_network")["ip_range"]))
	if err != nil || !whole.Contains(mine.Addr()) || mine.Bits() < whole.Bits() {
		return fmt.Errorf("%s is not in the network's range %s (invalid_input)", mine, whole)
	}
	for _, o := range c.w.having(c.typ, "network_id", c.planned["network_id"]) {
		if p, err := netip.ParsePrefix(text(o["ip_range"])); err == nil && p.Overlaps(mine) {
			return fmt.Errorf("%s overlaps with the subnet %s (invalid_input)", mine, p)
		}
	}
	return oneOf("network_zone", c.planned["network_zone"], "eu-central", "us-east", "us-west", "ap-southeast")
}

func hetznerServerNetwork(c *change) error {
	id := c.planned["network_id"]
	if subnet := c.is("subnet_id", "hcloud_network_subnet"); subnet != nil {
		id = subnet["network_id"]
		c.planned["network_id"] = id
	}
	if len(c.w.having("hcloud_network_subnet", "network_id", id)) == 0 {
		return fmt.Errorf("network %s has no subnet yet (no_subnet_available)", text(id))
	}
	return nil
}

func hetznerFirewalls(w *world) map[string]Firewall {
	out := map[string]Firewall{}
	for _, f := range w.all("hcloud_firewall") {
		on := w.having("hcloud_server", "firewall_ids", f["id"])
		for _, a := range w.having("hcloud_firewall_attachment", "firewall_id", f["id"]) {
			for _, id := range list(a["server_ids"]) {
				on = append(on, w.get("hcloud_server", id))
			}
		}
		for _, id := range at(f, "apply_to.server") {
			on = append(on, w.get("hcloud_server", id))
		}
		var rules []Rule
		for _, r := range blocks(f["rule"]) {
			sources := texts(r["source_ips"])
			if text(r["direction"]) == "out" {
				sources = texts(r["destination_ips"])
			}
			ports := strings.Replace(text(r["port"]), "any", "1-65535", 1)
			rules = append(rules, Rule{Direction: text(r["direction"]), Protocol: text(r["protocol"]), Ports: ports, Sources: sources})
		}
		out[text(f["name"])] = Firewall{Servers: namesOf("name", on), Rules: rules}
	}
	return out
}

func hetznerGiven() map[string][]object {
	given := map[string][]object{}
	for i, w := range strings.Fields("fsn1/DE/eu-central nbg1/DE/eu-central hel1/FI/eu-central ash/US/us-east hil/US/us-west sin/SG/ap-southeast") {
		p := strings.Split(w, "/")
		given["hcloud_location"] = append(given["hcloud_location"], object{
			"id": float64(i + 1), "name": p[0], "city": p[0], "country": p[1], "network_zone": p[2], "latitude": 50.0, "longitude": 10.0,
		})
	}
	for i, name := range strings.Fields("debian-12 debian-13 ubuntu-22.04 ubuntu-24.04 ubuntu-26.04") {
		for j, arch := range []string{"x86", "arm"} {
			flavor, version, _ := strings.Cut(name, "-")
			given["hcloud_image"] = append(given["hcloud_image"], object{
				"id": float64(100 + 2*i + j), "name": name, "architecture": arch, "type": "system", "os_flavor": flavor,
				"os_version": version, "created": "2026-01-01T00:00:00Z", "rapid_deploy": true, "labels": object{},
			})
		}
	}
	// Cores, memory and disk, and where: https://www.hetzner.com/cloud and the server types' locations in the API.
	const eu, all = "fsn1 nbg1 hel1", "fsn1 nbg1 hel1 ash hil sin"
	for i, w := range []string{
		"cx23/2/4/40/" + eu, "cx33/4/8/80/" + eu, "cx43/8/16/160/" + eu, "cx53/16/32/320/" + eu,
		"cpx11/2/2/40/" + all, "cpx21/3/4/80/" + all, "cpx31/4/8/160/" + all, "cpx41/8/16/240/" + all, "cpx51/16/32/360/" + all,
		"cpx12/1/2/40/" + eu, "cpx22/2/4/80/" + eu, "cpx32/4/8/160/" + eu, "cpx42/8/16/320/" + eu, "cpx52/12/24/480/" + eu, "cpx62/16/32/640/" + eu,
		"cax11/2/4/40/" + eu, "cax21/4/8/80/" + eu, "cax31/8/16/160/" + eu, "cax41/16/32/320/" + eu,
		"ccx13/2/8/80/" + all, "ccx23/4/16/160/" + all, "ccx33/8/32/240/" + all, "ccx43/16/64/360/" + all,
	} {
		given["hcloud_server_type"] = append(given["hcloud_server_type"], hetznerType(i, strings.Split(w, "/")))
	}
	return given
}

func hetznerType(i int, p []string) object {
	var where []any
	for j, l := range strings.Fields(p[4]) {
		where = append(where, object{"id": float64(j + 1), "name": l, "available": true, "recommended": true, "is_deprecated": false})
	}
	arch, kind := "x86", "shared"
	if strings.HasPrefix(p[0], "cax") {
		arch = "arm"
	}
	if strings.HasPrefix(p[0], "ccx") {
		kind = "dedicated"
	}
	return object{
		"id": float64(i + 1), "name": p[0], "cores": number(p[1]), "memory": number(p[2]), "disk": number(p[3]), "locations": where,
		"architecture": arch, "cpu_type": kind, "storage_type": "local", "is_deprecated": false, "included_traffic": 0.0,
	}
}
