package health

import (
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain is what somebody else said as a terminal can be shown it: one line, in which nothing moves the cursor, sets a
// colour or a title, hides what comes after, or turns the direction of reading. What would is written out, as \x1b.
func Plain(s string) string { return plainly(s, false) }

// Lines is [Plain] for what may have several lines.
func Lines(s string) string { return plainly(s, true) }

func plainly(s string, lines bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, width := 0, 0; i < len(s); i += width {
		var r rune
		r, width = utf8.DecodeRuneInString(s[i:])
		switch {
		case unicode.IsPrint(r) && (r != utf8.RuneError || width > 1):
			b.WriteRune(r)
		case r == '\n' && lines, r == '\t' && lines:
			b.WriteRune(r)
		case r == '\n' && i == len(s)-1:
		case r == '\n':
			b.WriteString("; ")
		case r == '\t':
			b.WriteByte(' ')
		default:
			for _, c := range []byte(s[i : i+width]) {
				const hex = "0123456789abcdef"
				b.WriteString(`\x` + string(hex[c>>4]) + string(hex[c&15]))
			}
		}
	}
	return b.String()
}

// PlainAll makes every text in what v points to plain, however deep. Bytes are left as they are.
func PlainAll(v any) { plainAll(reflect.ValueOf(v)) }

func plainAll(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			plainAll(v.Elem())
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(Plain(v.String()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				plainAll(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			plainAll(v.Index(i))
		}
	case reflect.Map:
		plainMap(v)
	default: // numbers and the like say nothing
	}
}

// plainMap puts plain copies in the place of keys and values: neither can be changed within a map.
func plainMap(v reflect.Value) {
	for _, key := range v.MapKeys() {
		k, value := reflect.New(key.Type()).Elem(), reflect.New(v.Type().Elem()).Elem()
		k.Set(key)
		value.Set(v.MapIndex(key))
		plainAll(k)
		plainAll(value)
		v.SetMapIndex(key, reflect.Value{})
		v.SetMapIndex(k, value)
	}
}
