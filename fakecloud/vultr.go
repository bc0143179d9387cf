package fakecloud

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// vultr's defaults and force-new are those of github.com/vultr/terraform-provider-vultr v2.32.0, vultr/resource_*.go; what
// the API refuses is from https://www.vultr.com/api, "API" below.
var vultr = &cloud{
	name: "vultr", provider: "vultr", namespace: "vultr", version: "2.32.0",
	newID: func(typ string, n int64) string {
		if typ == "vultr_firewall_rule" {
			return numbered(typ, n)
		}
		return uuid(typ, n)
	},
	login: func(config object, env func(string) string) error {
		return credential(config, env, "api_key", "VULTR_API_KEY")
	},
	given: vultrGiven(),
	texts: map[string]string{
		FaultUnavailable: `{"error":"Plan is not available in the selected region.","status":400}`,
		FaultQuota:       `{"error":"You have reached the maximum monthly fee limit for this account. Please contact support to request a limit increase.","status":400}`,
		FaultRate:        `{"error":"Rate limit exceeded","status":429}, retry-after: 1`,
		FaultServerError: `{"error":"Internal server error","status":500}`,
	},
	firewalls: vultrFirewalls,
	addresses: func(w *world) map[string]string {
		out := map[string]string{}
		for _, ip := range w.all("vultr_reserved_ip") {
			o := cloneObject(ip)
			vultrAssigned(w, o)
			out[text(ip["subnet"])] = text(w.get("vultr_instance", o["instance_id"])["label"])
		}
		return out
	},
	resources: map[string]*resource{
		"vultr_instance": {
			named: "label", legacy: true,
			defaults: map[string]any{"ddos_protection": false, "iso_id": "", "backups": "disabled", "user_scheme": "root"},
			forceNew: strings.Fields("region app_id image_id os_id script_id ipxe_chain_url disable_public_ipv4 vpc_only ssh_key_ids " +
				"snapshot_id user_data hostname reserved_ip_id user_scheme app_variables block_devices"),
			unread: []string{"ssh_key_ids", "user_data", "user_scheme", "activation_email", "hostname", "reserved_ip_id"},
			refs: []ref{
				{attr: "ssh_key_ids", to: "vultr_ssh_key"},
				{attr: "firewall_group_id", to: "vultr_firewall_group", holds: true}, // API: the group must have no instance
				{attr: "reserved_ip_id", to: "vultr_reserved_ip"},
				{attr: "vpc_ids", to: "vultr_vpc", holds: true}, // API: a VPC with instances is not deleted
			},
			server: &server{
				region: "region", size: "plan", image: "os", ipv4: "main_ip", ipv6: "v6_main_ip", private: "internal_ip",
				reboots: []string{"plan"}, keys: vultrKeys,
				reserved: func(w *world, o object) []string {
					if ip := w.get("vultr_reserved_ip", o["reserved_ip_id"]); ip != nil {
						return []string{text(ip["subnet"])}
					}
					return nil
				},
			},
			check: vultrInstance, fill: vultrInstanceFill,
		},
		"vultr_bare_metal_server": {
			named: "label", legacy: true, defaults: map[string]any{"label": "", "script_id": "", "hostname": "", "mdisk_mode": "", "user_scheme": "root"},
			forceNew: strings.Fields("region plan script_id persistent_pxe enable_ipv6 ssh_key_ids user_data hostname image_id snapshot_id user_scheme app_variables mdisk_mode"),
			unread:   []string{"ssh_key_ids", "user_data", "user_scheme", "activation_email", "hostname"},
			refs:     []ref{{attr: "ssh_key_ids", to: "vultr_ssh_key"}},
			server:   &server{region: "region", size: "plan", image: "os", ipv4: "main_ip", ipv6: "v6_main_ip", keys: vultrKeys},
			check: func(c *change) error {
				return first(c.inCatalogue("region", "vultr_region", "id"), c.inCatalogue("plan", "vultr_bare_metal_plan", "id"))
			},
			fill: func(c *change) { c.set("status", "active") },
		},
		"vultr_ssh_key": {check: checkKey("ssh_key"), fill: func(c *change) { c.set("date_created", "2026-01-01T00:00:00+00:00") }},
		"vultr_firewall_group": {
			named: "description", legacy: true, defaults: map[string]any{"description": ""},
			fill: func(c *change) {
				c.set("date_created", "2026-01-01T00:00:00+00:00")
				c.set("date_modified", "2026-01-01T00:00:00+00:00")
			},
		},
		"vultr_firewall_rule": {
			named: "notes", legacy: true, defaults: map[string]any{"port": "", "notes": ""},
			forceNew: strings.Fields("firewall_group_id ip_type protocol subnet subnet_size port notes source"),
			refs:     []ref{{attr: "firewall_group_id", to: "vultr_firewall_group", falls: true}},
			valid:    vultrRule, check: vultrRuleCheck, fill: func(c *change) { c.set("source", "") },
			importID: func(given string) string { _, id, _ := strings.Cut(given, ","); return id },
		},
		"vultr_reserved_ip": {
			named: "label", legacy: true, defaults: map[string]any{"label": ""}, forceNew: []string{"region", "ip_type"},
			address: &address{attr: "subnet", families: familyOf("ip_type")}, refs: []ref{{attr: "instance_id", to: "vultr_instance"}},
			valid: func(config object) error { return oneOf("ip_type", config["ip_type"], "v4", "v6") },
			check: func(c *change) error {
				on := c.is("instance_id", "vultr_instance")
				if on != nil && text(on["region"]) != text(c.planned["region"]) {
					return errors.New(`{"error":"Reserved IP and instance must be in the same region","status":400}`)
				}
				return c.inCatalogue("region", "vultr_region", "id")
			},
			fill: func(c *change) {
				c.set("subnet_size", map[string]any{"v4": 32.0, "v6": 64.0}[text(c.planned["ip_type"])])
				c.set("instance_id", "")
			},
			derive: vultrAssigned,
		},
		"vultr_block_storage": {
			named: "label", legacy: true, defaults: map[string]any{"label": "", "live": false, "bootable": false},
			forceNew: []string{"region", "os_id", "snapshot_id", "bootable", "block_type"}, grows: []string{"size_gb"},
			unread: []string{"live", "snapshot_id", "os_id"}, refs: []ref{{attr: "attached_to_instance", to: "vultr_instance"}},
			valid: func(config object) error {
				return oneOf("block_type", config["block_type"], "storage_opt", "high_perf")
			},
			check: vultrBlock,
			fill: func(c *change) {
				for attr, v := range map[string]any{
					"block_type": "high_perf", "status": "active", "cost": 1.0, "pending_charges": 0.0,
					"mount_id": text(c.planned["region"]) + "-" + strings.ReplaceAll(c.id, "-", "")[:16], "attached_to_instance": "",
					"date_created": "2026-01-01T00:00:00+00:00", "attached_to_instance_ip": "", "attached_to_instance_label": "",
				} {
					c.set(attr, v)
				}
			},
			derive: func(w *world, o object) {
				on := w.get("vultr_instance", o["attached_to_instance"])
				if on == nil {
					o["attached_to_instance"] = "" // API: deleting an instance detaches its block storage
				}
				o["attached_to_instance_ip"], o["attached_to_instance_label"] = text(on["main_ip"]), text(on["label"])
			},
		},
		"vultr_vpc": {
			named: "description", legacy: true, defaults: map[string]any{"description": ""},
			forceNew: []string{"region", "v4_subnet", "v4_subnet_mask"},
			check:    func(c *change) error { return c.inCatalogue("region", "vultr_region", "id") },
			fill: func(c *change) {
				c.set("v4_subnet", "10.1.96.0")
				c.set("v4_subnet_mask", 20.0)
			},
		},
	},
}

