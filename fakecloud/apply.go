package fakecloud

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// read is what the cloud shows of an object: nil where it is not there.
func (p *provider) read(typ string, state object) (object, error) {
	var seen object
	id, rules := text(state["id"]), p.rules(typ)
	err := p.store.with(func(w *world) error {
		var name string
		e := w.Objects[typ][id]
		if e != nil {
			name = rules.name(e.Values)
		}
		fault, err := p.store.fault(w, "read", typ, name)
		if err != nil {
			return err
		}
		if err := p.store.note(Call{Cloud: p.cloud.name, Op: "read", Type: typ, ID: id, Name: name}); err != nil {
			return err
		}
		switch {
		case fault.Fault == FaultStale && e != nil:
			seen = cloneObject(e.Before) // nothing was before: not there yet
			return nil
		case e != nil:
			seen = p.show(w, typ, e.Values)
		}
		return fault.before(p.cloud)
	})
	return seen, err
}

// show is a copy of an object with what follows from others.
func (p *provider) show(w *world, typ string, o object) object {
	seen := cloneObject(o)
	if derive := p.rules(typ).derive; derive != nil {
		derive(w, seen)
	}
	return seen
}

// apply does one change: its result is what state keeps, also with an error that is errKept.
func (c *change) apply(ctx context.Context) (object, error) {
	busy.RLock()
	defer busy.RUnlock()
	var (
		fault Fault
		err   error
	)
	switch {
	case c.planned == nil:
		c.op, c.id = "delete", text(c.prior["id"])
		fault, err = c.delete()
	case c.prior == nil:
		c.op = "create"
		fault, err = c.create(ctx)
	default:
		c.op, c.id = "update", text(c.prior["id"])
		fault, err = c.update()
	}
	if err != nil {
		return nil, err
	}
	if err := c.tell(ctx, fault); err != nil {
		return nil, err
	}
	state := c.planned
	if fault.Fault != FaultLie && c.op != "delete" {
		if state, err = c.seen(); err != nil {
			return nil, err
		}
	}
	return state, fault.after(ctx, c.p, c.op, c.typ, c.named())
}

func (c *change) named() string {
	if c.planned == nil {
		return c.rules.name(c.prior)
	}
	return c.rules.name(c.planned)
}

// begin asks for a fault, runs f, and writes the call down with what came of it. The world is saved also when the call was
// refused: faults were counted.
func (c *change) begin(f func(Fault) error) (Fault, error) {
	var fault Fault
	var refused error
	err := c.p.store.with(func(w *world) (err error) {
		c.w = w
		if fault, err = c.p.store.fault(w, c.op, c.typ, c.named()); err != nil {
			return err
		}
		call := Call{Cloud: c.p.cloud.name, Op: c.op, Type: c.typ, Name: c.named()}
		if fault.Fault == FaultCrash && fault.At != "after" {
			call.Error = "crash"
			if err := c.p.store.save(w); err != nil {
				return err
			}
			if err := c.p.store.note(call); err != nil {
				return err
			}
		}
		if refused = fault.before(c.p.cloud); refused == nil {
			refused = f(fault)
		}
		call.ID = c.id
		if refused != nil {
			call.Error = refused.Error()
		}
		return c.p.store.note(call)
	})
	if err != nil {
		return fault, err
	}
	return fault, refused
}

func (c *change) create(ctx context.Context) (Fault, error) {
	promised, err := c.reserve(ctx)
	if err != nil {
		return Fault{}, err
	}
	return c.begin(func(fault Fault) error {
		if err := c.allowed(); err != nil {
			return err
		}
		if err := c.withinLimits(); err != nil {
			return err
		}
		if c.planned["id"] == unknown || c.planned["id"] == nil {
			c.id = c.newID()
		}
		c.complete(promised)
		if c.rules.id != nil {
			c.id = c.rules.id(c)
		}
		c.planned["id"] = c.id
		if fault.Fault != FaultLie {
			secret := object{}
			for _, attr := range c.rules.hashed {
				secret[attr] = c.config[attr]
			}
			c.w.put(c.typ, c.id, &entry{Values: cloneObject(c.planned), Secret: secret})
		}
		return nil
	})
}

