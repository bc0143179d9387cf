package ssh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]Target{
		"sentry":                     {Host: "sentry"},
		"root@203.0.113.5":           {User: "root", Host: "203.0.113.5"},
		"deploy@s1.example.com:2222": {User: "deploy", Host: "s1.example.com", Port: 2222},
		"[2001:db8::1]":              {Host: "2001:db8::1"},
		"a@[2001:db8::1]:22":         {User: "a", Host: "2001:db8::1", Port: 22},
		"[fe80::1%eth0]:1":           {Host: "fe80::1%eth0", Port: 1},
		"a@b@host":                   {User: "a@b", Host: "host"},
	} {
		got, err := ParseTarget(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", in, d)
		}
		if got.String() != in {
			t.Errorf("%q is written as %q", in, got)
		}
	}
	for in, want := range map[string]string{
		"":                    "the host is empty",
		"root@":               "the host is empty",
		"@host":               "user before the @ is empty",
		"root:secret@host":    "passwords are not used",
		"2001:db8::1":         "goes in brackets: [2001:db8::1]",
		"host:":               "a colon and a port",
		"host:0":              "from 1 to 65535",
		"host:022":            "from 1 to 65535",
		"host:+22":            "from 1 to 65535",
		"host:65536":          "from 1 to 65535",
		"[2001:db8::1":        "not closed",
		"[2001:db8::1]x":      "a colon and a port",
		"[host]":              "not an IPv6 address",
		"[203.0.113.5]:22":    "not an IPv6 address",
		"-oProxyCommand=evil": "does not begin with -",
		"ho st":               "no ' '",
		"host;rm":             "no ';'",
		"a b@host":            "characters that no user has",
		"ssh://host":          "from 1 to 65535",
		"-l@host":             "user does not begin with -",
	} {
		if got, err := ParseTarget(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", in, got, err, want)
		}
	}
}
