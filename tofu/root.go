package tofu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Spec is a deployment's machines in all clouds.
type Spec struct {
	Deployment string // its name
	ID         string // its id, 12 lower-case hexadecimal digits
	SSHKeys    []string
	AdminCIDRs []string
	Hosts      map[string]Host // by their stable names, which are unique over all clouds

	// Keep names clouds in which no host is wanted any more but something may be left. Without its module and provider
	// in the configuration nothing of a cloud can be destroyed.
	Keep []string

	Imports []Import
	Moved   []Move
	Removed []string // addresses to be forgotten without being destroyed; Terraform from 1.7, OpenTofu from 1.10

	// Backend is where the state is: nil for a file beside the configuration.
	Backend *Backend
}

// Host is one machine.
type Host struct {
	Cloud     string
	Role      string
	Region    string
	Size      string
	Image     string // the cloud's own name, "" is the default
	VolumeGB  int    // of the chain's data volume, 0 is none
	Protected bool   // the cloud refuses to delete it, where the cloud can
	Group     string // hosts of one group are on different hardware, where the cloud can; "" is none
	Ports     []Port
}

// Port is open to the world.
type Port struct {
	Protocol string `json:"protocol"` // tcp or udp
	Port     int    `json:"port"`
}

// Import takes what is there into the state.
type Import struct {
	To string `json:"to"` // an address
	ID string `json:"id"` // the provider's id for importing
}

// Move says that what was at one address is now at another.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Backend is a place for the state that others can reach. Config is passed on as it is and must hold no secret.
type Backend struct {
	Type   string
	Config map[string]any
}

// ResourceName is what a host's machine is called in its cloud, as the modules do it.
func ResourceName(deployment, id, host string) string {
	cut := min(len(deployment), max(0, 50-len(host)))
	return strings.Trim(deployment[:cut], "-") + "-" + id[:min(6, len(id))] + "-" + host
}

// Root returns the files of a whole configuration, by their paths with slashes: main.tf.json, terraform.tfvars.json, and the
// modules of the clouds in use. Equal specs give equal bytes.
//
// Its output hosts has an entry CLOUD/HOST for each host, with public_ipv4, public_ipv6, private_ip, volume_device,
// provider_id, region and ssh_user, all strings. What a cloud does not have is "". A volume_device may hold the
// wildcard *.
func Root(s Spec) (map[string][]byte, error) {
	hosts := map[string]map[string]machine{}
	for _, c := range s.Keep {
		hosts[c] = map[string]machine{}
	}
	for name, h := range s.Hosts {
		if hosts[h.Cloud] == nil {
			hosts[h.Cloud] = map[string]machine{}
		}
		hosts[h.Cloud][name] = h.machine()
	}
	r := root{tree: "modules", output: "hosts", merge: true, variables: map[string]variable{
		"deployment":  {"string", s.Deployment},
		"id":          {"string", s.ID},
		"ssh_keys":    {"list(string)", nonNil(s.SSHKeys)},
		"admin_cidrs": {"list(string)", nonNil(s.AdminCIDRs)},
		"hosts":       {hostsType, hosts},
	}}
	main, err := r.main(slices.Sorted(maps.Keys(hosts)))
	if err != nil {
		return nil, err
	}
	if s.Backend != nil {
		main["terraform"].(object)["backend"] = object{s.Backend.Type: s.Backend.Config}
	}
	if len(s.Imports) > 0 {
		main["import"] = s.Imports
	}
	if len(s.Moved) > 0 {
		main["moved"] = s.Moved
	}
	if len(s.Removed) > 0 {
		main["removed"] = forgotten(s.Removed)
	}
	if _, ok := hosts["aws"]; ok {
		main["provider"].(object)["aws"].(object)["region"] = firstRegion(hosts["aws"])
	}
	return r.files(main)
}

const hostsType = "map(map(object({ role = string, region = string, size = string, image = string, volume_gb = number, " +
	"protected = bool, group = string, ports = list(object({ protocol = string, port = number })) })))"