// reserve asks the hook for the addresses that the object will have; empty is what it does not give.
func (c *change) reserve(ctx context.Context) ([]string, error) {
	a := c.rules.address
	if a == nil || c.p.hook.client == nil {
		return nil, nil
	}
	var families, promised []string
	if err := c.p.store.with(func(w *world) error {
		families = a.families(w, c.planned)
		return nil
	}); err != nil {
		return nil, err
	}
	for _, family := range families {
		address, err := c.p.hook.reserve(ctx, c.p.cloud.name, c.named(), family)
		if err != nil {
			return nil, err
		}
		promised = append(promised, address)
	}
	return promised, nil
}

func (c *change) newID() string { return c.p.cloud.newID(c.typ, c.w.next()) }

func (c *change) withinLimits() error {
	faults, err := c.p.store.faults()
	if err != nil {
		return err
	}
	if limit, ok := faults.Limits[c.typ]; ok && len(c.w.Objects[c.typ]) >= limit {
		return fmt.Errorf("%s", c.p.cloud.texts[FaultQuota])
	}
	return nil
}

// complete gives every value that is still unknown: addresses, the resource's own, then nothing.
func (c *change) complete(promised []string) {
	if a := c.rules.address; a != nil {
		var mine []any
		for i, family := range a.families(c.w, c.planned) {
			if i < len(promised) && promised[i] != "" {
				mine = append(mine, promised[i])
			} else {
				mine = append(mine, invent(c.w, family))
			}
		}
		if a.many {
			c.set(a.attr, mine)
		} else {
			c.set(a.attr, mine[0])
		}
	}
	if c.rules.fill != nil {
		c.rules.fill(c)
	}
	if s := c.rules.server; s != nil {
		c.set(s.ipv4, invent(c.w, "ipv4"))
		c.set(s.ipv6, invent(c.w, "ipv6"))
		c.set(s.private, invent(c.w, "private"))
	}
	for attr, v := range c.empty {
		c.set(attr, v)
	}
	c.planned, _ = settled(c.planned).(object)
}

// settled is v with nothing where something is unknown.
func settled(v any) any {
	switch v := v.(type) {
	case unknownValue:
		return nil
	case object:
		for k := range v {
			v[k] = settled(v[k])
		}
	case []any:
		for i := range v {
			v[i] = settled(v[i])
		}
	}
	return v
}

func (c *change) update() (Fault, error) {
	return c.begin(func(Fault) error {
		e := c.w.Objects[c.typ][c.id]
		if e == nil {
			return fmt.Errorf("%s %s: not found (HTTP 404)", c.typ, c.id)
		}
		if err := c.allowed(); err != nil {
			return err
		}
		if c.rules.fill != nil {
			c.rules.fill(c)
		}
		c.planned, _ = settled(c.planned).(object)
		e.Before, e.Values = e.Values, cloneObject(c.planned)
		return nil
	})
}

func (c *change) delete() (Fault, error) {
	return c.begin(func(Fault) error {
		if c.w.get(c.typ, c.id) == nil {
			return nil // gone already: providers take 404 for success
		}
		if err := c.removable(); err != nil {
			return err
		}
		c.gone()
		return nil
	})
}

