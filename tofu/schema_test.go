package tofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// schemas is a folder with what 'providers schema -json' says, cut to what is of use here; one file for each provider.
const schemas = "../../shared/schemas"

type schema struct {
	Resources map[string]struct{ Block block } `json:"resource_schemas"`
	Data      map[string]struct{ Block block } `json:"data_source_schemas"`
}

type block struct {
	Attributes map[string]struct{ Required, Optional, Computed, Deprecated bool }
	Blocks     map[string]struct {
		Block block
		Min   int `json:"min_items"`
	} `json:"block_types"`
}

func readSchema(t *testing.T, name string) schema {
	t.Helper()
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no schema at %s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Providers map[string]schema `json:"provider_schemas"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, s := range file.Providers {
		return s
	}
	t.Fatalf("%s has no schema", name)
	return schema{}
}

func TestModulesFitTheirSchemas(t *testing.T) {
	for _, kind := range []string{"modules", "sweep", "preflight"} {
		for _, x := range trees(t, kind) {
			c, _ := Lookup(x.cloud())
			if !c.Verified {
				continue
			}
			t.Run(x.dir, func(t *testing.T) {
				for _, problem := range check(x, readSchema(t, filepath.Join(schemas, c.Provider.Local+".json"))) {
					t.Error(problem)
				}
			})
		}
	}
}

// check says what a provider with this schema would refuse, and which resource has room for labels and none in it.
func check(x tree, s schema) (problems []string) {
	for _, b := range x.blocks {
		var found block
		switch b.Type {
		case "resource":
			r, ok := s.Resources[b.Labels[0]]
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: no such resource", x.name(b)))
				continue
			}
			found = r.Block
			problems = append(problems, unlabelled(x.name(b), b.Body, found)...)
		case "data":
			d, ok := s.Data[b.Labels[0]]
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: no such data source", x.name(b)))
				continue
			}
			found = d.Block
		default:
			problems = append(problems, references(x, b.Body, s)...)
			continue
		}
		problems = append(problems, fits(x.name(b), b.Body, found, meta)...)
		problems = append(problems, references(x, b.Body, s)...)
	}
	return problems
}

func unlabelled(name string, body *hclsyntax.Body, s block) []string {
	room := false
	for _, attr := range []string{"labels", "tags", "metadata"} {
		if a, ok := s.Attributes[attr]; ok && (a.Optional || a.Required) {
			room = true
			if _, set := body.Attributes[attr]; set {
				return nil
			}
		}
	}
	if room {
		return []string{name + ": without labels nobody knows whose it is"}
	}
	return nil
}

func fits(name string, body *hclsyntax.Body, s block, also []string) (problems []string) {
	say := func(format string, args ...any) {
		problems = append(problems, name+": "+fmt.Sprintf(format, args...))
	}
	for attr := range body.Attributes {
		a, ok := s.Attributes[attr]
		switch {
		case slices.Contains(also, attr):
		case !ok:
			say("no attribute %s", attr)
		case a.Deprecated:
			say("%s is deprecated", attr)
		case !a.Required && !a.Optional:
			say("%s is only computed", attr)
		}
	}
	for attr, a := range s.Attributes {
		if _, set := body.Attributes[attr]; a.Required && !set {
			say("%s is required", attr)
		}
	}
	used := map[string]int{}
	for _, in := range inner(body) {
		used[in.Type]++
		nested, ok := s.Blocks[in.Type]
		if !ok {
			if !slices.Contains(also, in.Type) {
				say("no block %s", in.Type)
			}
			continue
		}
		problems = append(problems, fits(name+"."+in.Type, in.Body, nested.Block, nil)...)
	}
	for kind, nested := range s.Blocks {
		if used[kind] < nested.Min {
			say("block %s is required", kind)
		}
	}
	slices.Sort(problems)
	return problems
}

// references says which attributes of resources are read that there are not.
func references(x tree, body *hclsyntax.Body, s schema) (problems []string) {
	_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
		var steps []string
		switch n := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			steps = names(n.Traversal)
		case *hclsyntax.RelativeTraversalExpr: // of an index that is itself an expression
			if index, ok := n.Source.(*hclsyntax.IndexExpr); ok {
				if from, ok := index.Collection.(*hclsyntax.ScopeTraversalExpr); ok {
					steps = append(names(from.Traversal), names(n.Traversal)...)
				}
			}
		}
		if len(steps) == 0 {
			return nil
		}
		var known block
		switch {
		case steps[0] == "data" && len(steps) > 3:
			known, steps = s.Data[steps[1]].Block, steps[1:]
		case len(steps) > 2:
			r, ok := s.Resources[steps[0]]
			if !ok {
				return nil // var, local, each
			}
			known = r.Block
		default:
			return nil
		}
		if _, ok := known.Attributes[steps[2]]; !ok {
			problems = append(problems, fmt.Sprintf("%s: %s has no attribute %s", x.dir, steps[0], steps[2]))
		}
		return nil
	})
	return problems
}

// names are the attributes of a traversal, without what is in brackets.
func names(t hcl.Traversal) (steps []string) {
	for _, s := range t {
		switch s := s.(type) {
		case hcl.TraverseRoot:
			steps = append(steps, s.Name)
		case hcl.TraverseAttr:
			steps = append(steps, s.Name)
		}
	}
	return steps
}

// The check itself, against a small schema that is always at hand.
func TestCheckFindsWhatAProviderRefuses(t *testing.T) {
	src, err := os.ReadFile("testdata/refused.tf")
	if err != nil {
		t.Fatal(err)
	}
	f, diags := hclsyntax.ParseConfig(src, "refused.tf", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	x := tree{dir: "refused", blocks: f.Body.(*hclsyntax.Body).Blocks}
	got := check(x, readSchema(t, "testdata/schema.json"))
	want := []string{
		"refused small_server.good: without labels nobody knows whose it is",
		"refused small_server.bad.disk: no attribute colour",
		"refused small_server.bad: address is only computed",
		"refused small_server.bad: no attribute sizes",
		"refused small_server.bad: no block disc",
		"refused small_server.bad: size is required",
		"refused small_server.bad: zone is deprecated",
		"refused: small_server has no attribute adress",
		"refused: small_server has no attribute ips",
		"refused: small_images has no attribute named",
		"refused small_thing.bad: no such resource",
		"refused small_things.bad: no such data source",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want, got:\n%s\n%s", diff, strings.Join(got, "\n"))
	}
}
