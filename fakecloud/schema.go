package fakecloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// schemaFile is a provider's schema as `tofu providers schema -json` prints it.
type schemaFile struct {
	Provider  schema            `json:"provider"`
	Resources map[string]schema `json:"resource_schemas"`
	Data      map[string]schema `json:"data_source_schemas"`
}

type schema struct {
	Version int64 `json:"version"`
	Block   block `json:"block"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"block_types"`
}

type attribute struct {
	Type       json.RawMessage `json:"type"`
	Nested     *nestedType     `json:"nested_type"`
	Required   bool            `json:"required"`
	Optional   bool            `json:"optional"`
	Computed   bool            `json:"computed"`
	Sensitive  bool            `json:"sensitive"`
	Deprecated bool            `json:"deprecated"`
	WriteOnly  bool            `json:"write_only"`
}

type nestedType struct {
	Attributes map[string]attribute `json:"attributes"`
	Mode       string               `json:"nesting_mode"`
}

type nested struct {
	Mode  string `json:"nesting_mode"`
	Block block  `json:"block"`
	Min   int64  `json:"min_items"`
	Max   int64  `json:"max_items"`
}

// loadSchema reads dir/NAME.json, where NAME is the provider's type: hcloud, vultr, ….
func loadSchema(dir, name string) (*schemaFile, error) {
	if dir == "" {
		return nil, errors.New("FAKECLOUD_SCHEMAS is not set: name the folder with the schemas of the real providers")
	}
	raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", name, err)
	}
	var f struct {
		Schemas map[string]schemaFile `json:"provider_schemas"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("parse the schema of %s: %w", name, err)
	}
	for key, s := range f.Schemas {
		if filepath.Base(key) == name {
			return &s, nil
		}
	}
	return nil, fmt.Errorf("the schema of %s has no provider of that name in it", name)
}

func (s schema) protocol() (*tfprotov6.Schema, error) {
	b, err := s.Block.protocol()
	if err != nil {
		return nil, err
	}
	return &tfprotov6.Schema{Version: s.Version, Block: b}, nil
}

func (b block) protocol() (*tfprotov6.SchemaBlock, error) {
	attributes, err := protocolAttributes(b.Attributes)
	if err != nil {
		return nil, err
	}
	out := &tfprotov6.SchemaBlock{Attributes: attributes}
	for _, name := range slices.Sorted(maps.Keys(b.Blocks)) {
		n := b.Blocks[name]
		inner, err := n.Block.protocol()
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", name, err)
		}
		mode, ok := map[string]tfprotov6.SchemaNestedBlockNestingMode{
			"single": tfprotov6.SchemaNestedBlockNestingModeSingle, "list": tfprotov6.SchemaNestedBlockNestingModeList,
			"set": tfprotov6.SchemaNestedBlockNestingModeSet,
		}[n.Mode]
		if !ok {
			return nil, fmt.Errorf("block %s: nesting mode %q is not known here", name, n.Mode)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: mode, MinItems: n.Min, MaxItems: n.Max,
		})
	}
	return out, nil
}

func protocolAttributes(as map[string]attribute) ([]*tfprotov6.SchemaAttribute, error) {
	var out []*tfprotov6.SchemaAttribute
	for _, name := range slices.Sorted(maps.Keys(as)) {
		a := as[name]
		p := &tfprotov6.SchemaAttribute{
			Name: name, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
			Sensitive: a.Sensitive, Deprecated: a.Deprecated, WriteOnly: a.WriteOnly,
		}
		if a.Nested == nil {
			//lint:ignore SA1019 there is no other way to read the types that providers print
			ty, err := tftypes.ParseJSONType(a.Type)
			if err != nil {
				return nil, fmt.Errorf("type of %s: %w", name, err)
			}
			p.Type = ty
		} else {
			inner, err := protocolAttributes(a.Nested.Attributes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			mode, ok := map[string]tfprotov6.SchemaObjectNestingMode{
				"single": tfprotov6.SchemaObjectNestingModeSingle, "list": tfprotov6.SchemaObjectNestingModeList,
				"set": tfprotov6.SchemaObjectNestingModeSet, "map": tfprotov6.SchemaObjectNestingModeMap,
			}[a.Nested.Mode]
			if !ok {
				return nil, fmt.Errorf("%s: nesting mode %q is not known here", name, a.Nested.Mode)
			}
			p.NestedType = &tfprotov6.SchemaObject{Attributes: inner, Nesting: mode}
		}
		out = append(out, p)
	}
	return out, nil
}

// collections are empty values of the attributes that are lists, sets or maps: a cloud without a member to show shows none.
func (b block) collections() object {
	out := object{}
	for name, a := range b.Attributes {
		switch ty, err := a.valueType(); {
		case err != nil:
		case ty.Is(tftypes.Map{}):
			out[name] = object{}
		case ty.Is(tftypes.List{}), ty.Is(tftypes.Set{}):
			out[name] = []any{}
		}
	}
	return out
}
