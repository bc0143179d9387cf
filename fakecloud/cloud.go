package fakecloud

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cloud is one provider: tables of what its schema does not say, and rules of what its API refuses.
type cloud struct {
	name      string // as this project calls it: hetzner, vultr, …
	provider  string // the type in the provider's source address: hcloud
	namespace string
	version   string // what Mirror calls it
	resources map[string]*resource
	// given are objects that every account has without having made them, by resource or data source type.
	given map[string][]object
	// login refuses a configuration without credentials; env looks at the process's environment.
	login func(config object, env func(string) string) error
	// newID makes the id of an object of that type.
	newID func(typ string, n int64) string
	// lists are the data sources whose rows are objects of another type, or given.
	lists map[string]string
	// limits shows the account's limits and what is used of them, where a data source tells.
	limits func(w *world, limits map[string]int, typ string, row object)
	texts  map[string]string // what the cloud says of each injected fault
	// firewalls and addresses are what the hook is told after each change.
	firewalls func(w *world) map[string]Firewall
	addresses func(w *world) map[string]string
}

// resource is what a schema does not say of a resource type. Paths through blocks are written with dots.
type resource struct {
	named    string         // the attribute that is its name: "name" where empty
	server   *server        // of what is a server
	address  *address       // of what is an address of its own
	defaults map[string]any // values of what is not configured
	forceNew []string       // attributes and blocks whose change makes another object
	hashed   []string       // kept in state as a hash
	sticky   []string       // blocks that stay as they are where none is configured
	unread   []string       // what the API does not show: kept on read, absent after an import
	unique   []string       // what no two objects may share; a+b is both together
	grows    []string       // numbers that may not shrink
	guard    string         // the attribute that protects from deletion
	refs     []ref
	valid    func(config object) error // what the provider refuses without asking its cloud
	check    func(c *change) error     // what the cloud refuses to create or update
	fill     func(c *change)           // values that the cloud decides
	remove   func(c *change) error     // what the cloud refuses to delete
	derive   func(w *world, o object)  // values that follow from other objects
	id       func(c *change) string    // an id made of other ids
	importID func(given string) string // from what people give for import to the id; the same where nil
	noImport bool                      // the provider cannot import it
	legacy   bool                      // defaults of attributes that are not computed: plans as the old SDK's
}

// ref says that an attribute names an object of another type.
type ref struct {
	attr, to string
	by       []string // the attributes of to that may be given; its id where empty
	holds    bool     // to cannot be deleted while this names it
	falls    bool     // this is gone when to is deleted
}

// server says which attributes of a resource make it a host.
type server struct {
	region, size, image, ipv4, ipv6, private string
	// keys are the public keys it is made with, reserved the addresses it was promised.
	keys     func(w *world, o object) []string
	reserved func(w *world, o object) []string
	reboots  []string // attributes whose change reboots it
}

// address says which attribute of a resource holds addresses of its own, and of which families they are.
type address struct {
	attr     string
	many     bool // attr is a list
	families func(w *world, o object) []string
}

// change is one create, update or delete under way.
type change struct {
	p                      *provider
	w                      *world
	op, typ, id            string
	rules                  *resource
	prior, planned, config object
	empty                  object // what a collection is that the cloud gave no member, by attribute
}

var clouds = []*cloud{hetzner, digitalocean, vultr, openstack, exoscale}

func (r *resource) name(o object) string {
	if r.named != "" {
		return text(o[r.named])
	}
	return text(o["name"])
}

func (r ref) keys() []string {
	if len(r.by) == 0 {
		return []string{"id"}
	}
	return r.by
}

func (r ref) names(o, target object) bool {
	for _, v := range at(o, r.attr) {
		for _, key := range r.keys() {
			if v != nil && v != unknown && text(v) != "" && text(v) == text(target[key]) {
				return true
			}
		}
	}
	return false
}

// find is what a value names: an object of the world, or one that is given.
func (c *cloud) find(w *world, r ref, v any) object {
	for _, o := range slices.Concat(w.all(r.to), c.given[r.to]) {
		for _, key := range r.keys() {
			if text(o[key]) == text(v) {
				return o
			}
		}
	}
	return nil
}

// allowed runs the rules that hold everywhere, then the resource's own.
func (c *change) allowed() error {
	for _, r := range c.rules.refs {
		for _, v := range at(c.planned, r.attr) {
			if text(v) != "" && c.p.cloud.find(c.w, r, v) == nil {
				return fmt.Errorf("%s %s of %s %q: not found", strings.ReplaceAll(r.attr, "_", " "), text(v), c.typ, c.rules.name(c.planned))
			}
		}
	}
	for _, attrs := range c.rules.unique {
		if err := c.unique(strings.Split(attrs, "+")); err != nil {
			return err
		}
	}
	for _, attr := range c.rules.grows {
		if c.prior != nil && number(c.planned[attr]) < number(c.prior[attr]) {
			return fmt.Errorf("%s of %s %q can only grow: it is %s", attr, c.typ, c.rules.name(c.planned), text(c.prior[attr]))
		}
	}
	if c.rules.check != nil {
		return c.rules.check(c)
	}
	return nil
}

func (c *change) unique(attrs []string) error {
	for id, e := range c.w.Objects[c.typ] {
		same := id != c.id
		for _, a := range attrs {
			same = same && text(e.Values[a]) != "" && text(e.Values[a]) == text(c.planned[a])
		}
		if same {
			return fmt.Errorf("%s %q is already used by %s %s (uniqueness_error)", attrs[0], text(c.planned[attrs[0]]), c.typ, id)
		}
	}
	return nil
}

// removable runs the rules of deletion.
func (c *change) removable() error {
	o := c.w.get(c.typ, c.id)
	if c.rules.guard != "" && o[c.rules.guard] == true {
		return fmt.Errorf("%s %q is protected from deletion (protected): switch %s off first", c.typ, c.rules.name(o), c.rules.guard)
	}
	for _, typ := range slices.Sorted(maps.Keys(c.p.cloud.resources)) {
		for _, r := range c.p.cloud.resources[typ].refs {
			if !r.holds || r.to != c.typ {
				continue
			}
			for _, user := range c.w.all(typ) {
				if r.names(user, o) {
					return fmt.Errorf("%s %q is still in use by %s %s (resource_in_use)", c.typ, c.rules.name(o), typ, text(user["id"]))
				}
			}
		}
	}
	if c.rules.remove != nil {
		return c.rules.remove(c)
	}
	return nil
}

// gone deletes the object, and what cannot be without it.
func (c *change) gone() {
	o := c.w.get(c.typ, c.id)
	c.w.drop(c.typ, c.id)
	for typ, rules := range c.p.cloud.resources {
		for _, r := range rules.refs {
			if !r.falls || r.to != c.typ {
				continue
			}
			for _, user := range c.w.all(typ) {
				if r.names(user, o) {
					inner := &change{p: c.p, w: c.w, op: "delete", typ: typ, id: text(user["id"]), rules: rules}
					inner.gone()
				}
			}
		}
	}
}

// set gives a value that is not known yet.
func (c *change) set(attr string, v any) {
	if c.planned[attr] == unknown {
		c.planned[attr] = v
	}
}

// is tells which of the objects an attribute names.
func (c *change) is(attr, to string) object { return c.w.get(to, c.planned[attr]) }
