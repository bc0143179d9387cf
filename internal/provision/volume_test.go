package provision

import (
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

// A volume that is to be larger is made so in place: it and the machine that it is on stay what they are. One that is
// to be smaller never gets here: the plan refuses it.
func TestVolumesGrowInPlace(t *testing.T) {
	for _, cloud := range []string{"hetzner", "digitalocean", "vultr", "openstack", "exoscale"} {
		t.Run(cloud, func(t *testing.T) {
			if cloud != "hetzner" && cloud != "openstack" {
				soakOnly(t)
			}
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 0)
			r.apply(s)
			before := r.objects()
			sized := func(gb int) tofu.Spec {
				v1, next := s.Hosts["v1"], s
				v1.VolumeGB = gb
				next.Hosts = map[string]tofu.Host{"v1": v1}
				return next
			}
			p := r.plan(sized(60))
			if len(p.Changes) != 1 || p.Changes[0].Kind != Volume || p.Changes[0].Action != Update || p.Changes[0].Host != "v1" {
				t.Errorf("to grow it: %s", strings.Join(lines(p), "\n"))
			}
			if err := r.Apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			after := r.objects()
			for typ, ids := range before {
				slices.Sort(ids)
				slices.Sort(after[typ])
				if strings.Join(after[typ], " ") != strings.Join(ids, " ") {
					t.Errorf("%s were %v and are %v", typ, ids, after[typ])
				}
			}
			r.quiet(sized(60))
		})
	}
}
