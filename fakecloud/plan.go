package fakecloud

import (
	"crypto/sha1" // what the providers keep of user data in state; nothing is secured by it
	"encoding/hex"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// planner makes the planned state of one object from its configuration and what it was.
type planner struct {
	rules *resource
}

// block plans one block: configured values win, then defaults, then what was there; what the cloud will decide is
// unknown. prior is nil where nothing was.
func (p planner) block(b block, path string, prior, config object) object {
	out := object{}
	for name, a := range b.Attributes {
		out[name] = p.attribute(a, path+name, prior, config[name], name)
	}
	for name, n := range b.Blocks {
		out[name] = p.blocks(n, path+name, prior, config, name)
	}
	return out
}

func (p planner) attribute(a attribute, path string, prior object, config any, name string) any {
	if config != nil {
		if s, ok := config.(string); ok && slices.Contains(p.rules.hashed, path) {
			return hashed(s)
		}
		return config
	}
	if def, ok := p.rules.defaults[path]; ok {
		return def
	}
	switch {
	case !a.Computed:
		return nil
	case prior == nil:
		return unknown
	}
	return prior[name]
}

func (p planner) blocks(n nested, path string, prior, config object, name string) any {
	if n.Mode == "single" {
		return config[name]
	}
	configured, ok := config[name].([]any)
	if !ok {
		return config[name]
	}
	if len(configured) == 0 && prior != nil && slices.Contains(p.rules.sticky, path) {
		return prior[name]
	}
	out := []any{}
	old := blocks(prior[name])
	for i, c := range configured {
		c, ok := c.(object)
		if !ok {
			out = append(out, unknown)
			continue
		}
		var was object
		if n.Mode == "set" {
			was, old = p.match(n.Block, path, c, old)
		} else if i < len(old) {
			was = old[i]
		}
		out = append(out, p.block(n.Block, path+".", was, c))
	}
	return out
}

// match finds the earlier member of a set which this configured one is: everything that is configured, and every default,
// is equal. Core does not tell who is who when members have computed values. A member is taken once.
func (p planner) match(b block, path string, config object, old []object) (object, []object) {
	for i, o := range old {
		if p.matches(b, path, config, o) {
			return o, slices.Delete(slices.Clone(old), i, i+1)
		}
	}
	return nil, old
}

func (p planner) matches(b block, path string, config, old object) bool {
	planned := p.block(b, path+".", old, config)
	for name, a := range b.Attributes {
		ty, err := a.valueType()
		if err != nil || canon(ty, planned[name]) != canon(ty, old[name]) {
			return false
		}
	}
	return true
}

func (a attribute) valueType() (tftypes.Type, error) {
	as, err := protocolAttributes(map[string]attribute{"a": a})
	if err != nil {
		return nil, err
	}
	return as[0].ValueType(), nil
}

// replaced are the attributes whose change means another object.
func (p planner) replaced(ty tftypes.Type, prior, planned object) []string {
	var out []string
	for _, name := range p.rules.forceNew {
		if canon(memberType(ty, name), prior[name]) != canon(memberType(ty, name), planned[name]) {
			out = append(out, name)
		}
	}
	return out
}

func hashed(s string) string {
	sum := sha1.Sum([]byte(s)) // see the import
	return hex.EncodeToString(sum[:])
}
