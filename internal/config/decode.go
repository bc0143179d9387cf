package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// walk collects what is wrong on the way through one file.
type walk struct {
	file     string
	problems Problems
}

func (w *walk) report(at position, path, message, suggestion string) {
	w.problems = append(w.problems, Problem{
		File: w.file, Line: at.line, Column: at.column, Path: path, Message: message, Suggestion: suggestion,
	})
}

// expected reports that n is of another kind than it should be.
func (w *walk) expected(path string, n node, kind nodeKind, suggestion string) {
	if n.kind == null {
		w.report(n.at, path, "has no value", "")
		return
	}
	w.report(n.at, path, fmt.Sprintf("expected %s, got %s", kind, n.kind), suggestion)
}

// schema is a JSON Schema.
type schema = map[string]any

// rule reads one kind of value, reporting what is wrong with it, and describes the same in JSON Schema.
// What it returns after reporting a problem is not used.
type rule[V any] struct {
	read   func(w *walk, path string, n node) V
	schema schema
}

// key is a key that a block of type T may have.
type key[T any] struct {
	name     string
	required bool
	later    string // not empty: designed and not implemented; says what holds without it
	read     func(w *walk, path string, n node, into *T)
	schema   schema
}

// field is a key whose value goes where at points.
func field[T, V any](name, doc string, r rule[V], at func(*T) *V) key[T] {
	described := schema{"description": doc}
	for k, v := range r.schema {
		described[k] = v
	}
	return key[T]{name: name, schema: described, read: func(w *walk, path string, n node, into *T) {
		*at(into) = r.read(w, path, n)
	}}
}

// must makes k a key that cannot be left out.
func (k key[T]) must() key[T] {
	k.required = true
	return k
}

// defaultsTo says in the schema what k is when it is left out.
func (k key[T]) defaultsTo(v any) key[T] {
	k.schema["default"] = v
	return k
}

// later is a key that is designed and that this version refuses, rather than accept it and do nothing.
func later[T any](name, instead string) key[T] { return key[T]{name: name, later: instead} }

