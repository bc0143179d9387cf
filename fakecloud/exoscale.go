package fakecloud

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// exoscale's defaults and force-new are those of github.com/exoscale/terraform-provider-exoscale v0.70.0, exoscale/ and
// pkg/resources/; what the API refuses is from https://openapi-v2.exoscale.com and https://community.exoscale.com, "API"
// below.
var exoscale = &cloud{
	name: "exoscale", provider: "exoscale", namespace: "exoscale", version: "0.70.0",
	newID: uuid,
	login: func(config object, env func(string) string) error {
		return first(
			credential(config, env, "key", "EXOSCALE_API_KEY"), credential(config, env, "secret", "EXOSCALE_API_SECRET"))
	},
	given: exoscaleGiven(),
	lists: map[string]string{"exoscale_compute_instance_list": "exoscale_compute_instance"},
	texts: map[string]string{
		FaultUnavailable: "operation failed: no capacity for this instance type in the zone (HTTP 503)",
		FaultQuota:       "HTTP 403 Forbidden: resource limit for instance reached",
		FaultRate:        "HTTP 429 Too Many Requests, Retry-After: 60",
		FaultServerError: "HTTP 500 Internal Server Error",
	},
	firewalls: exoscaleFirewalls,
	addresses: func(w *world) map[string]string {
		out := map[string]string{}
		for _, ip := range w.all("exoscale_elastic_ip") {
			out[text(ip["ip_address"])] = ""
			for _, s := range w.having("exoscale_compute_instance", "elastic_ip_ids", ip["id"]) {
				out[text(ip["ip_address"])] = text(s["name"])
			}
		}
		return out
	},
	resources: map[string]*resource{
		"exoscale_compute_instance": {
			legacy: true, defaults: map[string]any{"enable_tpm": false, "ipv6": false, "private": false},
			forceNew: strings.Fields("anti_affinity_group_ids deploy_target_id enable_secure_boot ssh_key ssh_keys template_id zone private"),
			// resource.go, rApply: it sets neither of them.
			unread: []string{"private", "destroy_protected", "block_storage_volume_ids"}, guard: "destroy_protected", grows: []string{"disk_size"}, importID: beforeZone,
			refs: []ref{
				{attr: "ssh_keys", to: "exoscale_ssh_key", by: []string{"name"}},
				{attr: "ssh_key", to: "exoscale_ssh_key", by: []string{"name"}},
				{attr: "anti_affinity_group_ids", to: "exoscale_anti_affinity_group", holds: true}, // API: 409 while it has instances
				{attr: "security_group_ids", to: "exoscale_security_group", holds: true},
				{attr: "elastic_ip_ids", to: "exoscale_elastic_ip", holds: true},
				{attr: "block_storage_volume_ids", to: "exoscale_block_storage_volume", holds: true}, // API: detach first
				{attr: "network_interface.network_id", to: "exoscale_private_network", holds: true},
			},
			server: &server{
				region: "zone", size: "type", image: "template_id", ipv4: "public_ip_address", ipv6: "ipv6_address", reboots: []string{"type"}, keys: exoscaleKeys,
			},
			check: exoscaleInstance,
			fill: func(c *change) {
				c.set("state", "running")
				c.set("created_at", "2026-01-01 00:00:00 +0000 UTC")
				c.set("mac_address", "06:00:00:00:00:01")
				if c.planned["ipv6"] != true {
					c.set("ipv6_address", "")
				}
				c.planned["private_network_ids"] = at(c.planned, "network_interface.network_id")
			},
		},
		"exoscale_ssh_key": {
			forceNew: []string{"name", "public_key"}, unique: []string{"name"}, unread: []string{"public_key"},
			check: checkKey("public_key"), fill: fillKey("public_key"), id: func(c *change) string { return text(c.planned["name"]) },
		},
		"exoscale_anti_affinity_group": {forceNew: []string{"name", "description"}, unique: []string{"name"}},
		"exoscale_security_group": {
			forceNew: []string{"name", "description"}, unique: []string{"name"}, fill: func(c *change) { c.set("description", "") },
		},
		"exoscale_security_group_rule": {
			named: "description", defaults: map[string]any{"protocol": "TCP"},
			forceNew: strings.Fields("security_group_id type protocol cidr public_security_group user_security_group_id start_port end_port icmp_type icmp_code description"),
			refs: []ref{
				{attr: "security_group_id", to: "exoscale_security_group", falls: true},
				{attr: "user_security_group_id", to: "exoscale_security_group", holds: true},
			},
			valid:    exoscaleRule,
			importID: func(given string) string { _, id, _ := strings.Cut(given, "/"); return id },
		},
		"exoscale_elastic_ip": {
			named: "ip_address", forceNew: []string{"address_family", "zone"}, importID: beforeZone,
			address: &address{attr: "ip_address", families: familyOf("address_family")}, check: exoscaleZone,
			fill: func(c *change) {
				c.set("address_family", "inet4")
				c.set("cidr", text(c.planned["ip_address"])+"/32")
				c.set("description", "")
			},
		},
		"exoscale_private_network": {
			forceNew: []string{"zone"}, importID: beforeZone, check: exoscaleZone,
			valid: func(config object) error {
				given := 0
				for _, attr := range []string{"start_ip", "end_ip", "netmask"} {
					if config[attr] != nil {
						given++
					}
				}
				if given != 0 && given != 3 { // API: a managed network has all three
					return errors.New("start_ip, end_ip and netmask go together")
				}
				return nil
			},
		},
		"exoscale_block_storage_volume": {
			forceNew: []string{"zone"}, grows: []string{"size"}, importID: beforeZone,
			unread: []string{"snapshot_target", "size", "labels"}, // resource_volume.go: read only where the state has them
			check: func(c *change) error {
				if c.planned["size"] == nil && c.planned["snapshot_target"] == nil {
					return errors.New("size or snapshot_target must be given")
				}
				return first(between("size", c.planned["size"], 10, 10240), exoscaleZone(c)) // API: 10 GiB to 10 TiB
			},
			fill: func(c *change) {
				c.set("blocksize", 4096.0)
				c.set("state", "detached")
				c.set("created_at", "2026-01-01 00:00:00 +0000 UTC")
			},
			derive: func(w *world, o object) {
				if len(w.having("exoscale_compute_instance", "block_storage_volume_ids", o["id"])) > 0 {
					o["state"] = "attached"
				}
			},
		},
	},
}

