package health

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	for said, want := range map[string]string{
		"as it is – with ü, 語 and ✔":  "as it is – with ü, 語 and ✔",
		"\x1b[2J\x1b]0;title\x07gone": `\x1b[2J\x1b]0;title\x07gone`,
		"hidden\rnothing is wrong":    `hidden\x0dnothing is wrong`,
		"one\ntwo\tthree\n":           "one; two three",
		"\u009b31m":                   `\xc2\x9b31m`, // what some terminals take for ESC [
		"turned \u202egnp.exe":        `turned \xe2\x80\xaegnp.exe`,
		"no\u200bthing":               `no\xe2\x80\x8bthing`,
		"not UTF-8: \xff\x9b":         `not UTF-8: \xff\x9b`,
		"really \ufffd":               "really \ufffd",
		"a\x00b\x7f":                  `a\x00b\x7f`,
	} {
		if got := Plain(said); got != want {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
	}
	if got := Lines("one\n\ttwo\x1b[1m\n"); got != "one\n\ttwo\\x1b[1m\n" {
		t.Errorf("lines become %q", got)
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("a\x1b[0m\xff\u202e\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Plain(s), strings.NewReplacer("\n", "", "\t", "").Replace(Lines(s))} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q becomes %q", s, got)
			}
		}
		if p := Plain(s); Plain(p) != p {
			t.Errorf("%q changes again", p)
		}
	})
}

func TestPlainAll(t *testing.T) {
	type kind string
	type inner struct {
		Word   kind
		Bytes  []byte
		hidden string
	}
	v := struct {
		Inner  *inner
		None   *inner
		Map    map[string]inner
		Words  []string
		Any    any
		Number int
	}{
		Inner: &inner{"\x1b", []byte("\x1b"), "\x1b"}, Map: map[string]inner{"\x1b": {Word: "\x1b"}, "b": {}}, Words: []string{"\x1b", "a"}, Any: &[]string{"\x1b"}, Number: 27,
	}
	PlainAll(&v)
	const esc = `\x1b`
	if v.Inner.Word != esc || string(v.Inner.Bytes) != "\x1b" || v.Inner.hidden != "\x1b" || v.Map[esc].Word != esc || len(v.Map) != 2 || v.Words[0] != esc || (*v.Any.(*[]string))[0] != esc {
		t.Errorf("%+v", v)
	}
}