// block is a mapping with exactly these keys; those left out keep their value of defaults.
func block[T any](defaults T, keys []key[T]) rule[T] {
	properties, required := schema{}, []string{}
	for _, k := range keys {
		if k.later != "" {
			continue
		}
		properties[k.name] = k.schema
		if k.required {
			required = append(required, k.name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return rule[T]{schema: s, read: func(w *walk, path string, n node) T {
		into := defaults
		if n.kind != mapping {
			hint := ""
			if keys[0].name == "name" && n.kind == text && plainKey.MatchString(n.text) {
				hint = fmt.Sprintf("write {name: %s}", n.text)
			}
			w.expected(path, n, mapping, hint)
			return into
		}
		readBlock(w, path, n, &into, keys)
		return into
	}}
}

func readBlock[T any](w *walk, path string, n node, into *T, keys []key[T]) {
	known := make(map[string]key[T], len(keys))
	for _, k := range keys {
		known[k.name] = k
	}
	names := namesOf(keys)
	first := map[string]position{}
	meant := map[string]bool{} // keys that are there, misspelt
	for _, p := range n.pairs {
		at := join(path, p.key)
		if before, twice := first[p.key]; twice {
			w.report(p.at, at, fmt.Sprintf("given twice, first on line %d", before.line), "remove one")
			continue
		}
		first[p.key] = p.at
		k, ok := known[p.key]
		switch {
		case !ok:
			meant[w.unknown(at, p, names)] = true
		case k.later != "":
			w.report(p.at, at, "not implemented in this version", "remove it; "+k.later)
			w.secrets(at, p.value)
		case p.value.kind == null && k.required:
			w.report(p.value.at, at, "has no value", "give it one")
		case p.value.kind == null:
			w.report(p.value.at, at, "has no value", "give it one or remove it")
		default:
			k.read(w, at, p.value, into)
		}
	}
	for _, k := range keys {
		if _, ok := first[k.name]; k.required && !ok && !meant[k.name] {
			w.report(n.at, join(path, k.name), "missing", "")
		}
	}
}

// unknown reports the key of p, at path, which is none of the known, and returns the one that was meant if it can tell.
func (w *walk) unknown(path string, p pair, known keyNames) (meant string) {
	if secret(p.key) {
		w.reportSecret(p.at, path)
		return ""
	}
	w.secrets(path, p.value)
	suggestion := ""
	if before, _, ok := strings.Cut(p.key, ":"); ok && slices.Contains(known.now, before) {
		meant, suggestion = before, "write a space after the colon"
	} else if like, ok := nearest(p.key, known.now); ok {
		meant, suggestion = like, fmt.Sprintf("did you mean %q?", like)
	} else if home, ok := known.homes[p.key]; ok {
		suggestion = fmt.Sprintf("it belongs under %q", home)
	} else if like, ok := nearest(p.key, known.later); ok {
		suggestion = fmt.Sprintf("remove it; %q is not implemented in this version either", like)
	}
	w.report(p.at, path, "unknown key", suggestion)
	return meant
}

// keyNames are the keys of a block: those read, those refused for now, and of the blocks below it, by key, their names.
type keyNames struct {
	now, later []string
	homes      map[string]string
}

func namesOf[T any](keys []key[T]) keyNames {
	ns := keyNames{homes: map[string]string{}}
	for _, k := range keys {
		if k.later != "" {
			ns.later = append(ns.later, k.name)
			continue
		}
		ns.now = append(ns.now, k.name)
		forms, _ := k.schema["oneOf"].([]schema)
		for _, form := range append(forms, k.schema) {
			below, _ := form["properties"].(schema)
			for name := range below {
				ns.homes[name] = k.name
			}
		}
	}
	return ns
}

// secret reports whether a key looks like one whose value is a secret.
func secret(key string) bool {
	plain := strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(key))
	for _, s := range []string{
		"password", "passwd", "passphrase", "secret", "token", "mnemonic", "seedphrase", "seedwords", "privatekey",
		"privkey", "privvalidatorkey", "apikey", "accesskey", "credential", "keyring",
	} {
		if strings.Contains(plain, s) {
			return true
		}
	}
	return false
}

// secrets reports the keys below n that look like secrets; it is for what nothing else reads.
func (w *walk) secrets(path string, n node) {
	for i, item := range n.items {
		w.secrets(fmt.Sprintf("%s[%d]", path, i), item)
	}
	for _, p := range n.pairs {
		if at := join(path, p.key); secret(p.key) {
			w.reportSecret(p.at, at)
		} else {
			w.secrets(at, p.value)
		}
	}
}

func (w *walk) reportSecret(at position, path string) {
	w.report(at, path, "secrets do not belong in this file", "remove it, and replace the secret if others could read it")
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// join is the path of key below path.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// many is a list of between least and most items; none says why there must be one.
func many[V any](item rule[V], least, most int, none string) rule[[]V] {
	s := schema{"type": "array", "items": item.schema, "minItems": least, "maxItems": most, "uniqueItems": true}
	return rule[[]V]{schema: s, read: func(w *walk, path string, n node) []V {
		if n.kind != list {
			w.expected(path, n, list, "")
			return nil
		}
		if len(n.items) < least {
			w.report(n.at, path, none, "")
		}
		if len(n.items) > most {
			w.report(n.items[most].at, path, fmt.Sprintf("at most %d, got %d", most, len(n.items)), "")
			return nil
		}
		var vs []V
		for i, it := range n.items {
			vs = append(vs, item.read(w, fmt.Sprintf("%s[%d]", path, i), it))
		}
		return vs
	}}
}

// pattern is text that matches re and has at most most characters; what says so in words.
func pattern(re string, most int, what string) rule[string] {
	match := regexp.MustCompile(re)
	fits := func(s string) bool { return match.MatchString(s) && len([]rune(s)) <= most }
	s := schema{"type": "string", "pattern": re, "maxLength": most}
	return rule[string]{schema: s, read: func(w *walk, path string, n node) string {
		switch {
		case n.kind != text:
			hint := ""
			if n.kind != null && fits(n.text) {
				hint = fmt.Sprintf("write %q, in quotes", n.text)
			}
			w.expected(path, n, text, hint)
		case !fits(n.text):
			hint := ""
			if tidy := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(n.text)); fits(tidy) {
				hint = fmt.Sprintf("did you mean %q?", tidy)
			}
			w.report(n.at, path, fmt.Sprintf("%s is not %s", quote(n.text), what), hint)
		}
		return n.text
	}}
}

// except is r without the reserved values.
func except(r rule[string], reserved ...string) rule[string] {
	s := schema{"not": schema{"enum": reserved}}
	for k, v := range r.schema {
		s[k] = v
	}
	return rule[string]{schema: s, read: func(w *walk, path string, n node) string {
		v := r.read(w, path, n)
		for _, name := range reserved {
			if v == name && n.kind == text {
				w.report(n.at, path, fmt.Sprintf("%q is taken by the program", v), "choose another")
			}
		}
		return v
	}}
}

// one is text that can be only value in this version; other says what is wrong with any other text.
func one(value string, other func(got string) (message, suggestion string)) rule[string] {
	return rule[string]{schema: schema{"const": value}, read: func(w *walk, path string, n node) string {
		if n.kind != text {
			w.expected(path, n, text, "")
		} else if n.text != value {
			message, suggestion := other(n.text)
			w.report(n.at, path, message, suggestion)
		}
		return n.text
	}}
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// whole is a number of at least least and at most most; other says what is wrong with one outside.
func whole(least, most int, other func(got string) (message, suggestion string)) rule[int] {
	s := schema{"type": "integer", "minimum": least, "maximum": most}
	return rule[int]{schema: s, read: func(w *walk, path string, n node) int {
		isDecimal := decimal.MatchString(n.text)
		switch {
		case n.kind == text && n.quoted && isDecimal:
			w.expected(path, n, "a whole number", "write it without quotes")
			return 0
		case n.kind == number && !isDecimal:
			w.report(n.at, path, fmt.Sprintf("expected a whole number, got %s", quote(n.text)), "")
			return 0
		case n.kind != number && (n.kind != text || n.quoted || !isDecimal): // a huge number is text to the library
			w.expected(path, n, "a whole number", "")
			return 0
		}
		v, err := strconv.Atoi(n.text)
		if err != nil || v < least || v > most {
			message, suggestion := other(clip(n.text))
			w.report(n.at, path, message, suggestion)
		}
		return v
	}}
}

const seconds = `^([0-9]{1,6}(\.[0-9]{1,3})?s|[0-9]{1,9}ms)$`

var isDuration = regexp.MustCompile(seconds)

// duration is a time between least and most, in seconds or milliseconds.
func duration(least, most time.Duration) rule[time.Duration] {
	s := schema{"type": "string", "pattern": seconds}
	return rule[time.Duration]{schema: s, read: func(w *walk, path string, n node) time.Duration {
		if n.kind == number && isDuration.MatchString(n.text+"s") {
			w.expected(path, n, "a duration", fmt.Sprintf("write the unit, as in %ss", n.text))
			return 0
		}
		if n.kind != text {
			w.expected(path, n, "a duration", "")
			return 0
		}
		if !isDuration.MatchString(n.text) {
			w.report(n.at, path, fmt.Sprintf("%s is not a duration such as 2s, 1.5s or 1500ms", quote(n.text)), "")
			return 0
		}
		d, err := time.ParseDuration(n.text)
		if err != nil || d < least || d > most {
			w.report(n.at, path, fmt.Sprintf("%s is not between %v and %v", n.text, least, most), "")
		}
		return d
	}}
}

// yes is true or false.
func yes() rule[bool] {
	return rule[bool]{schema: schema{"type": "boolean"}, read: func(w *walk, path string, n node) bool {
		if n.kind != boolean {
			w.expected(path, n, "true or false", "")
		}
		return n.kind == boolean && strings.EqualFold(n.text, "true")
	}}
}

// distinct is a list in which nothing is twice.
func distinct(r rule[[]string]) rule[[]string] {
	read := r.read
	r.read = func(w *walk, path string, n node) []string {
		first := map[string]position{}
		for i, item := range n.items {
			if before, twice := first[item.text]; twice {
				w.report(item.at, fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%s is also on line %d", quote(item.text), before.line), "")
				continue
			}
			first[item.text] = item.at
		}
		return read(w, path, n)
	}
	return r
}
