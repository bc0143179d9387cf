package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
)

// withVolumes is a deployment in a cloud whose hosts have volumes of that many GB, were set up with as many, and are to
// have want.
func withVolumes(t *testing.T, was, set, want int) (Want, Observed) {
	t.Helper()
	w, o := inCloud(t, true)
	for name, have := range o.Own.Hosts {
		have.Host.VolumeGB, have.Host.VolumeSet = was, set
		o.Own.Hosts[name] = have
		h, _ := w.Own.Host(name)
		h.VolumeGB, h.VolumeSet = want, set
		w.Own.Put(h)
	}
	return w, o
}

func TestVolumesThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		was, want int
		why       string
	}{
		"as it is":  {100, 100, ""},
		"grows":     {100, 101, ""},
		"none":      {0, 0, ""},
		"shrinks":   {100, 99, "has 100 GB, the config says 99: a volume grows and never shrinks"},
		"goes":      {100, 0, "takes away the volume"},
		"is put on": {0, 100, "was made without a volume"},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := withVolumes(t, test.was, test.was, test.want)
			_, err := Make(w, o)
			var refusal *Refusal
			switch {
			case test.why == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.why != "" && (!errors.As(err, &refusal) || !strings.Contains(refusal.Why, test.why) || refusal.Next == ""):
				t.Errorf("want a refusal with %q, have %v", test.why, err)
			}
		})
	}
}

// A brought host keeps the disk that its data is on.
func TestDeviceThatIsRefused(t *testing.T) {
	was := deployment.Host{Name: "s1", Provider: deployment.ProviderSSH, Made: true}
	now := was
	now.VolumeDevice = "/dev/disk/by-id/x"
	for _, pair := range [][2]deployment.Host{{was, now}, {now, was}} {
		if err := regrown(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), "the system's disk") {
			t.Errorf("%v", err)
		}
	}
}

// The file system grows after the volume, before anything else, and also if the run that grew the volume was cut off.
func TestVolumeGrows(t *testing.T) {
	for name, test := range map[string]struct {
		was, set int
		changes  []provision.Change
	}{
		"volume and file system": {100, 100, []provision.Change{{Kind: provision.Volume, Host: "s1", Action: provision.Update}}},
		"file system alone":      {200, 100, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := withVolumes(t, test.was, test.set, 200)
			o.Machines = test.changes
			p, err := Make(w, o)
			if err != nil {
				t.Fatal(err)
			}
			steps := p.Steps()
			at := func(f func(Step) bool) int { return slices.IndexFunc(steps, f) }
			machines := at(func(s Step) bool { _, is := s.(ChangeMachines); return is })
			grow := at(func(s Step) bool {
				g, is := s.(GrowVolume)
				return is && g.Name == "s1" && g.From == 100 && g.To == 200
			})
			if grow < 0 || machines > grow || len(test.changes) > 0 && machines < 0 {
				t.Errorf("machines at %d, file system at %d of %v", machines, grow, steps)
			}
		})
	}
	w, o := withVolumes(t, 200, 200, 200)
	p, err := Make(w, o)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(p.Steps(), func(s Step) bool { _, is := s.(GrowVolume); return is }) {
		t.Error("what is as large as it should be grows")
	}
}

// The volume is in the month's cost, and what no source said is said.
func TestVolumesCost(t *testing.T) {
	w, _ := withVolumes(t, 100, 100, 100)
	none, _ := withVolumes(t, 0, 0, 0)
	with, without := Cost(w.Own.Hosts), Cost(none.Own.Hosts)
	if diff := with.Sums["EUR"] - without.Sums["EUR"]; diff != 3*100*57_200 {
		t.Errorf("three volumes of 100 GB cost %d more", diff)
	}
	elsewhere := Cost([]deployment.Host{{Name: "s1", Role: "sentry", Provider: "vultr", Size: "vc2-4c-8gb", VolumeGB: 10}})
	if !slices.Contains(elsewhere.Unknown, "vultr: volume") {
		t.Errorf("%v", elsewhere)
	}
}
