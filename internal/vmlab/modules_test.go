package vmlab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		depends map[string]string // of each module there is
		want    string            // of a and b
		problem string
	}{
		{name: "alone", depends: map[string]string{"a": "", "b": ""}, want: "a b"},
		{name: "after what it needs", depends: map[string]string{"a": "c", "b": "", "c": "d", "d": ""}, want: "d c a b"},
		{name: "shared needs once", depends: map[string]string{"a": "c b", "b": "c", "c": ""}, want: "c b a"},
		{name: "in the kernel itself", depends: map[string]string{"a": "in-kernel", "b": ""}, want: "a b"},
		{name: "spelled both ways", depends: map[string]string{"a": "c-d", "b": "c_d", "c_d": ""}, want: "c_d a b"},
		{name: "missing", depends: map[string]string{"a": "x", "b": ""}, problem: "module x"},
		{name: "in a circle", depends: map[string]string{"a": "b", "b": "a"}, problem: "depends on itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := order([]string{"a", "b"}, []string{"in_kernel"}, func(name string) ([]string, error) {
				d, ok := c.depends[name]
				if !ok {
					return nil, fmt.Errorf("there is no %s", name)
				}
				return strings.Fields(d), nil
			})
			if strings.Join(got, " ") != c.want || (err != nil) != (c.problem != "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("got %q, %v; want %q, %q", got, err, c.want, c.problem)
			}
		})
	}
}

// TestOrderOfTheKernel checks with Debian's own modules that whatever one needs comes before it.
func TestOrderOfTheKernel(t *testing.T) {
	vm := prepared(t)
	got, err := vm.modules.order(wanted)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range got {
		needs, err := dependencies(vm.modules.file(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range needs {
			if n = spell(n); !slices.Contains(got[:i], n) && !slices.Contains(vm.modules.builtin, n) {
				t.Errorf("%s comes without %s before it", name, n)
			}
		}
	}
	for _, name := range []string{"wireguard", "libchacha20poly1305", "udp_tunnel", "ip6_udp_tunnel", "sch_netem", "nf_tables"} {
		if !slices.Contains(got, name) {
			t.Errorf("no %s among %q", name, got)
		}
	}
}
