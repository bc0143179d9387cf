package vpncloud

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/tunnel"
)

var update = flag.Bool("update", false, "write golden files")

func TestRender(t *testing.T) {
	got := render(program{
		Interface: "mesh0",
		Seed:      tunnel.Key{0: 1},
		Trusted:   trusted([]tunnel.Peer{{Key: tunnel.Key{0: 3}}, {Key: tunnel.Key{0: 2}}, {Key: tunnel.Key{0: 3}}}),
		Listen:    listenText(netip.IPv6Unspecified(), 3210),
		Address:   netip.MustParseAddr("fd00:44::1"),
		Stats:     "/run/x/stats",
	})
	golden := filepath.Join("testdata", "vpncloud.yaml")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	// The hook's shell must see the line as it is here, whatever quoting made of it.
	var read struct{ Hooks map[string]string }
	if err := yaml.Unmarshal(got, &read); err != nil {
		t.Fatal(err)
	}
	if read.Hooks[eventStarted] != tell || read.Hooks[eventConnected] != tell {
		t.Errorf("hooks %q", read.Hooks)
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", `"`, `\`, "'", "\n", "a: b # c", "!x", "*x", "\x00", "\u2028", "é", "|cmd", "%d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || len(s) > 1<<10 {
			t.Skip("nothing of ours is like that")
		}
		var got map[string]string
		text := "a: " + quote(s) + "\nb: x\n"
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got["a"] != s || got["b"] != "x" || len(got) != 2 {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestListenText(t *testing.T) {
	for address, want := range map[string]string{
		"":            "*:7",
		"0.0.0.0":     "*:7",
		"::":          "*:7",
		"192.0.2.1":   "192.0.2.1:7",
		"2001:db8::1": "[2001:db8::1]:7",
	} {
		a, _ := netip.ParseAddr(address)
		if got := listenText(a, 7); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestCheckInterface(t *testing.T) {
	for name, ok := range map[string]bool{
		"mesh0": true, "a": true, "exactly15letter": true,
		"": false, "sixteen--letters": false, "a b": false, "a/b": false, "a:b": false, "vpn%d": false, ".": false, "..": false,
		"a\nb": false, "é": false,
	} {
		if err := checkInterface(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTrustsOthers(t *testing.T) {
	for _, c := range []struct {
		running, wanted []string
		want            bool
	}{
		{nil, nil, false},
		{nil, []string{"a"}, false},
		{[]string{"a"}, nil, true},
		{[]string{"a"}, []string{"a", "b"}, false},
		{[]string{"a", "b"}, []string{"b"}, true},
	} {
		if got := trustsOthers(c.running, c.wanted); got != c.want {
			t.Errorf("%v, want %v: %v", c.running, c.wanted, got)
		}
	}
}