// vultrInstance: region, plan and what the plan has there; exactly one source of the system (provider, optionCheck);
// a hostname that is one; a reserved address of the same region that no other instance has.
func vultrInstance(c *change) error {
	o := c.planned
	if err := first(c.inCatalogue("region", "vultr_region", "id"), c.inCatalogue("plan", "vultr_plan", "id")); err != nil {
		return err
	}
	if c.prior == nil {
		given := 0
		for _, attr := range []string{"os_id", "app_id", "image_id", "iso_id", "snapshot_id"} {
			if text(o[attr]) != "" && text(o[attr]) != "0" {
				given++
			}
		}
		if given != 1 {
			return errors.New("error occurred while getting your intended os type: exactly one of os_id, app_id, image_id, iso_id and snapshot_id")
		}
		if err := c.inCatalogue("os_id", "vultr_os", "id"); err != nil {
			return err
		}
	}
	if name := text(o["hostname"]); name != "" {
		if err := checkHostname("hostname", name); err != nil {
			return err
		}
	}
	plan := c.p.cloud.row("vultr_plan", "id", o["plan"])
	if !slices.Contains(texts(plan["locations"]), text(o["region"])) {
		return fmt.Errorf("plan %s: %s", text(o["plan"]), c.p.cloud.texts[FaultUnavailable])
	}
	if c.prior != nil && number(plan["disk"]) < number(c.prior["disk"]) {
		return fmt.Errorf("plan %s has a smaller disk: an instance can only be upgraded", text(o["plan"])) // API, update instance
	}
	if ip := c.is("reserved_ip_id", "vultr_reserved_ip"); ip != nil && c.prior == nil {
		if text(ip["region"]) != text(o["region"]) {
			return errors.New(`{"error":"Reserved IP and instance must be in the same region","status":400}`)
		}
		if on := c.w.having(c.typ, "reserved_ip_id", ip["id"]); len(on) > 0 {
			return errors.New(`{"error":"Floating IPv4 address is already attached to another server","status":400}`)
		}
	}
	return nil
}

