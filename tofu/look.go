package tofu

import (
	"fmt"
	"slices"
	"strings"
)

// Sweep returns the files of a configuration that only looks: which machines, volumes, addresses and so on of these clouds
// carry the deployment's id. Its output found is a map from a cloud to a list of objects with the strings type,
// id, name and host, as in [Found].
//
// Clouds that list nothing by label are left out: see [Cloud.Swept]. With none left it returns no files.
func Sweep(id string, clouds []string) (map[string][]byte, error) {
	var can []string
	for _, name := range clouds {
		c, ok := Lookup(name)
		if !ok {
			return nil, fmt.Errorf("write sweep: no cloud is named %q", name)
		}
		if len(c.Swept) > 0 && !slices.Contains(can, name) {
			can = append(can, name)
		}
	}
	if len(can) == 0 {
		return nil, nil
	}
	slices.Sort(can)
	r := root{tree: "sweep", output: "found", variables: map[string]variable{"id": {"string", id}}}
	main, err := r.main(can)
	if err != nil {
		return nil, err
	}
	if p, ok := main["provider"].(object)["aws"]; ok {
		p.(object)["region"] = firstRegion(nil)
	}
	return r.files(main)
}

// Found is what a sweep says of one resource. ID is what an import block wants. Host is the key of the resource in its
// module: the host's name, or that of a placement group.
type Found struct{ Cloud, Type, ID, Name, Host string }

// Address is where the modules have the resource, for an import block; "" if they have no such thing.
func (f Found) Address() string {
	label := "host"
	switch f.Type {
	case "hcloud_server", "hcloud_firewall", "digitalocean_droplet", "digitalocean_tag", "vultr_instance", "exoscale_compute_instance":
	case "hcloud_volume":
		label = "data"
	case "hcloud_primary_ip":
		label = "ipv4"
		if strings.HasSuffix(f.Name, "-v6") {
			label = "ipv6"
		}
	case "hcloud_placement_group":
		label = "spread"
	default:
		return ""
	}
	if f.Host == "" {
		return ""
	}
	return fmt.Sprintf("module.%s.%s.%s[%q]", f.Cloud, f.Type, label, f.Host)
}

// Named says whether the resource has the name that the modules give it: a label alone is easily copied.
func (f Found) Named(deployment, id string) bool {
	if f.Type == "hcloud_placement_group" {
		cut := min(len(deployment), 20)
		return f.Name == strings.Trim(deployment[:cut], "-")+"-"+id[:min(6, len(id))]+"-"+f.Host
	}
	name := ResourceName(deployment, id, f.Host)
	return f.Name == name || slices.Contains([]string{name + "-data", name + "-v4", name + "-v6"}, f.Name)
}

// Preflight returns the files of a configuration that only looks: whether regions, sizes and images exist and names are
// free. Give it the hosts that are to be made: the name of one that is there is taken. Its output checks is a map from a cloud to a list of objects: host (or ""), what (account, quota, region, size,
// image or name), name, and the bool ok. What cannot be asked is in [Cloud.Unchecked].
//
// Some providers fail where a thing does not exist instead of saying so; their message names it. With no cloud that
// can be asked it returns no files.
func Preflight(s Spec) (map[string][]byte, error) {
	hosts := map[string]map[string]wanted{}
	for name, h := range s.Hosts {
		c, ok := Lookup(h.Cloud)
		if !ok {
			return nil, fmt.Errorf("write preflight of %s: no cloud is named %q", name, h.Cloud)
		}
		if !c.Verified {
			continue
		}
		if hosts[h.Cloud] == nil {
			hosts[h.Cloud] = map[string]wanted{}
		}
		image := h.Image
		if image == "" {
			image = c.Image
		}
		hosts[h.Cloud][name] = wanted{ResourceName(s.Deployment, s.ID, name), h.Region, h.Size, image, c.Addresses(h.Role)}
	}
	if len(hosts) == 0 {
		return nil, nil
	}
	var names []string
	for c := range hosts {
		names = append(names, c)
	}
	slices.Sort(names)
	r := root{tree: "preflight", output: "checks", variables: map[string]variable{
		"hosts": {"map(map(object({ name = string, region = string, size = string, image = string, addresses = number })))", hosts},
	}}
	main, err := r.main(names)
	if err != nil {
		return nil, err
	}
	return r.files(main)
}

type wanted struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Size   string `json:"size"`
	Image  string `json:"image"`
	// Addresses are those that are reserved for it.
	Addresses int `json:"addresses"`
}

// RulesOf is how many pairs of a port and a source the firewall of a host has, as the modules make it.
func RulesOf(h Host, admins int) int {
	const families = 2
	pings := admins
	if h.Role == RoleSentry {
		pings = families
	}
	return families*len(h.Ports) + admins + pings
}
