package provision

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
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

// Change is what becomes of one resource.
type Change struct {
	Address string `json:"address"` // in the configuration
	Cloud   string `json:"cloud"`
	Type    string `json:"type"` // as the provider calls it
	Kind    Kind   `json:"kind"`
	Host    string `json:"host,omitempty"` // whose it is; empty for what several share
	Action  Action `json:"action"`
	// Because are the attributes that cannot change in place, of a replacement, or another reason in words.
	Because []string `json:"because,omitempty"`
	// Protected: the cloud refuses to delete it as it is.
	Protected bool `json:"protected,omitempty"`
	// Resized: a server gets another size in place, for which most clouds shut it down.
	Resized bool `json:"resized,omitempty"`

	unsaid bool // the state does not know whether it is protected
}

// Loses says whether the change destroys something that there is.
func (c Change) Loses() bool { return c.Action == Replace || c.Action == Destroy }

// resourceChange is the part of the tools' JSON of a plan that is used here (format version 1.x). A plan of a thousand
// hosts is tens of megabytes of it, so nothing else is kept.
type resourceChange struct {
	Address       string `json:"address"`
	Deposed       string `json:"deposed"`
	ModuleAddress string `json:"module_address"`
	Mode          string `json:"mode"`
	Type          string `json:"type"`
	Reason        string `json:"action_reason"`
	Change        struct {
		Actions      []string        `json:"actions"`
		Before       before          `json:"before"`
		After        size            `json:"after"`
		ReplacePaths [][]any         `json:"replace_paths"`
		Importing    json.RawMessage `json:"importing"`
	} `json:"change"`
}

// before is what is read of a resource as it is.
type before struct {
	protection
	size
}

// size is what the clouds call it, of a server.
type size struct {
	Hetzner      json.RawMessage `json:"server_type"`
	DigitalOcean json.RawMessage `json:"size"`
	Vultr        json.RawMessage `json:"plan"`
	OpenStack    json.RawMessage `json:"flavor_name"`
	Exoscale     json.RawMessage `json:"type"`
	AWS          json.RawMessage `json:"instance_type"`
	Google       json.RawMessage `json:"machine_type"`
}

func (s size) same(o size) bool {
	return string(s.Hetzner) == string(o.Hetzner) && string(s.DigitalOcean) == string(o.DigitalOcean) && string(s.Vultr) == string(o.Vultr) &&
		string(s.OpenStack) == string(o.OpenStack) && string(s.Exoscale) == string(o.Exoscale) && string(s.AWS) == string(o.AWS) && string(s.Google) == string(o.Google)
}

// protection is what the clouds call it.
type protection struct {
	Hetzner  json.RawMessage `json:"delete_protection"`
	Exoscale json.RawMessage `json:"destroy_protected"`
	AWS      json.RawMessage `json:"disable_api_termination"`
	Google   json.RawMessage `json:"deletion_protection"`
}

func (p protection) on() bool { return p.is("true") }

// unsaid is what an import leaves of a protection that the provider does not read back.
func (p protection) unsaid() bool { return !p.is("true") && !p.is("false") }

func (p protection) is(value string) bool {
	return slices.ContainsFunc([]json.RawMessage{p.Hetzner, p.Exoscale, p.AWS, p.Google}, func(m json.RawMessage) bool { return string(m) == value })
}

// read takes a plan in the tool's JSON apart, as it comes.
func read(r io.Reader) ([]Change, error) {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("it begins with %v (%w)", t, err)
	}
	var out []Change
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "format_version":
			var version string
			if err := d.Decode(&version); err != nil {
				return nil, err
			}
			if !strings.HasPrefix(version, "1.") {
				return nil, fmt.Errorf("its format is %s, and only 1 is understood", version)
			}
		case "resource_changes":
			if out, err = readChanges(d); err != nil {
				return nil, err
			}
		default:
			if err := d.Decode(&ignored{}); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Address, b.Address) })
	return out, nil
}

// ignored is a value of no interest.
type ignored struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*ignored) UnmarshalJSON([]byte) error { return nil }

func readChanges(d *json.Decoder) ([]Change, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, err // null, for a plan without changes
	}
	var out []Change
	for d.More() {
		var r resourceChange
		if err := d.Decode(&r); err != nil {
			return nil, err
		}
		if c, ok := r.change(); ok {
			out = append(out, c)
		}
	}
	_, err := d.Token()
	return out, err
}

// change is the resource's change; false if there is none.
func (r resourceChange) change() (Change, bool) {
	action := r.action()
	if r.Mode != "managed" || action == "" {
		return Change{}, false
	}
	c := Change{
		Address: r.Address, Cloud: strings.TrimPrefix(r.ModuleAddress, "module."), Type: r.Type, Kind: kindOf(r.Type),
		Host: hostOf(r.Address), Action: action, Protected: r.Change.Before.on(),
		unsaid: r.Change.Before.unsaid(),
	}
	c.Resized = c.Kind == Server && action == Update && !r.Change.Before.same(r.Change.After)
	if c.Kind == Spread || c.Kind == Network {
		c.Host = ""
	}
	for _, path := range r.Change.ReplacePaths {
		c.Because = append(c.Because, words(path))
	}
	slices.Sort(c.Because)
	if r.Deposed != "" {
		c.Because = append(c.Because, "it was replaced, and is still there")
	}
	switch r.Reason {
	case "replace_because_tainted":
		c.Because = append(c.Because, "its making ended with an error")
	case "replace_by_request":
		c.Because = append(c.Because, "asked for")
	}
	return c, true
}

func (r resourceChange) action() Action {
	is := func(actions ...string) bool { return slices.Equal(r.Change.Actions, actions) }
	switch {
	case is("delete", "create"), is("create", "delete"):
		return Replace
	case is("delete"):
		return Destroy
	case is("create"):
		return Create
	case is("update"):
		return Update
	case is("forget"), is("create", "forget"), is("forget", "create"):
		return Forget
	case len(r.Change.Importing) > 0 && string(r.Change.Importing) != "null":
		return Import
	}
	return ""
}

// words is a path of attributes as people write it.
func words(path []any) string {
	out := make([]string, len(path))
	for i, p := range path {
		out[i] = fmt.Sprint(p)
	}
	return strings.Join(out, ".")
}