func vultrInstanceFill(c *change) {
	o := c.planned
	plan, system := c.p.cloud.row("vultr_plan", "id", o["plan"]), c.p.cloud.row("vultr_os", "id", o["os_id"])
	for attr, v := range map[string]any{
		"os": system["name"], "status": "active", "power_status": "running", "server_status": "ok", "label": "", "hostname": o["label"],
		"date_created": "2026-01-01T00:00:00+00:00", "default_password": "made-by-the-cloud", "kvm": "https://console.example.org",
		"firewall_group_id": "", "features": []any{}, "vpc_ids": []any{}, "vpc2_ids": []any{}, "app_id": 0.0, "image_id": "",
		"snapshot_id": "", "script_id": "", "reserved_ip_id": "", "user_data": "", "allowed_bandwidth": 2000.0,
		"netmask_v4": "255.255.254.0", "gateway_v4": "192.0.2.1", "v6_network": "2001:db8::", "v6_network_size": 64.0, "os_id": 0.0,
	} {
		c.set(attr, v)
	}
	o["ram"], o["disk"], o["vcpu_count"] = plan["ram"], plan["disk"], plan["vcpu_count"]
	if ip := c.w.get("vultr_reserved_ip", o["reserved_ip_id"]); ip != nil {
		c.set("main_ip", ip["subnet"])
	}
	if o["enable_ipv6"] != true {
		c.set("v6_main_ip", "")
	}
	if len(list(o["vpc_ids"])) == 0 {
		c.set("internal_ip", "")
	}
}

func vultrRule(config object) error {
	if ip := text(config["subnet"]); ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return fmt.Errorf("expected subnet to contain a valid IP, got: %s", ip)
		}
	}
	return first(
		oneOf("ip_type", config["ip_type"], "v4", "v6"),
		oneOf("protocol", config["protocol"], "icmp", "tcp", "udp", "gre", "ah", "esp"),
	)
}

// vultrRuleCheck: API, create firewall rule: ports for tcp and udp only, a network of the rule's family; support says at
// most 50 rules in a group (max_rule_count of the group).
func vultrRuleCheck(c *change) error {
	o := c.planned
	ported := text(o["protocol"]) == "tcp" || text(o["protocol"]) == "udp"
	if ported != (text(o["port"]) != "") {
		return fmt.Errorf(`{"error":"Invalid port %q for protocol %s","status":400}`, text(o["port"]), text(o["protocol"]))
	}
	if ported {
		if err := checkPorts(strings.Replace(text(o["port"]), ":", "-", 1)); err != nil {
			return err
		}
	}
	p, err := netip.ParsePrefix(text(o["subnet"]) + "/" + text(o["subnet_size"]))
	if err != nil || p.Masked() != p || p.Addr().Is4() != (text(o["ip_type"]) == "v4") {
		return fmt.Errorf(`{"error":"Invalid subnet %s/%s for %s","status":400}`, text(o["subnet"]), text(o["subnet_size"]), text(o["ip_type"]))
	}
	rules := c.w.having(c.typ, "firewall_group_id", o["firewall_group_id"])
	if len(rules) >= 50 {
		return errors.New(`{"error":"Maximum number of firewall rules reached","status":400}`)
	}
	for _, r := range rules {
		same := true
		for _, attr := range []string{"protocol", "port", "ip_type", "subnet", "subnet_size"} {
			same = same && text(r[attr]) == text(o[attr])
		}
		if same {
			return errors.New(`{"error":"This rule is already defined","status":400}`)
		}
	}
	return nil
}

// vultrBlock: API, create block storage: 10 to 10000 GB of high_perf, 40 to 40000 of storage_opt, where the instance is.
func vultrBlock(c *change) error {
	o := c.planned
	low, high := 10.0, 10000.0
	if text(o["block_type"]) == "storage_opt" {
		low, high = 40, 40000
	}
	on := c.is("attached_to_instance", "vultr_instance")
	if on != nil && text(on["region"]) != text(o["region"]) {
		return errors.New(`{"error":"Block storage and instance must be in the same region","status":400}`)
	}
	return first(between("size_gb", o["size_gb"], low, high), c.inCatalogue("region", "vultr_region", "id"))
}

