package agent

import (
	"testing"

	"github.com/pressenter/pressenter/internal/systemd"
)

// Only a unit that ran in this boot, that the agent did not stop and that did not fail was stopped by a person.
func TestWhoStoppedAUnit(t *testing.T) {
	const boot = "b1"
	for name, c := range map[string]struct {
		note unitNote
		unit systemd.Unit
		want unitNote
	}{
		"it runs":                          {unitNote{}, systemd.Unit{Active: "active"}, unitNote{Up: boot}},
		"it is stopped":                    {unitNote{Up: boot}, systemd.Unit{Active: "inactive"}, unitNote{Stopped: true}},
		"it is being restarted":            {unitNote{Up: boot}, systemd.Unit{Active: "inactive", Busy: true}, unitNote{Up: boot}},
		"it is being stopped":              {unitNote{Up: boot}, systemd.Unit{Active: "deactivating"}, unitNote{Up: boot}},
		"it failed":                        {unitNote{Up: boot}, systemd.Unit{Active: "failed"}, unitNote{Up: boot}},
		"the machine rebooted":             {unitNote{Up: "b0"}, systemd.Unit{Active: "inactive"}, unitNote{Up: "b0"}},
		"the agent stopped it":             {unitNote{}, systemd.Unit{Active: "inactive"}, unitNote{}},
		"it was stopped, then came a boot": {unitNote{Stopped: true}, systemd.Unit{Active: "inactive"}, unitNote{Stopped: true}},
		"a person is starting it":          {unitNote{Stopped: true}, systemd.Unit{Active: "activating"}, unitNote{Up: boot}},
		"a person started it again":        {unitNote{Stopped: true}, systemd.Unit{Active: "active"}, unitNote{Up: boot}},
	} {
		if got := c.note.after(c.unit, boot); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// A node that a person stopped with the means of the machine is down until one starts it.
func TestOverruled(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	r.run.supervisor, r.run.overruled = false, "stopped with systemctl"
	r.mustTurn(t) // the daemon, which is still up, is ended
	r.mustTurn(t)
	if r.run.starts != 1 || r.run.stops != 1 || r.run.daemon {
		t.Errorf("%d starts, %d stops, the daemon is up: %v", r.run.starts, r.run.stops, r.run.daemon)
	}
	must(t, r.run.Allow())
	r.mustTurn(t)
	if r.run.starts != 2 {
		t.Errorf("%d starts after a person allowed it", r.run.starts)
	}
}
