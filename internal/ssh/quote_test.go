package ssh

import (
	"os/exec"
	"strings"
	"testing"
)

// Whatever the words are, a shell splits the line into them again.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "plain", "two words", "it's", `"$HOME"`, "`id`", "a\nb", "-n", "*", "~", "\\", "'", "''", "!!", "#", "a\tb", "é", "\x01\xff",
		"=x", "{a,b}", "$(id)", "a;b", "&", "%s",
	} {
		f.Add(s, "second")
		f.Add("first", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) {
			t.Skip("no argument has a zero byte")
		}
		out, err := exec.Command("/bin/sh", "-c", Quote("printf", `%s\001\002`, a, b)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out), a+"\x01\x02"+b+"\x01\x02"; got != want {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func TestQuoteLeavesPlainWords(t *testing.T) {
	got := Quote("/opt/x", "--a", "b=c", "user@host:1", "it's")
	if want := `/opt/x --a 'b=c' user@host:1 'it'\''s'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
