package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
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

// shown has systemctl tell of node and mesh, of those that it is asked about.
func shown(node, mesh string) string {
	var b strings.Builder
	for name, active := range map[string]string{"node": node, "mesh": mesh} {
		fmt.Fprintf(&b, "%s() { printf 'Id=x\\nLoadState=loaded\\nActiveState=%s\\nMainPID=0\\nJob=0\\nControlGroup=\\n'; }; ", name, active)
	}
	b.WriteString(`case "$*" in *-node*-mesh*) node; echo; mesh;; *-node*) node;; *) mesh;; esac`)
	return b.String()
}

// onUnits lets a validator's node and mesh be units of a systemd that answers every look with the shell command show. The
// file that is returned lists what systemctl was told.
func onUnits(t *testing.T, r *rig, show string) (u *units, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\ncase \"$*\" in *show*) %s;; esac\n", log, show)
	must(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	u, err := newUnits(r.Folder)
	must(t, err)
	u.processes = func(systemd.Unit) ([]int, error) { return nil, nil }
	r.runner = u
	return u, log
}

// A stop and a removal are acknowledged once it was seen that nothing runs, or comes back by itself.
func TestNothingIsTakenForStopped(t *testing.T) {
	down := shown("inactive", "inactive")
	for name, c := range map[string]struct {
		show      string
		processes error
		phase     string
		stops     bool
	}{
		"systemd does not answer":      {"echo no bus >&2; exit 1", nil, "unknown", true},
		"its processes cannot be seen": {down, errors.New("no such hierarchy"), "unknown", true},
		"systemd starts it again soon": {shown("activating", "inactive"), nil, "starting", true},
		"it is down":                   {down, nil, "down", false},
	} {
		for what, order := range map[string]func(*rig){
			"stop": func(r *rig) {
				_, err := r.setIntent(&http.Request{}, api.Intent{Stopped: true, By: "op"})
				must(t, err)
			},
			"removal": func(r *rig) {
				r.next(t, func(n *roster.Roster) { n.Signer.Holder = ""; n.Remove("validator") })
			},
		} {
			t.Run(what+" while "+name, func(t *testing.T) {
				r := newValidator(t)
				u, log := onUnits(t, r, c.show)
				u.processes = func(systemd.Unit) ([]int, error) { return nil, c.processes }
				order(r)
				err := r.turn(t.Context())
				told, _ := os.ReadFile(log)
				if tried := strings.Contains(string(told), "stop pressenter-node"); tried != c.stops {
					t.Errorf("it tried to stop it: %v; systemctl was told:\n%s", tried, told)
				}
				unsure := c.phase == "unknown"
				if applied := r.rosterStatus().Applied != ""; applied == unsure || (err != nil) != unsure {
					t.Errorf("acknowledged: %v, error: %v", applied, err)
				}
				if got := observeProcesses(r.Folder, u).Phase; got != c.phase {
					t.Errorf("it says that the node is %s", got)
				}
			})
		}
	}
}

// What runs is told also where it cannot be noted, and the note is written once it can be.
func TestUnitsNoteCannotBeKept(t *testing.T) {
	r := newValidator(t)
	u, _ := onUnits(t, r, shown("active", "active"))
	inTheWay := filepath.Join(r.Folder.unitsNote(), "x")
	must(t, os.MkdirAll(inTheWay, 0o700))
	if node, mesh, err := u.Up(); !node || !mesh || err != nil {
		t.Errorf("node %v, mesh %v, %v", node, mesh, err)
	}
	if _, _, err := u.Overruled(); err == nil {
		t.Error("nobody is told that the note is not kept")
	}
	must(t, os.RemoveAll(r.Folder.unitsNote()))
	u.forget()
	if _, _, err := u.Overruled(); err != nil {
		t.Error(err)
	}
	again, err := newUnits(r.Folder)
	if err != nil || again.note.Node.Up == "" || again.note != u.note {
		t.Errorf("the next agent knows %+v, %v", again.note, err)
	}
}

// A unit whose file is gone may have left a daemon.
func TestStopWithoutUnitFile(t *testing.T) {
	r := newValidator(t)
	u, _ := onUnits(t, r, strings.ReplaceAll(shown("inactive", "inactive"), "loaded", "not-found")+"; case \"$*\" in *stop*) exit 5;; esac")
	looks := 0
	u.processes = func(systemd.Unit) ([]int, error) {
		looks++
		return nil, errors.New("cannot be seen")
	}
	if err := u.Stop(context.Background()); err == nil || looks == 0 {
		t.Errorf("%d looks, %v", looks, err)
	}
}