func vultrAssigned(w *world, o object) {
	for _, i := range w.having("vultr_instance", "reserved_ip_id", o["id"]) {
		o["instance_id"] = i["id"]
	}
	if w.get("vultr_instance", o["instance_id"]) == nil {
		o["instance_id"] = ""
	}
}

func vultrKeys(w *world, o object) []string {
	var out []string
	for _, id := range list(o["ssh_key_ids"]) {
		out = append(out, text(w.get("vultr_ssh_key", id)["ssh_key"]))
	}
	return out
}

func vultrFirewalls(w *world) map[string]Firewall {
	out := map[string]Firewall{}
	for _, g := range w.all("vultr_firewall_group") {
		var rules []Rule
		for _, r := range w.having("vultr_firewall_rule", "firewall_group_id", g["id"]) {
			ports := strings.Replace(text(r["port"]), ":", "-", 1)
			rules = append(rules, Rule{"in", text(r["protocol"]), ports, []string{text(r["subnet"]) + "/" + text(r["subnet_size"])}})
		}
		on := w.having("vultr_instance", "firewall_group_id", g["id"])
		out[text(g["id"])] = Firewall{Servers: namesOf("label", on), Rules: rules}
	}
	return out
}

func vultrGiven() map[string][]object {
	given := map[string][]object{"vultr_account": {{
		"id": "account", "name": "Account", "email": "account@example.org", "balance": -100.0, "pending_charges": 0.0, "acl": []any{"provisioning"},
	}}}
	var where []any
	for _, r := range strings.Fields("ewr ord dfw sea lax atl ams lhr fra sjc syd yto cdg nrt waw mad icn mia sgp sto mex mel bom jnb tlv blr del scl itm man hnl sao") {
		where = append(where, r)
		given["vultr_region"] = append(given["vultr_region"], object{"id": r, "city": r, "options": []any{"block_storage_high_perf"}})
	}
	// CPUs, memory in MB, disk, monthly cost: GET /v2/plans
	for _, w := range strings.Fields("vc2-1c-1gb/1/1024/25/5 vc2-1c-2gb/1/2048/55/10 vc2-2c-2gb/2/2048/65/15 vc2-2c-4gb/2/4096/80/20 vc2-4c-8gb/4/8192/160/40 " +
		"vc2-6c-16gb/6/16384/320/80 vhf-1c-2gb/1/2048/64/12 vhf-2c-4gb/2/4096/128/24 vhf-3c-8gb/3/8192/256/48 vhf-4c-16gb/4/16384/384/96 " +
		"vhp-1c-1gb-amd/1/1024/25/6 vhp-1c-2gb-amd/1/2048/50/12 vhp-2c-2gb-amd/2/2048/60/18 vhp-2c-4gb-amd/2/4096/100/24 vhp-4c-8gb-amd/4/8192/180/48 " +
		"vhp-8c-16gb-amd/8/16384/350/96 vhp-1c-2gb-intel/1/2048/50/12 vhp-2c-4gb-intel/2/4096/100/24 vhp-4c-8gb-intel/4/8192/180/48 " +
		"voc-g-2c-8gb-50s-amd/2/8192/50/60 voc-g-4c-16gb-80s-amd/4/16384/80/120 voc-c-4c-8gb-75s-amd/4/8192/75/80") {
		p := strings.Split(w, "/")
		given["vultr_plan"] = append(given["vultr_plan"], object{
			"id": p[0], "vcpu_count": number(p[1]), "ram": number(p[2]), "disk": number(p[3]), "monthly_cost": number(p[4]), "locations": where, "type": p[0][:3],
		})
	}
	given["vultr_bare_metal_plan"] = names("id", "vbm-4c-32gb vbm-6c-32gb vbm-8c-132gb")
	// GET /v2/os: these numbers are stable; the numbers of Debian 13 and Ubuntu 26.04 here are made up.
	for _, w := range []string{
		"2136/Debian 12 x64 (bookworm)/debian", "2625/Debian 13 x64 (trixie)/debian", "1743/Ubuntu 22.04 LTS x64/ubuntu",
		"2284/Ubuntu 24.04 LTS x64/ubuntu", "2700/Ubuntu 26.04 LTS x64/ubuntu",
	} {
		p := strings.Split(w, "/")
		given["vultr_os"] = append(given["vultr_os"], object{"id": p[0], "name": p[1], "arch": "x64", "family": p[2]})
	}
	return given
}
