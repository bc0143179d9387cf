package fakecloud

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// digitalocean's defaults and force-new are those of github.com/digitalocean/terraform-provider-digitalocean v2.99.1,
// digitalocean/*/resource_*.go; what the API refuses is from https://docs.digitalocean.com/reference/api, "API" below.
var digitalocean = &cloud{
	name: "digitalocean", provider: "digitalocean", namespace: "digitalocean", version: "2.99.1",
	newID: func(typ string, n int64) string {
		if typ == "digitalocean_droplet" || typ == "digitalocean_ssh_key" {
			return numbered(typ, n)
		}
		return uuid(typ, n)
	},
	login: func(config object, env func(string) string) error {
		return credential(config, env, "token", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN")
	},
	given: digitaloceanGiven(),
	lists: map[string]string{
		"digitalocean_images": "digitalocean_image", "digitalocean_regions": "regions", "digitalocean_sizes": "sizes",
	},
	limits: func(_ *world, limits map[string]int, typ string, row object) {
		if n, ok := limits["digitalocean_droplet"]; ok && typ == "digitalocean_account" {
			row["droplet_limit"] = float64(n)
		}
		if n, ok := limits["digitalocean_reserved_ip"]; ok && typ == "digitalocean_account" {
			row["floating_ip_limit"] = float64(n)
		}
	},
	texts: map[string]string{
		FaultUnavailable: "HTTP 422 The size is not available in this region at the moment (unprocessable_entity)",
		FaultQuota:       "HTTP 422 creating this/these droplet(s) will exceed your droplet limit (unprocessable_entity)",
		FaultRate:        "HTTP 429 API Rate limit exceeded (too_many_requests), retry-after: 60",
		FaultServerError: "HTTP 500 Server Error (server_error)",
	},
	firewalls: digitaloceanFirewalls,
	addresses: func(w *world) map[string]string {
		out := map[string]string{}
		for _, ip := range w.all("digitalocean_reserved_ip") {
			o := cloneObject(ip)
			digitaloceanAssigned(w, o)
			out[text(ip["ip_address"])] = text(w.get("digitalocean_droplet", o["droplet_id"])["name"])
		}
		return out
	},
	resources: map[string]*resource{
		"digitalocean_droplet": {
			legacy: true,
			defaults: map[string]any{
				"graceful_shutdown": false, "resize_disk": true, "backups": false, "ipv6": false, "monitoring": false,
			},
			forceNew: []string{"image", "region", "public_networking", "ssh_keys", "user_data", "monitoring", "droplet_agent", "vpc_uuid"},
			hashed:   []string{"user_data"},
			unread:   []string{"ssh_keys", "user_data", "graceful_shutdown", "resize_disk", "droplet_agent"},
			refs: []ref{
				{attr: "ssh_keys", to: "digitalocean_ssh_key", by: []string{"id", "fingerprint"}},
				{attr: "volume_ids", to: "digitalocean_volume", holds: true}, // API: 409 while attached
				{attr: "vpc_uuid", to: "digitalocean_vpc", holds: true},      // API: a VPC with members is not deleted
			},
			server: &server{
				region: "region", size: "size", image: "image", ipv4: "ipv4_address", ipv6: "ipv6_address", private: "ipv4_address_private",
				reboots: []string{"size"}, keys: digitaloceanKeys,
			},
			valid: digitaloceanTags, check: digitaloceanDroplet, fill: digitaloceanDropletFill,
			derive: func(w *world, o object) {
				for _, a := range w.having("digitalocean_volume_attachment", "droplet_id", o["id"]) {
					if !slices.Contains(texts(o["volume_ids"]), text(a["volume_id"])) {
						o["volume_ids"] = append(list(o["volume_ids"]), a["volume_id"])
					}
				}
			},
		},
		"digitalocean_ssh_key": {
			forceNew: []string{"public_key"}, unique: []string{"fingerprint", "public_key"}, // API: 422, already in use on your account
			check: checkKey("public_key"), fill: fillKey("public_key"),
		},
		"digitalocean_tag": {
			forceNew: []string{"name"}, id: func(c *change) string { return text(c.planned["name"]) },
			valid: func(config object) error { return digitaloceanTags(object{"tags": list(config["name"])}) },
			fill: func(c *change) {
				for _, n := range strings.Fields("databases_count droplets_count images_count total_resource_count volume_snapshots_count volumes_count") {
					c.set(n, 0.0)
				}
			},
		},
		"digitalocean_firewall": {
			unique: []string{"name"}, valid: digitaloceanFirewall, // API: 409, duplicate name
			refs: []ref{
				{attr: "droplet_ids", to: "digitalocean_droplet"},
				{attr: "tags", to: "digitalocean_tag", by: []string{"name"}},
			},
			fill: func(c *change) {
				c.set("status", "succeeded")
				c.set("created_at", "2026-01-01T00:00:00Z")
				c.set("pending_changes", []any{})
			},
		},
		"digitalocean_project": {
			legacy: true, defaults: map[string]any{"description": "", "purpose": "Web Application", "is_default": false},
			unique: []string{"name"}, fill: func(c *change) { c.set("resources", []any{}) },
		},
		"digitalocean_reserved_ip": {
			named: "ip_address", forceNew: []string{"region"}, address: &address{attr: "ip_address", families: familyOf("family")},
			check: func(c *change) error { return c.inCatalogue("region", "regions", "slug") },
			fill:  func(c *change) { c.set("urn", "do:reservedip:"+text(c.planned["ip_address"])) },
			id:    func(c *change) string { return text(c.planned["ip_address"]) },
			// The provider does not look whose it is by an assignment of its own.
			refs: []ref{{attr: "droplet_id", to: "digitalocean_droplet"}},
		},
		"digitalocean_reserved_ip_assignment": {
			named: "ip_address", forceNew: []string{"ip_address", "droplet_id"}, unique: []string{"ip_address"},
			refs: []ref{
				{attr: "ip_address", to: "digitalocean_reserved_ip", falls: true},
				{attr: "droplet_id", to: "digitalocean_droplet", falls: true},
			},
			check: func(c *change) error {
				return digitaloceanTogether("reserved IP", c.is("ip_address", "digitalocean_reserved_ip"), c.is("droplet_id", "digitalocean_droplet"))
			},
			id:       func(c *change) string { return text(c.planned["droplet_id"]) + "-" + text(c.planned["ip_address"]) },
			importID: func(given string) string { ip, droplet, _ := strings.Cut(given, ","); return droplet + "-" + ip },
		},
		"digitalocean_volume": {
			forceNew: []string{"region", "name", "description", "snapshot_id", "initial_filesystem_type", "initial_filesystem_label"},
			unread:   []string{"initial_filesystem_type", "initial_filesystem_label"},
			unique:   []string{"name+region"}, grows: []string{"size"}, valid: digitaloceanTags, check: digitaloceanVolume,
			fill: func(c *change) {
				c.set("urn", "do:volume:"+c.id)
				c.set("filesystem_type", c.planned["initial_filesystem_type"])
			},
			derive: func(w *world, o object) {
				on := ids(w.having("digitalocean_droplet", "volume_ids", o["id"]))
				for _, a := range w.having("digitalocean_volume_attachment", "volume_id", o["id"]) {
					on = append(on, a["droplet_id"])
				}
				o["droplet_ids"] = on
			},
		},
		"digitalocean_volume_attachment": {
			named: "volume_id", forceNew: []string{"droplet_id", "volume_id"}, unique: []string{"volume_id"}, noImport: true,
			refs: []ref{
				{attr: "volume_id", to: "digitalocean_volume", holds: true},
				{attr: "droplet_id", to: "digitalocean_droplet", falls: true},
			},
			check: func(c *change) error {
				return digitaloceanTogether("volume", c.is("volume_id", "digitalocean_volume"), c.is("droplet_id", "digitalocean_droplet"))
			},
			id: func(c *change) string { return text(c.planned["droplet_id"]) + "-" + text(c.planned["volume_id"]) },
		},
		"digitalocean_vpc": {
			forceNew: []string{"region", "ip_range"}, unique: []string{"name"},
			check: func(c *change) error { return c.inCatalogue("region", "regions", "slug") },
			fill: func(c *change) {
				c.set("ip_range", "10.120.0.0/20")
				c.set("default", false)
				c.set("urn", "do:vpc:"+c.id)
			},
		},
	},
}

// defaultVPC is the region's default network, which every account has.
const defaultVPC = "5a4981aa-9653-4bd1-bef5-d6bff52042e4"

// API, create a Droplet: "The human-readable string you wish to use …", letters, digits, dashes and dots.
var dropletName = regexp.MustCompile(`^[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]$`)

// Provider, tag/tags.go; API, tags.
var tagName = regexp.MustCompile(`^[a-zA-Z0-9:\-_]{1,255}$`)

// API, volumes: lower-case letters, digits and hyphens, a letter first, at most 64.
var volumeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// API, firewalls: letters, digits, dashes and dots, a letter or digit first.
var firewallName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]*$`)

func digitaloceanTags(config object) error {
	for _, tag := range list(config["tags"]) {
		if tag != unknown && !tagName.MatchString(text(tag)) {
			return fmt.Errorf("tag %q: tags may contain lowercase letters, numbers, colons, dashes, and underscores; there is a limit of 255 characters per tag", text(tag))
		}
	}
	return nil
}

func digitaloceanDroplet(c *change) error {
	o := c.planned
	if name := text(o["name"]); !dropletName.MatchString(name) || len(name) > 255 {
		return fmt.Errorf("HTTP 422 name %q: only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)", name)
	}
	if c.prior == nil && c.p.cloud.row("digitalocean_image", "slug", o["image"]) == nil {
		return fmt.Errorf("HTTP 422 image %s: you specified an invalid image for Droplet creation", text(o["image"]))
	}
	if err := first(c.inCatalogue("region", "regions", "slug"), c.inCatalogue("size", "sizes", "slug")); err != nil {
		return err
	}
	size := c.p.cloud.row("sizes", "slug", o["size"])
	if region := text(o["region"]); region != "" && !slices.Contains(texts(size["regions"]), region) {
		return fmt.Errorf("HTTP 422 size %s is not available in region %s", text(o["size"]), region)
	}
	if c.prior != nil && number(size["disk"]) < number(c.prior["disk"]) {
		return errors.New("HTTP 422 this size is not available because it has a smaller disk")
	}
	for _, id := range list(o["volume_ids"]) {
		volume := c.w.get("digitalocean_volume", id)
		if err := digitaloceanTogether("volume", volume, o); err != nil {
			return err
		}
		for _, other := range c.w.having(c.typ, "volume_ids", id) {
			if text(other["id"]) != c.id {
				return fmt.Errorf("HTTP 422 volume %s is attached to droplet %s", text(id), text(other["id"]))
			}
		}
	}
	return nil
}

func digitaloceanDropletFill(c *change) {
	size := c.p.cloud.row("sizes", "slug", c.planned["size"])
	c.set("region", "fra1")
	c.set("status", "active")
	c.set("locked", false)
	c.set("created_at", "2026-01-01T00:00:00Z")
	c.set("urn", "do:droplet:"+c.id)
	c.set("volume_ids", []any{})
	c.set("vpc_uuid", defaultVPC)
	c.set("private_networking", true)
	c.set("public_networking", true)
	c.planned["vcpus"], c.planned["memory"] = size["vcpus"], size["memory"]
	if c.planned["resize_disk"] != false || c.prior == nil {
		c.planned["disk"] = size["disk"]
	}
	c.planned["price_monthly"], c.planned["price_hourly"] = size["price_monthly"], size["price_hourly"]
	if c.planned["ipv6"] != true {
		c.set("ipv6_address", "")
	}
}

func digitaloceanTogether(what string, thing, droplet object) error {
	if a, b := text(thing["region"]), text(droplet["region"]); a != "" && b != "" && a != b {
		return fmt.Errorf("HTTP 422 the %s is in %s and the droplet in %s", what, a, b)
	}
	return nil
}

func digitaloceanAssigned(w *world, o object) {
	for _, a := range w.having("digitalocean_reserved_ip_assignment", "ip_address", o["ip_address"]) {
		o["droplet_id"] = number(a["droplet_id"])
	}
}

func digitaloceanKeys(w *world, o object) []string {
	var out []string
	for _, k := range w.all("digitalocean_ssh_key") {
		if r := (ref{attr: "ssh_keys", by: []string{"id", "fingerprint"}}); r.names(o, k) {
			out = append(out, text(k["public_key"]))
		}
	}
	return out
}

// digitaloceanFirewall is firewall/resource_firewall.go and the API.
func digitaloceanFirewall(config object) error {
	if name := text(config["name"]); name != "" && !firewallName.MatchString(name) {
		return fmt.Errorf("firewall name %q: only letters, digits, dashes and dots", name)
	}
	if config["inbound_rule"] == unknown || config["outbound_rule"] == unknown {
		return nil
	}
	in, out := blocks(config["inbound_rule"]), blocks(config["outbound_rule"])
	if len(in)+len(out) == 0 {
		return errors.New("at least one rule must be specified")
	}
	for _, r := range slices.Concat(in, out) {
		if err := oneOf("protocol", r["protocol"], "tcp", "udp", "icmp"); err != nil {
			return err
		}
		if text(r["protocol"]) != "icmp" && r["port_range"] == nil {
			return errors.New("`port_range` of rules is required if protocol is `tcp` or `udp`")
		}
		if text(r["port_range"]) != "" {
			if err := checkPorts(r["port_range"]); err != nil {
				return err
			}
		}
		if err := first(checkNetworks(list(r["source_addresses"])), checkNetworks(list(r["destination_addresses"]))); err != nil {
			return err
		}
	}
	return digitaloceanTags(config)
}

func digitaloceanVolume(c *change) error {
	if name := text(c.planned["name"]); !volumeName.MatchString(name) {
		return fmt.Errorf("HTTP 422 volume name %q: lowercase letters, numbers and hyphens, a letter first, at most 64", name)
	}
	return first(between("size", c.planned["size"], 1, 16384), c.inCatalogue("region", "regions", "slug"))
}

func digitaloceanFirewalls(w *world) map[string]Firewall {
	out := map[string]Firewall{}
	for _, f := range w.all("digitalocean_firewall") {
		var on []object
		for _, d := range w.all("digitalocean_droplet") {
			tagged := slices.ContainsFunc(texts(f["tags"]), func(t string) bool { return slices.Contains(texts(d["tags"]), t) })
			if tagged || slices.Contains(texts(f["droplet_ids"]), text(d["id"])) {
				on = append(on, d)
			}
		}
		var rules []Rule
		for _, r := range blocks(f["inbound_rule"]) {
			rules = append(rules, Rule{"in", text(r["protocol"]), text(r["port_range"]), texts(r["source_addresses"])})
		}
		for _, r := range blocks(f["outbound_rule"]) {
			rules = append(rules, Rule{"out", text(r["protocol"]), text(r["port_range"]), texts(r["destination_addresses"])})
		}
		out[text(f["name"])] = Firewall{Servers: namesOf("name", on), Rules: rules}
	}
	return out
}

func digitaloceanGiven() map[string][]object {
	regions := "nyc1 nyc2 nyc3 ams3 sfo2 sfo3 sgp1 lon1 fra1 tor1 blr1 syd1 atl1"
	given := map[string][]object{"digitalocean_vpc": {{"id": defaultVPC, "name": "default"}}, "digitalocean_account": {{
		"id": uuid("", 1), "uuid": uuid("", 1), "email": "account@example.org", "email_verified": true, "status": "active",
		"droplet_limit": 25.0, "floating_ip_limit": 5.0,
	}}}
	var where []any
	for _, r := range strings.Fields(regions) {
		where = append(where, r)
	}
	var slugs []any
	// CPUs, memory in MB, disk, monthly price: https://www.digitalocean.com/pricing/droplets
	for _, w := range strings.Fields("s-1vcpu-512mb-10gb/1/512/10/4 s-1vcpu-1gb/1/1024/25/6 s-1vcpu-2gb/1/2048/50/12 s-2vcpu-2gb/2/2048/60/18 " +
		"s-2vcpu-4gb/2/4096/80/24 s-4vcpu-8gb/4/8192/160/48 s-8vcpu-16gb/8/16384/320/96 s-2vcpu-4gb-amd/2/4096/80/28 s-4vcpu-8gb-amd/4/8192/160/56 " +
		"s-8vcpu-16gb-amd/8/16384/320/112 s-2vcpu-4gb-intel/2/4096/80/28 s-4vcpu-8gb-intel/4/8192/160/56 s-8vcpu-16gb-intel/8/16384/320/112 " +
		"g-2vcpu-8gb/2/8192/25/63 g-4vcpu-16gb/4/16384/50/126 g-8vcpu-32gb/8/32768/100/252 c-2/2/4096/25/42 c-4/4/8192/50/84 c-8/8/16384/100/168 " +
		"m-2vcpu-16gb/2/16384/50/84 m-4vcpu-32gb/4/32768/100/168") {
		p := strings.Split(w, "/")
		slugs = append(slugs, p[0])
		given["sizes"] = append(given["sizes"], object{
			"slug": p[0], "available": true, "vcpus": number(p[1]), "memory": number(p[2]), "disk": number(p[3]), "transfer": 4.0,
			"price_monthly": number(p[4]), "price_hourly": number(p[4]) / 672, "regions": where, "gpu_info": []any{},
		})
	}
	for _, r := range where {
		given["regions"] = append(given["regions"], object{"slug": r, "name": r, "available": true, "sizes": slugs, "features": []any{"storage"}})
	}
	for i, slug := range strings.Fields("debian-12-x64 debian-13-x64 ubuntu-22-04-x64 ubuntu-24-04-x64 ubuntu-26-04-x64") {
		given["digitalocean_image"] = append(given["digitalocean_image"], object{
			"id": float64(500 + i), "slug": slug, "name": slug, "distribution": slug[:6], "status": "available", "type": "base",
			"private": false, "regions": where, "min_disk_size": 7.0, "tags": []any{}, "image": slug,
		})
	}
	return given
}
