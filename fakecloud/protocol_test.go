package fakecloud

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// These speak the protocol to one provider, with a small schema of the repository's own.

type session struct {
	t *testing.T
	p *provider
}

func newSession(t *testing.T, hosts string) session {
	t.Helper()
	p, err := newProvider(hetzner, Settings{Dir: t.TempDir(), Schemas: filepath.Join("testdata", "schemas"), Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return session{t, p}
}

func (s session) value(typ string, o object) *tfprotov6.DynamicValue {
	s.t.Helper()
	_, ty, err := s.p.resource(typ)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := encode(o, ty)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s session) object(typ string, v *tfprotov6.DynamicValue) object {
	s.t.Helper()
	_, ty, err := s.p.resource(typ)
	if err != nil {
		s.t.Fatal(err)
	}
	o, err := decode(v, ty)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// plan answers what is planned, and which attributes ask for another object.
func (s session) plan(typ string, prior, config object) (object, []string) {
	s.t.Helper()
	resp, err := s.p.PlanResourceChange(s.t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: typ, PriorState: s.value(typ, prior), Config: s.value(typ, config), ProposedNewState: s.value(typ, config),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var replaced []string
	for _, path := range resp.RequiresReplace {
		replaced = append(replaced, string(path.Steps()[0].(tftypes.AttributeName)))
	}
	return s.object(typ, resp.PlannedState), replaced
}

// apply plans and applies; it answers the new state and the first error's text.
func (s session) apply(ctx context.Context, typ string, prior, config object) (object, string) {
	s.t.Helper()
	var planned object
	if config != nil {
		planned, _ = s.plan(typ, prior, config)
	}
	resp, err := s.p.ApplyResourceChange(ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: typ, PriorState: s.value(typ, prior), Config: s.value(typ, config), PlannedState: s.value(typ, planned),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	said := ""
	if len(resp.Diagnostics) > 0 {
		said = resp.Diagnostics[0].Detail
	}
	return s.object(typ, resp.NewState), said
}

func (s session) made(typ string, config object) object {
	s.t.Helper()
	o, said := s.apply(s.t.Context(), typ, nil, config)
	if said != "" {
		s.t.Fatalf("make %s: %s", typ, said)
	}
	return o
}

func (s session) read(typ string, state object) (object, string) {
	s.t.Helper()
	resp, err := s.p.ReadResource(s.t.Context(), &tfprotov6.ReadResourceRequest{TypeName: typ, CurrentState: s.value(typ, state)})
	if err != nil {
		s.t.Fatal(err)
	}
	said := ""
	if len(resp.Diagnostics) > 0 {
		said = resp.Diagnostics[0].Detail
	}
	return s.object(typ, resp.NewState), said
}

func (s session) networks() []any {
	s.t.Helper()
	var ids []any
	for _, n := range []string{"a", "b"} {
		net := s.made("hcloud_network", object{"name": n, "ip_range": "10.0.0.0/16"})
		s.made("hcloud_network_subnet", object{
			"network_id": net["id"], "type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24",
		})
		ids = append(ids, number(net["id"]))
	}
	return ids
}

var small = object{"name": "s1", "server_type": "cx23", "network": []any{}}

func TestPlanMarksWhatTheCloudDecides(t *testing.T) {
	s := newSession(t, "")
	planned, replaced := s.plan("hcloud_server", nil, with(small, object{"user_data": "secret"}))
	want := object{
		"id": unknown, "name": "s1", "server_type": "cx23", "image": unknown, "location": unknown, "ipv4_address": unknown,
		"firewall_ids": unknown, "user_data": hashed("secret"), "keep_disk": false, "labels": nil, "network": []any{},
	}
	if !reflect.DeepEqual(planned, want) || replaced != nil {
		t.Fatalf("planned %v, replacing %v; want %v", planned, replaced, want)
	}
}

func TestPlanReplaces(t *testing.T) {
	s := newSession(t, "")
	was := s.made("hcloud_server", with(small, object{"image": "debian-12"}))
	for attr, edit := range map[string]object{
		"image": {"image": "debian-13"}, "location": {"location": "hel1"}, "user_data": {"user_data": "new"},
	} {
		if _, replaced := s.plan("hcloud_server", was, with(small, edit)); !slices.Equal(replaced, []string{attr}) {
			t.Errorf("%v replaces by %v, want by %s", edit, replaced, attr)
		}
	}
	for _, edit := range []object{{"name": "s2"}, {"server_type": "cx33"}, {"labels": object{"a": "b"}}} {
		if _, replaced := s.plan("hcloud_server", was, with(small, edit)); replaced != nil {
			t.Errorf("%v replaces by %v, want in place", edit, replaced)
		}
	}
}

// Members of a set keep what the cloud gave them when another one comes, whatever their order.
func TestPlanMatchesMembersOfSets(t *testing.T) {
	s := newSession(t, "")
	ids := s.networks()
	was := s.made("hcloud_server", with(small, object{"network": []any{object{"network_id": ids[0], "ip": "10.0.1.9"}}}))
	mac := blocks(was["network"])[0]["mac_address"]
	planned, _ := s.plan("hcloud_server", was, with(small, object{"network": []any{
		object{"network_id": ids[1]}, object{"network_id": ids[0], "ip": "10.0.1.9"},
	}}))
	for _, n := range blocks(planned["network"]) {
		if known := n["mac_address"] == mac; known != (n["network_id"] == ids[0]) {
			t.Errorf("the network %v has the MAC %v: the one that stays keeps %v, the new one does not know", n["network_id"], n["mac_address"], mac)
		}
	}
	if kept, _ := s.plan("hcloud_server", was, small); !reflect.DeepEqual(kept["network"], was["network"]) {
		t.Errorf("without blocks in the configuration the networks became %v, want %v", kept["network"], was["network"])
	}
}

func TestReadShowsNoUserData(t *testing.T) {
	s := newSession(t, "")
	made := s.made("hcloud_server", with(small, object{"user_data": "secret"}))
	again, _ := s.read("hcloud_server", made)
	if !reflect.DeepEqual(again, made) {
		t.Fatalf("read %v, want %v", again, made)
	}
	resp, err := s.p.ImportResourceState(t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: "hcloud_server", ID: text(made["id"])})
	if err != nil || len(resp.ImportedResources) != 1 {
		t.Fatalf("import: %v, %v", resp, err)
	}
	imported, _ := s.read("hcloud_server", s.object("hcloud_server", resp.ImportedResources[0].State))
	want := with(made, object{"user_data": nil, "keep_disk": nil})
	if !reflect.DeepEqual(imported, want) {
		t.Fatalf("imported %v, want %v", imported, want)
	}
}

func TestUpgradeForgetsAttributesThatAreGone(t *testing.T) {
	s := newSession(t, "")
	raw := []byte(`{"id":"7","name":"n","ip_range":"10.0.0.0/8","of_an_older_release":true}`)
	resp, err := s.p.UpgradeResourceState(t.Context(), &tfprotov6.UpgradeResourceStateRequest{
		TypeName: "hcloud_network", RawState: &tfprotov6.RawState{JSON: raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.object("hcloud_network", resp.UpgradedState); got["name"] != "n" || got["id"] != "7" {
		t.Fatalf("the older state became %v", got)
	}
}

func (s session) look(typ string, config object) object {
	s.t.Helper()
	ty, err := valueType(s.p.schema.Data[typ])
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := encode(config, ty)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.p.ReadDataSource(s.t.Context(), &tfprotov6.ReadDataSourceRequest{TypeName: typ, Config: v})
	if err != nil || len(resp.Diagnostics) > 0 {
		s.t.Fatalf("read %s: %v, %v", typ, resp.Diagnostics, err)
	}
	o, err := decode(resp.State, ty)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

func TestListsByLabel(t *testing.T) {
	s := newSession(t, "")
	s.made("hcloud_server", with(small, object{"labels": object{"d": "1", "role": "sentry"}}))
	s.made("hcloud_server", with(small, object{"name": "s2", "labels": object{"d": "2"}}))
	for selector, want := range map[string][]string{
		"d=1": {"s1"}, "d==2": {"s2"}, "d!=1": {"s2"}, "d": {"s1", "s2"}, "!role": {"s2"}, "d=1,role=sentry": {"s1"}, "d=3": nil, "": {"s1", "s2"},
	} {
		var names []string
		for _, o := range blocks(s.look("hcloud_servers", object{"with_selector": selector})["servers"]) {
			names = append(names, text(o["name"]))
		}
		if !slices.Equal(names, want) {
			t.Errorf("selector %q lists %v, want %v", selector, names, want)
		}
	}
	if images := blocks(s.look("hcloud_images", object{})["images"]); len(images) == 0 || images[0]["name"] == nil {
		t.Errorf("images are %v", images)
	}
}

// Every rule's table names what the real schema has: a typing error in a table would make a rule that never acts.
func TestTablesFitTheSchemas(t *testing.T) {
	schemas := realSchemas(t)
	for _, c := range clouds {
		f, err := loadSchema(schemas, c.provider)
		if err != nil {
			t.Fatal(err)
		}
		for typ, r := range c.resources {
			s, ok := f.Resources[typ]
			if !ok {
				t.Errorf("%s has no %s", c.provider, typ)
				continue
			}
			paths := slices.Concat(r.forceNew, r.hashed, r.sticky, r.unread, r.grows)
			for path := range r.defaults {
				paths = append(paths, path)
			}
			for _, ref := range r.refs {
				paths = append(paths, ref.attr)
				if _, ok := f.Resources[ref.to]; !ok {
					t.Errorf("%s names %s, which is no resource", typ, ref.to)
				}
			}
			for _, u := range r.unique {
				paths = append(paths, strings.Split(u, "+")...)
			}
			if r.guard != "" {
				paths = append(paths, r.guard)
			}
			if r.named != "" {
				paths = append(paths, r.named)
			}
			for _, path := range paths {
				if !s.Block.has(path) {
					t.Errorf("%s has no %s", typ, path)
				}
			}
		}
		for typ := range f.Resources {
			if c.resources[typ] == nil {
				t.Errorf("%s has a schema and no rules", typ)
			}
		}
	}
}

func (b block) has(path string) bool {
	head, rest, deeper := strings.Cut(path, ".")
	if n, ok := b.Blocks[head]; ok {
		return !deeper || n.Block.has(rest)
	}
	_, ok := b.Attributes[head]
	return ok && !deeper
}

func TestValuesKeepTheirType(t *testing.T) {
	ty := tftypes.Object{AttributeTypes: map[string]tftypes.Type{
		"n": tftypes.Number, "s": tftypes.String, "b": tftypes.Bool, "l": tftypes.List{ElementType: tftypes.String},
		"m": tftypes.Map{ElementType: tftypes.Number}, "u": tftypes.String, "z": tftypes.String,
	}}
	in := object{"n": "42", "s": 42.0, "b": true, "l": []any{"x", 1.0}, "m": object{"k": "7"}, "u": unknown}
	got, err := plain(typed(ty, in))
	want := object{"n": 42.0, "s": "42", "b": true, "l": []any{"x", "1"}, "m": object{"k": 7.0}, "u": unknown, "z": nil}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("came back as %v (%v), want %v", got, err, want)
	}
	if raw, err := json.Marshal(clone(want["m"])); err != nil || string(raw) != `{"k":7}` {
		t.Fatalf("written as %s (%v)", raw, err)
	}
}
