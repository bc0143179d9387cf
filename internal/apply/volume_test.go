package apply

import (
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/plan"
)

// A volume that grew in the cloud has its file system grown, also by the run after the one that was cut off in between,
// and then there is nothing left to do.
func TestFileSystemFollowsItsVolume(t *testing.T) {
	s, _ := newServers(t)
	s.Config.Sentries[0].VolumeGB = 100
	must(t, s.Open())
	t.Cleanup(s.Close)
	applies(t, s)
	if h, _ := s.own.inventory.Host("s1"); h.VolumeSet != 100 {
		t.Errorf("a host that was set up with 100 GB: %+v", h)
	}

	s.Config.Sentries[0].VolumeGB = 300
	h, _ := s.own.inventory.Host("s1")
	h.VolumeGB = 300 // as it is noted when the cloud has done it
	s.own.inventory.Put(h)
	p, err := s.Plan(t.Context())
	must(t, err)
	if !slices.ContainsFunc(p.Steps(), func(s plan.Step) bool { _, is := s.(plan.GrowVolume); return is }) {
		t.Fatalf("nothing grows: %v", p.Steps())
	}
	must(t, s.Do(t.Context(), p))
	if h, _ := s.own.inventory.Host("s1"); h.VolumeSet != 300 || h.VolumeGB != 300 {
		t.Errorf("%+v", h)
	}
	if p, err = s.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("%v, %v", p.Steps(), err)
	}
}