func beforeZone(given string) string { id, _, _ := strings.Cut(given, "@"); return id }

func exoscaleZone(c *change) error { return c.inCatalogue("zone", "zones", "name") }

func exoscaleInstance(c *change) error {
	o := c.planned
	if err := first(
		checkHostname("instance name", text(o["name"])), // API, create-instance: it becomes the host's name
		exoscaleZone(c), c.inCatalogue("type", "types", "name"), between("disk_size", o["disk_size"], 10, 51200),
	); err != nil {
		return err
	}
	template := c.p.cloud.row("exoscale_template", "id", o["template_id"])
	if c.prior == nil && (template == nil || text(template["zone"]) != text(o["zone"])) {
		return fmt.Errorf("template %s not found in zone %s (HTTP 404)", text(o["template_id"]), text(o["zone"]))
	}
	for _, id := range list(o["anti_affinity_group_ids"]) {
		others := c.w.having(c.typ, "anti_affinity_group_ids", id)
		if c.prior == nil && len(others) >= 8 { // community.exoscale.com, anti-affinity groups: at most 8 instances
			return fmt.Errorf("anti-affinity group %s has 8 instances already (HTTP 400)", text(id))
		}
	}
	for _, id := range list(o["block_storage_volume_ids"]) {
		volume := c.w.get("exoscale_block_storage_volume", id)
		if text(volume["zone"]) != text(o["zone"]) {
			return fmt.Errorf("volume %s is in zone %s and the instance in %s (HTTP 404)", text(id), text(volume["zone"]), text(o["zone"]))
		}
		// Nobody says that the API takes an attachment that there is already, which the provider asks for after an import.
		if c.prior != nil && !slices.Contains(texts(c.prior["block_storage_volume_ids"]), text(id)) && slices.Contains(texts(c.w.get(c.typ, c.id)["block_storage_volume_ids"]), text(id)) {
			return fmt.Errorf("volume %s is attached to this instance already (HTTP 409)", text(id))
		}
		for _, other := range c.w.having(c.typ, "block_storage_volume_ids", id) {
			if text(other["id"]) != c.id {
				return fmt.Errorf("volume %s is attached to instance %s (HTTP 409)", text(id), text(other["id"]))
			}
		}
	}
	return nil
}

