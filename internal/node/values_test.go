package node

import (
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	v, err := Values([]byte("a = \"x y\"\nb = 'lit\\eral'\nn = 12\n[p2p]\nladdr = \"tcp://0.0.0.0:26656\" # where\npex = true\n[rpc]\nladdr = \"tcp://127.0.0.1:26657\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a": "x y", "b": `lit\eral`, "n": "12", "p2p.laddr": "tcp://0.0.0.0:26656", "p2p.pex": "true", "rpc.laddr": "tcp://127.0.0.1:26657",
	} {
		if v[key] != want {
			t.Errorf("%s is %q, want %q", key, v[key], want)
		}
	}
	for _, bad := range []string{"x = [", "= 1", "\x00"} {
		if v, err := Values([]byte(bad)); err == nil {
			t.Errorf("%q says %v", bad, v)
		}
	}
}

// TestValuesDeep: values within values, as deep as a file that is read may have them, end nothing.
func TestValuesDeep(t *testing.T) {
	for _, open := range []string{"[", "{a=", "a."} {
		_, _ = Values([]byte("x = " + strings.Repeat(open, 128<<10/len(open))))
		_, _ = Values([]byte(strings.Repeat(open, 128<<10/len(open))))
	}
}

func FuzzValues(f *testing.F) {
	f.Add([]byte("a = 1\n[b]\nc = 'd'\n"))
	f.Fuzz(func(_ *testing.T, src []byte) { _, _ = Values(src) })
}