// machine is a host as a module takes it.
type machine struct {
	Role      string `json:"role"`
	Region    string `json:"region"`
	Size      string `json:"size"`
	Image     string `json:"image"`
	VolumeGB  int    `json:"volume_gb"`
	Protected bool   `json:"protected"`
	Group     string `json:"group"`
	Ports     []Port `json:"ports"`
}

func (h Host) machine() machine {
	return machine{h.Role, h.Region, h.Size, h.Image, h.VolumeGB, h.Protected, h.Group, nonNil(h.Ports)}
}

// firstRegion is where the provider looks when a resource does not say. All of ours do.
func firstRegion(hosts map[string]machine) string {
	c, _ := Lookup("aws")
	region := c.Regions[0]
	for i, name := range slices.Sorted(maps.Keys(hosts)) {
		if i == 0 || hosts[name].Region < region {
			region = hosts[name].Region
		}
	}
	return region
}

func forgotten(addresses []string) []object {
	var blocks []object
	for _, a := range addresses {
		blocks = append(blocks, object{"from": a, "lifecycle": object{"destroy": false}})
	}
	return blocks
}

type object map[string]any

type variable struct {
	Type  string
	Value any
}

// root calls one module for each cloud, of one of the embedded trees.
type root struct {
	tree      string
	variables map[string]variable
	output    string
	merge     bool // the output is one map with keys CLOUD/NAME; otherwise a map by cloud
	clouds    []string
}

// main is the configuration as a value. A variable named hosts holds one entry for each cloud; the others go to all.
func (r *root) main(clouds []string) (object, error) {
	r.clouds = clouds
	required, providers, modules, outputs := object{}, object{}, object{}, []string{"{}"}
	for _, name := range clouds {
		c, ok := Lookup(name)
		if !ok {
			return nil, fmt.Errorf("write configuration: no cloud is named %q", name)
		}
		required[c.Provider.Local] = object{"source": c.Provider.Source, "version": c.Provider.Version}
		providers[c.Provider.Local] = object{}
		call := object{"source": "./" + r.tree + "/" + name}
		for v := range r.variables {
			call[v] = "${var." + v + "}"
			if v == "hosts" {
				call[v] = fmt.Sprintf("${var.hosts[%q]}", name)
			}
		}
		modules[name] = call
		out := fmt.Sprintf("{ %s = module.%s.%s }", name, name, r.output)
		if r.merge {
			out = fmt.Sprintf(`{ for name, h in module.%s.%s : "%s/${name}" => h }`, name, r.output, name)
		}
		outputs = append(outputs, out)
	}
	declared := object{}
	for v, is := range r.variables {
		declared[v] = object{"type": is.Type}
	}
	main := object{
		"terraform": object{"required_version": ">= 1.6", "required_providers": required},
		"variable":  declared,
		"output":    object{r.output: object{"value": "${merge(" + strings.Join(outputs, ", ") + ")}"}},
	}
	if len(modules) > 0 { // an empty provider or module is refused
		main["provider"], main["module"] = providers, modules
	}
	return main, nil
}

// files are main, the variables' values, and the modules that main calls.
func (r *root) files(main object) (map[string][]byte, error) {
	values := object{}
	for v, is := range r.variables {
		values[v] = is.Value
	}
	files := map[string][]byte{}
	for name, v := range map[string]object{"main.tf.json": main, "terraform.tfvars.json": values} {
		text, err := encode(v)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		files[name] = text
	}
	for _, c := range r.clouds {
		dir := path.Join(r.tree, c)
		entries, err := fs.ReadDir(embedded, dir)
		if err != nil {
			return nil, fmt.Errorf("read embedded module: %w", err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if files[name], err = embedded.ReadFile(name); err != nil {
				return nil, fmt.Errorf("read embedded module: %w", err)
			}
		}
	}
	return files, nil
}

// encode sorts keys and leaves < and > as they are: people read these files.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// nonNil is s, written as [] and not as null.
func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
