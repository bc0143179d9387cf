package underlay

import (
	"net/netip"
	"slices"
	"testing"
)

// TestResolve asks for addresses only, which no name server is needed for.
func TestResolve(t *testing.T) {
	for give, want := range map[string]string{
		"192.0.2.1:443":            "192.0.2.1:443",
		"[2001:db8::1]:51820":      "[2001:db8::1]:51820",
		"[::ffff:192.0.2.1]:51820": "192.0.2.1:51820",
	} {
		got, err := Resolve(t.Context(), give)
		if err != nil || !slices.Equal(got, []netip.AddrPort{netip.MustParseAddrPort(want)}) {
			t.Errorf("%s is at %v, %v; want %s", give, got, err, want)
		}
	}
	for _, give := range []string{
		"", "192.0.2.1", ":443", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:https", "2001:db8::1:443",
		"0.0.0.0:443", "[::]:443", "[::ffff:0.0.0.0]:443", "224.0.0.1:443", "[ff02::1]:443",
	} {
		if got, err := Resolve(t.Context(), give); err == nil {
			t.Errorf("%q is at %v", give, got)
		}
	}
}

func TestResolveName(t *testing.T) {
	got, err := Resolve(t.Context(), "localhost:7")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got {
		if !a.Addr().IsLoopback() || a.Addr().Is4In6() || a.Port() != 7 {
			t.Errorf("localhost is at %v", a)
		}
	}
}
