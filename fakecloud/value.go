package fakecloud

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// object holds an object's attributes as plain values: nil, string, float64, bool, []any, object, or unknown. The cloud's
// file and the tables of rules work on these and not on the protocol's values.
type object = map[string]any

// unknown stands for a value that only apply will tell.
type unknownValue struct{}

var unknown = unknownValue{}

// plain turns a value of the protocol into a plain one. Sets come out in one order, so that files and journals compare.
func plain(v tftypes.Value) (any, error) {
	switch {
	case !v.IsKnown():
		return unknown, nil
	case v.IsNull():
		return nil, nil
	}
	switch ty := v.Type(); {
	case ty.Is(tftypes.String):
		var s string
		err := v.As(&s)
		return s, err
	case ty.Is(tftypes.Bool):
		var b bool
		err := v.As(&b)
		return b, err
	case ty.Is(tftypes.Number):
		var n big.Float
		err := v.As(&n)
		f, _ := n.Float64()
		return f, err
	case ty.Is(tftypes.Object{}), ty.Is(tftypes.Map{}):
		return plainObject(v)
	}
	var vs []tftypes.Value
	if err := v.As(&vs); err != nil {
		return nil, err
	}
	list := make([]any, len(vs))
	for i := range vs {
		var err error
		if list[i], err = plain(vs[i]); err != nil {
			return nil, err
		}
	}
	if v.Type().Is(tftypes.Set{}) {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(canon(nil, a), canon(nil, b)) })
	}
	return list, nil
}

func plainObject(v tftypes.Value) (any, error) {
	var vs map[string]tftypes.Value
	if err := v.As(&vs); err != nil {
		return nil, err
	}
	o := object{}
	for k, v := range vs {
		var err error
		if o[k], err = plain(v); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// typed turns a plain value into one of the protocol. Numbers and strings become each other where the type asks for it:
// clouds number their objects, and providers keep the same number as a string in one place and as a number in another.
func typed(ty tftypes.Type, v any) tftypes.Value {
	switch v := v.(type) {
	case nil:
		return tftypes.NewValue(ty, nil)
	case unknownValue:
		return tftypes.NewValue(ty, tftypes.UnknownValue)
	case []any:
		return typedList(ty, v)
	case object:
		return typedObject(ty, v)
	}
	switch {
	case ty.Is(tftypes.String):
		return tftypes.NewValue(ty, text(v))
	case ty.Is(tftypes.Bool):
		return tftypes.NewValue(ty, v == true)
	case ty.Is(tftypes.Number):
		return tftypes.NewValue(ty, number(v))
	}
	return tftypes.NewValue(ty, nil)
}

func typedList(ty tftypes.Type, vs []any) tftypes.Value {
	var elem tftypes.Type
	switch ty := ty.(type) {
	case tftypes.List:
		elem = ty.ElementType
	case tftypes.Set:
		elem = ty.ElementType
	default:
		return tftypes.NewValue(ty, nil)
	}
	list := make([]tftypes.Value, len(vs))
	for i, v := range vs {
		list[i] = typed(elem, v)
	}
	return tftypes.NewValue(ty, list)
}

func typedObject(ty tftypes.Type, o object) tftypes.Value {
	vs := map[string]tftypes.Value{}
	switch ty := ty.(type) {
	case tftypes.Object:
		for k, t := range ty.AttributeTypes {
			vs[k] = typed(t, o[k])
		}
	case tftypes.Map:
		for k, v := range o {
			vs[k] = typed(ty.ElementType, v)
		}
	default:
		return tftypes.NewValue(ty, nil)
	}
	return tftypes.NewValue(ty, vs)
}

// canon writes a value so that equal values have equal texts: members of sets are sorted, numbers and strings that say
// the same are the same, where the type is known.
func canon(ty tftypes.Type, v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case unknownValue:
		return "unknown"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, canon(elementType(ty), e))
		}
		if ty != nil && ty.Is(tftypes.Set{}) {
			slices.Sort(parts)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case object:
		var parts []string
		for k, e := range v {
			if e != nil {
				parts = append(parts, strconv.Quote(k)+":"+canon(memberType(ty, k), e))
			}
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	}
	return strconv.Quote(text(v))
}

func elementType(ty tftypes.Type) tftypes.Type {
	switch ty := ty.(type) {
	case tftypes.List:
		return ty.ElementType
	case tftypes.Set:
		return ty.ElementType
	}
	return nil
}

func memberType(ty tftypes.Type, name string) tftypes.Type {
	switch ty := ty.(type) {
	case tftypes.Object:
		return ty.AttributeTypes[name]
	case tftypes.Map:
		return ty.ElementType
	}
	return nil
}

// text is a scalar as people write it; nil and unknown are empty.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func number(v any) float64 {
	f, _ := strconv.ParseFloat(text(v), 64)
	return f
}

// list is v's members: of nothing none, of a scalar the scalar itself.
func list(v any) []any {
	switch v := v.(type) {
	case nil, unknownValue:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func texts(v any) []string {
	var out []string
	for _, e := range list(v) {
		out = append(out, text(e))
	}
	return out
}

// blocks are the blocks of a repeated block type.
func blocks(v any) []object {
	var out []object
	for _, e := range list(v) {
		if o, ok := e.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

// at follows a path such as public_net.ipv4 through blocks and returns every value there.
func at(o object, path string) []any {
	head, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		return list(o[head])
	}
	var out []any
	for _, b := range blocks(o[head]) {
		out = append(out, at(b, rest)...)
	}
	return out
}

// clone copies a value deeply, so that nobody changes the cloud by changing an answer.
func clone(v any) any {
	switch v := v.(type) {
	case object:
		o := make(object, len(v))
		for k, e := range v {
			o[k] = clone(e)
		}
		return o
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = clone(v[i])
		}
		return l
	}
	return v
}

func cloneObject(o object) object {
	c, _ := clone(o).(object)
	return c
}