// exoscaleRule is pkg/resources/security_group/resource_rule.go.
func exoscaleRule(config object) error {
	given := 0
	for _, attr := range []string{"cidr", "public_security_group", "user_security_group_id"} {
		if config[attr] != nil {
			given++
		}
	}
	if given != 1 {
		return errors.New("exactly one of cidr, public_security_group and user_security_group_id must be given")
	}
	if cidr := text(config["cidr"]); cidr != "" {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return err
		}
	}
	if (config["start_port"] == nil) != (config["end_port"] == nil) || (config["icmp_type"] == nil) != (config["icmp_code"] == nil) {
		return errors.New("start_port and end_port go together, and icmp_type and icmp_code")
	}
	if config["start_port"] != nil && config["icmp_type"] != nil {
		return errors.New("ports conflict with ICMP types")
	}
	protocol := strings.ToUpper(text(config["protocol"]))
	if icmp := strings.HasPrefix(protocol, "ICMP"); icmp && config["icmp_type"] == nil { // API, add-rule: icmp needs type and code
		return errors.New("a rule for ICMP needs icmp_type and icmp_code")
	}
	return first(
		oneOfFold("type", config["type"], "INGRESS", "EGRESS"),
		oneOfFold("protocol", config["protocol"], "AH", "ESP", "GRE", "ICMP", "ICMPv6", "IPIP", "TCP", "UDP", "ALL"),
		between("start_port", config["start_port"], 1, 65535), between("end_port", config["end_port"], 1, 65535),
		between("icmp_type", config["icmp_type"], -1, 254), between("icmp_code", config["icmp_code"], -1, 254),
	)
}

func exoscaleKeys(w *world, o object) []string {
	var out []string
	for _, name := range slices.Concat(list(o["ssh_keys"]), list(o["ssh_key"])) {
		if k := w.get("exoscale_ssh_key", name); k != nil {
			out = append(out, text(k["public_key"]))
		}
	}
	return out
}

func exoscaleFirewalls(w *world) map[string]Firewall {
	out := map[string]Firewall{}
	for _, g := range w.all("exoscale_security_group") {
		var rules []Rule
		for _, r := range w.having("exoscale_security_group_rule", "security_group_id", g["id"]) {
			direction := map[string]string{"INGRESS": "in", "EGRESS": "out"}[strings.ToUpper(text(r["type"]))]
			ports := strings.Trim(text(r["start_port"])+"-"+text(r["end_port"]), "-")
			rules = append(rules, Rule{direction, strings.ToLower(text(r["protocol"])), ports, texts(r["cidr"])})
		}
		on := w.having("exoscale_compute_instance", "security_group_ids", g["id"])
		out[text(g["name"])] = Firewall{Servers: namesOf("name", on), Rules: rules}
	}
	return out
}

func exoscaleGiven() map[string][]object {
	given := map[string][]object{}
	var zones []any
	templates := []string{
		"Linux Debian 12 (Bookworm) 64-bit", "Linux Debian 13 (Trixie) 64-bit", "Linux Ubuntu 22.04 LTS 64-bit",
		"Linux Ubuntu 24.04 LTS 64-bit", "Linux Ubuntu 26.04 LTS 64-bit",
	}
	for i, zone := range strings.Fields("at-vie-1 at-vie-2 bg-sof-1 ch-dk-2 ch-gva-2 de-fra-1 de-muc-1 hr-zag-1") {
		zones = append(zones, zone)
		given["zones"] = append(given["zones"], object{"name": zone})
		for j, name := range templates {
			user := "debian"
			if strings.Contains(name, "Ubuntu") {
				user = "ubuntu"
			}
			given["exoscale_template"] = append(given["exoscale_template"], object{
				"id": uuid("", int64(10*i+j+1)), "name": name, "zone": zone, "default_user": user, "visibility": "public",
			})
		}
	}
	given["exoscale_zones"] = []object{{"zones": zones}}
	for _, family := range []string{"standard", "cpu", "memory"} { // https://www.exoscale.com/pricing
		for _, size := range strings.Fields("micro tiny small medium large extra-large huge") {
			given["types"] = append(given["types"], object{"name": family + "." + size})
		}
	}
	return given
}
