package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

func TestSchema(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", b)
}

// TestSchemaIsDescribed looks at each object of the schema: it is closed, and each of its keys says what it is for.
func TestSchemaIsDescribed(t *testing.T) {
	var look func(path string, s map[string]any)
	look = func(path string, s map[string]any) {
		if s["type"] == "object" && s["additionalProperties"] != false {
			t.Errorf("%s takes any key", path)
		}
		if items, ok := s["items"].(map[string]any); ok {
			look(path+"[]", items)
		}
		forms, _ := s["oneOf"].([]any)
		for _, form := range forms {
			look(path, form.(map[string]any))
		}
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			p := p.(map[string]any)
			if d, _ := p["description"].(string); !strings.HasSuffix(d, ".") {
				t.Errorf("%s.%s is described as %q", path, name, d)
			}
			look(path+"."+name, p)
		}
	}
	look("", schemaValue(t))
}

// TestSchemaAgrees compares the schema with Parse on the examples and on all malformed configs that are YAML.
func TestSchemaAgrees(t *testing.T) {
	s := schemaValue(t)
	for _, path := range examples(t) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if problem := validateYAML(t, s, src); problem != "" {
			t.Errorf("%s: %s", path, problem)
		}
	}
	// What JSON Schema cannot say, or cannot see since the library it is given to has read the YAML already.
	beyond := []string{
		"two-documents", "text-after-end", "directive", "anchor", "anchor-and-alias", "merge-key", "own-tag", "tag",
		"explicit-key", "block-text", "folded-text", "key-twice", "key-three-times", "unknown-twice", "sentry-key-twice",
		"chain-key-twice", "validator-count-float", "validator-count-hex", "validator-count-octal",
		"practice-block-time-short", "practice-block-time-long", "practice-block-time-huge",
		"sentry-invited-relay", "sentries-all-invited", "mesh-vpncloud", "mesh-vpncloud-servers",
		"provider-ssh", "validator-region", "validator-size", "ssh-address-twice", "ssh-mixed", "local-mixed", "local-address", "invited-address",
		"admin-inside", "admin-useless",
		"volume-local", "volume-brought", "device-bought", "volume-invited", "existing-made", "existing-volume",
	}
	compared := 0
	names, inputs := refusals(t)
	for _, name := range names {
		var v any
		if slices.Contains(beyond, name) || yaml.Unmarshal([]byte(inputs[name]), &v) != nil {
			continue
		}
		compared++
		if validateYAML(t, s, []byte(inputs[name])) == "" {
			t.Errorf("the schema accepts %s", name)
		}
	}
	if compared < 150 {
		t.Errorf("compared only %d malformed configs", compared)
	}
}

func TestSchemaAcceptsWhatRenderWrites(t *testing.T) {
	s := schemaValue(t)
	for i := range 100 {
		d := deployments().Example(i)
		src, err := Render(d)
		if err != nil {
			t.Fatal(err)
		}
		if problem := validateYAML(t, s, src); problem != "" {
			t.Errorf("%s in\n%s", problem, src)
		}
	}
}

// TestDefaults holds the words of the schema about defaults to the defaults.
func TestDefaults(t *testing.T) {
	d := Practice("x")
	want := []Sentry{{Name: "s1"}, {Name: "s2"}}
	if diff := cmp.Diff(want, d.Sentries); diff != "" {
		t.Errorf("the schema says otherwise: -want +got:\n%s", diff)
	}
}

func schemaValue(t *testing.T) map[string]any {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// validateYAML returns what the schema says against src, nothing if it accepts it.
func validateYAML(t *testing.T, s map[string]any, src []byte) string {
	t.Helper()
	b, err := yaml.YAMLToJSON(src)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return "not JSON: " + err.Error()
	}
	problem, err := validate(s, v)
	if err != nil {
		t.Fatal(err)
	}
	return problem
}

// validate is as much of JSON Schema as the schema uses; any other keyword is an error.
func validate(s map[string]any, v any) (problem string, err error) {
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		problem, err := check(s, keyword, v)
		if problem != "" || err != nil {
			return problem, err
		}
	}
	return "", nil
}

func check(s map[string]any, keyword string, v any) (string, error) {
	want := s[keyword]
	wrong := fmt.Sprintf("%v is against %s: %v", v, keyword, want)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	items, isList := v.([]any)
	ok := true
	switch keyword {
	case "$schema", "title", "description", "default", "additionalProperties":
	case "type":
		ok = isType(want.(string), v)
	case "const":
		ok = reflect.DeepEqual(v, want)
	case "enum":
		ok = slices.ContainsFunc(want.([]any), func(w any) bool { return reflect.DeepEqual(v, w) })
	case "pattern":
		ok = !isText || regexp.MustCompile(want.(string)).MatchString(text)
	case "maxLength":
		ok = !isText || utf8.RuneCountInString(text) <= int(want.(float64))
	case "minimum":
		ok = !isNumber || number >= want.(float64)
	case "maximum":
		ok = !isNumber || number <= want.(float64)
	case "minItems":
		ok = !isList || len(items) >= int(want.(float64))
	case "maxItems":
		ok = !isList || len(items) <= int(want.(float64))
	case "uniqueItems":
		for i := range items {
			ok = ok && !slices.ContainsFunc(items[:i], func(w any) bool { return reflect.DeepEqual(items[i], w) })
		}
	default:
		return checkBelow(s, keyword, v)
	}
	if ok {
		return "", nil
	}
	return wrong, nil
}

// checkBelow is check for the keywords that hold schemas.
func checkBelow(s map[string]any, keyword string, v any) (string, error) {
	object, isObject := v.(map[string]any)
	switch keyword {
	case "required":
		for _, name := range s[keyword].([]any) {
			if _, ok := object[name.(string)]; isObject && !ok {
				return fmt.Sprintf("%v is missing", name), nil
			}
		}
	case "properties":
		for name, value := range object {
			below, ok := s[keyword].(map[string]any)[name].(map[string]any)
			if !ok {
				return "unknown key " + name, nil // additionalProperties is false, see TestSchemaIsDescribed
			}
			if problem, err := validate(below, value); problem != "" || err != nil {
				return name + ": " + problem, err
			}
		}
	case "items":
		items, _ := v.([]any)
		for _, item := range items {
			if problem, err := validate(s[keyword].(map[string]any), item); problem != "" || err != nil {
				return problem, err
			}
		}
	case "not":
		if problem, err := validate(s[keyword].(map[string]any), v); problem == "" {
			return fmt.Sprintf("%v is excluded", v), err
		}
	case "oneOf":
		matches := 0
		for _, form := range s[keyword].([]any) {
			problem, err := validate(form.(map[string]any), v)
			if err != nil {
				return "", err
			}
			if problem == "" {
				matches++
			}
		}
		if matches != 1 {
			return fmt.Sprintf("%v matches %d forms", v, matches), nil
		}
	default:
		return "", fmt.Errorf("the schema uses %q, which this test does not know", keyword)
	}
	return "", nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int(v))
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	}
	return false
}