// tell makes the hook follow: hosts come, reboot and go; firewalls and addresses are where the cloud has them.
func (c *change) tell(ctx context.Context, fault Fault) error {
	s := c.rules.server
	if s != nil && fault.Fault != FaultLie {
		if err := c.tellServer(ctx, s, fault); err != nil {
			return err
		}
	}
	if a := c.rules.address; a != nil && c.op == "delete" {
		for _, mine := range texts(c.prior[a.attr]) {
			path := hookPath("addresses", c.p.cloud.name, mine)
			if err := c.p.hook.optional(ctx, http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
		}
	}
	return c.p.push(ctx)
}

func (c *change) tellServer(ctx context.Context, s *server, fault Fault) error {
	path := hookPath("servers", c.p.cloud.name, c.named())
	switch c.op {
	case "delete":
		return c.p.hook.optional(ctx, http.MethodDelete, path, nil, nil)
	case "update":
		if slices.ContainsFunc(s.reboots, func(attr string) bool { return text(c.prior[attr]) != text(c.planned[attr]) }) {
			return c.p.hook.optional(ctx, http.MethodPost, path+"/reboot", nil, nil)
		}
		return nil
	}
	in := Server{
		Cloud: c.p.cloud.name, Name: c.named(), Region: text(c.planned[s.region]), Size: text(c.planned[s.size]),
		Image: text(c.planned[s.image]), SSHKeys: s.keys(c.w, c.planned), UserData: text(c.config["user_data"]),
	}
	if s.reserved != nil {
		in.Addresses = s.reserved(c.w, c.planned)
	}
	if fault.Fault == FaultDeadSSH {
		in.Fault = FaultDeadSSH
	}
	if c.p.hook.client == nil {
		return nil
	}
	var out Addresses
	if err := c.p.hook.call(ctx, http.MethodPost, "/servers", in, &out); err != nil {
		return fmt.Errorf("make the host of %s: %w", in.Name, err)
	}
	return c.p.store.with(func(w *world) error {
		if e := w.Objects[c.typ][c.id]; e != nil {
			addressed(e.Values, s, out)
		}
		return nil
	})
}

// addressed gives a server the addresses of its host, where it has any of that kind.
func addressed(o object, s *server, a Addresses) {
	for attr, v := range map[string]string{s.ipv4: a.IPv4, s.ipv6: a.IPv6, s.private: a.Private} {
		if attr != "" && v != "" && text(o[attr]) != "" {
			o[attr] = v
		}
	}
}

// seen is the object as a read shows it now, with what is never shown as it was planned.
func (c *change) seen() (object, error) {
	var seen object
	err := c.p.store.with(func(w *world) error {
		if e := w.Objects[c.typ][c.id]; e != nil {
			seen = c.p.show(w, c.typ, e.Values)
		}
		return nil
	})
	if seen == nil {
		seen = c.planned
	}
	return seen, err
}

// push tells the hook which firewalls and addresses are on which servers, as far as it does not know it yet. One at a
// time, so that an older word never comes after a newer one.
func (p *provider) push(ctx context.Context) error {
	if p.hook.client == nil {
		return nil
	}
	return p.store.locked("push.lock", func() error {
		return p.pushLocked(ctx)
	})
}

func (p *provider) pushLocked(ctx context.Context) error {
	want := map[string]any{}
	var pushed map[string]string
	if err := p.store.with(func(w *world) error {
		pushed = w.Pushed
		for name, f := range p.cloud.firewalls(w) {
			want[hookPath("firewalls", p.cloud.name, name)] = f
		}
		for address, server := range p.cloud.addresses(w) {
			want[hookPath("addresses", p.cloud.name, address)] = map[string]string{"server": server}
		}
		return nil
	}); err != nil {
		return err
	}
	told := map[string]string{}
	for path, body := range want {
		if said := fmt.Sprint(body); pushed[path] != said {
			if err := p.hook.optional(ctx, http.MethodPut, path, body, nil); err != nil {
				return err
			}
			told[path] = said
		}
	}
	return p.store.with(func(w *world) error {
		for path, said := range told {
			w.Pushed[path] = said
		}
		return nil
	})
}

// invent makes an address of the ranges that documentation uses, or a private one.
func invent(w *world, family string) string {
	n := w.next()
	switch family {
	case "ipv6":
		return fmt.Sprintf("2001:db8::%x", n)
	case "private":
		return fmt.Sprintf("10.%d.%d.%d", 10+n/62500, n/250%250, n%250+2)
	}
	return fmt.Sprintf("192.0.2.%d", n%254+1)
}
