package fakecloud

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func (p *provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func (p *provider) ReadDataSource(_ context.Context, req *tfprotov6.ReadDataSourceRequest) (*tfprotov6.ReadDataSourceResponse, error) {
	s, ok := p.schema.Data[req.TypeName]
	if !ok {
		return nil, fmt.Errorf("the schema of %s has no data source %s", p.cloud.provider, req.TypeName)
	}
	ty, err := valueType(s)
	if err != nil {
		return nil, err
	}
	config, err := decode(req.Config, ty)
	if err != nil {
		return nil, err
	}
	out, err := p.look(req.TypeName, s, config)
	if err != nil {
		return &tfprotov6.ReadDataSourceResponse{Diagnostics: diagnose("read "+req.TypeName, err)}, nil
	}
	state, err := encode(out, ty)
	return &tfprotov6.ReadDataSourceResponse{State: state}, err
}

// look answers a data source: with the list of what fits, or with the one object that does.
func (p *provider) look(typ string, s schema, config object) (object, error) {
	var rows []object
	err := p.store.with(func(w *world) error {
		fault, err := p.store.fault(w, "list", typ, "")
		if err != nil {
			return err
		}
		if err := p.store.note(Call{Cloud: p.cloud.name, Op: "list", Type: typ}); err != nil {
			return err
		}
		if err := fault.before(p.cloud); err != nil {
			return err
		}
		faults, err := p.store.faults()
		rows = p.rows(w, typ)
		if p.cloud.limits != nil {
			for i := range rows {
				p.cloud.limits(w, faults.Limits, typ, rows[i])
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := cloneObject(config)
	if attr, elem := p.listed(typ, s); attr != "" {
		fit := slices.DeleteFunc(rows, func(row object) bool { return !fits(row, config, elem) })
		fillList(out, attr, fit)
		return out, nil
	}
	fit := slices.DeleteFunc(rows, func(row object) bool { return !fits(row, config, nil) })
	switch {
	case len(fit) == 0:
		return nil, fmt.Errorf("no %s fits the query", typ)
	case len(fit) > 1 && config["most_recent"] != true && !sameName(fit):
		return nil, fmt.Errorf("%d of %s fit the query: be more specific", len(fit), typ)
	}
	for name := range s.Block.Attributes {
		if out[name] == nil {
			out[name] = fit[0][name]
		}
	}
	return out, nil
}

// sameName is true of rows such as one image for two architectures: the cloud takes the first.
func sameName(rows []object) bool {
	return !slices.ContainsFunc(rows, func(o object) bool { return text(o["name"]) == "" || o["name"] != rows[0]["name"] })
}

// rows are what a data source of that type chooses from.
func (p *provider) rows(w *world, typ string) []object {
	of := typ
	if listed, ok := p.cloud.lists[typ]; ok {
		of = listed
	} else if _, ok := p.schema.Resources[strings.TrimSuffix(typ, "s")]; ok {
		of = strings.TrimSuffix(typ, "s")
	}
	var rows []object
	for _, o := range w.all(of) {
		rows = append(rows, p.show(w, of, o))
	}
	for _, o := range p.cloud.given[of] {
		rows = append(rows, cloneObject(o))
	}
	return rows
}

// listed is the attribute that holds a data source's list, and the type of its members.
func (p *provider) listed(typ string, s schema) (string, tftypes.Type) {
	word := strings.TrimPrefix(typ, p.cloud.provider+"_")
	if typ == "exoscale_compute_instance_list" {
		word = "instances"
	}
	a, ok := s.Block.Attributes[word]
	if !ok || !a.Computed {
		return "", nil
	}
	ty, err := a.valueType()
	if elem := elementType(ty); err == nil && elem != nil && elem.Is(tftypes.Object{}) {
		return word, elem
	}
	return "", nil
}

// fillList answers a data source that lists, with the older lists beside it that some have: names, ids, descriptions.
func fillList(out object, attr string, rows []object) {
	members := []any{}
	var names, ids []any
	for _, row := range rows {
		members = append(members, row)
		names, ids = append(names, row["name"]), append(ids, row["id"])
	}
	out[attr], out["names"], out["descriptions"] = members, names, names
	out[strings.TrimSuffix(attr, "s")+"_ids"] = ids
	if out["id"] == nil {
		out["id"] = "list"
	}
}

// selectors are arguments that are not compared with an attribute of the same name.
var selectors = []string{"most_recent", "include_deprecated", "filter", "sort", "timeouts", "region", "project_id", "gpus", "name_regex", "tag", "visibility"}

// fits tells whether a row is what the configuration asks for. elem is the type of a list's members, nil for one object.
func fits(row, config object, elem tftypes.Type) bool {
	for name, want := range config {
		switch {
		case want == nil || len(list(want)) == 0:
		case name == "with_selector" || name == "selector":
			if text(want) != "" && !selected(row, text(want)) {
				return false
			}
		case strings.HasPrefix(name, "with_"):
			if !slices.Contains(texts(want), text(row[strings.TrimPrefix(name, "with_")])) {
				return false
			}
		case name == "filter":
			if !filtered(row, blocks(want)) {
				return false
			}
		case slices.Contains(selectors, name) || name == "id" && elem != nil:
		case !includes(row[name], want):
			return false
		}
	}
	tags := texts(row["tags"])
	pattern, err := regexp.Compile(text(config["name_regex"]))
	return err == nil && pattern.MatchString(text(row["name"])) && (text(config["tag"]) == "" || slices.Contains(tags, text(config["tag"])))
}

// includes: a scalar is equal, a list or a map has at least what is wanted.
func includes(have, want any) bool {
	switch want := want.(type) {
	case object:
		o, _ := have.(object)
		for k, v := range want {
			if text(o[k]) != text(v) {
				return false
			}
		}
		return true
	case []any:
		for _, v := range want {
			if !slices.Contains(texts(have), text(v)) {
				return false
			}
		}
		return true
	}
	return text(have) == text(want)
}

// filtered is the filter blocks of digitalocean (key) and vultr (name): each has one of its values, or all.
func filtered(row object, filters []object) bool {
	for _, f := range filters {
		key := text(f["key"]) + text(f["name"])
		have := texts(row[key])
		hit := func(v string) bool {
			if text(f["match_by"]) == "substring" {
				return slices.ContainsFunc(have, func(h string) bool { return strings.Contains(h, v) })
			}
			return slices.Contains(have, v)
		}
		values := texts(f["values"])
		if f["all"] == true && slices.ContainsFunc(values, func(v string) bool { return !hit(v) }) {
			return false
		}
		if !slices.ContainsFunc(values, hit) {
			return false
		}
	}
	return true
}

// selected is a label selector: k, !k, k=v, k==v, k!=v, joined by commas.
// https://docs.hetzner.cloud/reference/cloud#label-selector
func selected(row object, selector string) bool {
	labels, _ := row["labels"].(object)
	for part := range strings.SplitSeq(selector, ",") {
		part = strings.TrimSpace(part)
		key, value, equal := strings.Cut(part, "=")
		value = strings.TrimPrefix(value, "=")
		bare, absent := strings.CutPrefix(part, "!")
		_, has := labels[part]
		switch {
		case strings.HasSuffix(key, "!") && equal:
			if text(labels[strings.TrimSuffix(key, "!")]) == value {
				return false
			}
		case equal:
			if v, ok := labels[key]; !ok || text(v) != value {
				return false
			}
		case absent:
			if _, there := labels[bare]; there {
				return false
			}
		case !has:
			return false
		}
	}
	return true
}
