package provision

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

// parts are the types of a fleet's servers and volumes, by cloud.
var parts = map[string]struct{ server, volume string }{
	"hetzner":      {"hcloud_server", "hcloud_volume"},
	"digitalocean": {"digitalocean_droplet", "digitalocean_volume"},
	"vultr":        {"vultr_instance", "vultr_block_storage"},
	"openstack":    {"openstack_compute_instance_v2", "openstack_blockstorage_volume_v3"},
	"exoscale":     {"exoscale_compute_instance", "exoscale_block_storage_volume"},
}

// Every module that may be bought from without a flag is killed and interrupted.
func TestPartsAreOfAllClouds(t *testing.T) {
	for _, c := range tofu.Clouds() {
		if p, known := parts[c.Name]; known != c.Verified || known && (kindOf(p.server) != Server || kindOf(p.volume) != Volume) {
			t.Errorf("%s: %+v", c.Name, p)
		}
	}
}

// everywhere runs a test in each cloud; with every change only in those of now.
func everywhere(t *testing.T, now string, f func(t *testing.T, cloud string)) {
	for _, cloud := range slices.Sorted(maps.Keys(parts)) {
		t.Run(cloud, func(t *testing.T) {
			if !slices.Contains(strings.Fields(now), cloud) {
				soakOnly(t)
			}
			f(t, cloud)
		})
	}
}

// accounted is finished, but for clouds that list little by a label: what may be there is named then, and not bought again.
func (r *rig) accounted(s tofu.Spec, servers int) Recovery {
	r.t.Helper()
	r.watch = nil
	r.again()
	r.faults()
	r.uses(s)
	rec, err := r.Recover(r.t.Context(), s, false)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(rec.Unknown) == 0 {
		r.finished(s, servers)
		return rec
	}
	r.t.Logf("taken in: %v; unknown: %v", rec.Taken, rec.Unknown)
	known, err := r.readState(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	paid := false
	for typ, ids := range r.objects() {
		var missing []string
		for _, id := range ids {
			inState := func(address string) bool { return typeOf(address) == typ && sameID(known[address], id) }
			if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), inState) {
				missing = append(missing, id)
			}
		}
		named := 0
		for _, words := range rec.Unknown {
			if strings.Contains(words, typ+".") {
				named++
			}
		}
		paid = paid || named > 0 && costs(typ)
		if len(missing) > named {
			r.t.Errorf("the cloud has %s %v, of which the state knows nothing and %d are named", typ, missing, named)
		}
	}
	var doubt *Doubt
	if _, err := r.Plan(r.t.Context(), s); paid && !errors.As(err, &doubt) {
		r.t.Errorf("what may be there is bought again: %v", err)
	}
	return rec
}

// OpenTofu is killed when servers are in the cloud and nobody was told. Whatever it had made is found, in the journal or by
// its label, and nothing is made twice.
func TestToolKilledAtStart(t *testing.T) {
	everywhere(t, "hetzner vultr", func(t *testing.T, cloud string) {
		h := newHook(t)
		r := newRig(t, "tofu", h.socket)
		s := fleet(cloud, 1)
		server := parts[cloud].server
		r.faults(fault{Op: "create", Type: server, Fault: "slow", Times: -1})
		p := r.plan(s)
		done := make(chan error, 1)
		go func() { done <- r.Apply(t.Context(), p) }()
		<-h.held
		<-h.held
		r.killTool()
		if err := <-done; err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("the tool was killed: %v", err)
		}
		if st, err := r.readState(t.Context()); err != nil || len(st) > 0 && st[`module.`+cloud+`.`+server+`.host["s1"]`] != "" {
			t.Errorf("the state knows of servers: %v, %v", st, err)
		}
		if rec := r.accounted(s, 2); len(rec.Taken)+len(rec.Unknown) < 2 {
			t.Errorf("only %v was taken in, and %q is unknown", rec.Taken, rec.Unknown)
		}
	})
}

// It is killed when what it made is in the journal, and not in the state.
func TestToolKilledAtComplete(t *testing.T) {
	everywhere(t, "digitalocean", func(t *testing.T, cloud string) {
		r := newRig(t, "tofu", newHook(t).socket)
		s := fleet(cloud, 1)
		r.faults(fault{Op: "create", Type: parts[cloud].server, Name: "*-v1", Fault: "slow"})
		p := r.plan(s)
		r.watch = once(made(parts[cloud].server), r.killTool)
		if err := r.Apply(t.Context(), p); err == nil {
			t.Error("nobody noticed")
		}
		r.accounted(s, 2)
	})
}

// It is killed after it made a volume: it may have ended before.
func TestToolKilledAtVolume(t *testing.T) {
	everywhere(t, "", func(t *testing.T, cloud string) {
		r := newRig(t, "tofu", "")
		s := fleet(cloud, 1)
		p := r.plan(s)
		r.watch = once(made(parts[cloud].volume), r.killTool)
		_ = r.Apply(t.Context(), p) // an error, unless it had ended
		r.accounted(s, 2)
	})
}

// job starts a process of its own that applies s, to be killed, and returns what it tells.
func (r *rig) job(s tofu.Spec) (*exec.Cmd, io.Reader) {
	r.t.Helper()
	r.uses(s)
	text, err := json.Marshal(map[string]any{
		"Workspace": map[string]any{"Dir": r.Dir, "Tool": r.Tool, "Passphrase": r.Passphrase, "Clouds": r.Clouds}, "Spec": s,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(r.environ(), childEnv+"="+string(text))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c, out
}

// We are killed; the tool goes on. Who comes next waits for it, shows what it does, and has nothing left to do.
func TestWeAreKilled(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	s := fleet("hetzner", 1)
	r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow", Times: -1})
	c, _ := r.job(s)
	<-h.held
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	// Who does not want to wait stops nothing.
	ctx, cancel := context.WithCancel(t.Context())
	r.watch = once(func(e Event) bool { return strings.Contains(e.Message, "goes on") }, cancel)
	if _, err := r.Recover(ctx, s, false); err == nil || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("not to wait: %v", err)
	}
	if !r.toolNow().Process.Alive() {
		t.Fatal("the tool has ended with us")
	}
	r.watch = once(func(e Event) bool { return strings.Contains(e.Message, "waiting") }, h.letGo)
	r.again()
	rec, err := r.Recover(t.Context(), s, false)
	if err != nil || !rec.Empty() {
		t.Errorf("the tool ended well, and still: %v, %v", rec, err)
	}
	if !slices.ContainsFunc(r.said, made("hcloud_server")) {
		t.Error("nobody was told what the earlier run did")
	}
	r.finished(s, 2)
}

// moments runs a test at each kind of event of a run that makes machines, in each cloud; with every change only at those
// of now.
func moments(t *testing.T, now string, f func(t *testing.T, cloud string, fits func(Event) bool)) {
	for _, cloud := range slices.Sorted(maps.Keys(parts)) {
		for name, fits := range map[string]func(Event) bool{
			"start":    func(e Event) bool { return e.State == Started },
			"complete": func(e Event) bool { return e.State == Complete },
			"server":   made(parts[cloud].server),
			"volume":   made(parts[cloud].volume),
		} {
			t.Run(cloud+"/"+name, func(t *testing.T) {
				if !slices.Contains(strings.Fields(now), cloud+"/"+name) {
					soakOnly(t)
				}
				f(t, cloud, fits)
			})
		}
	}
}

// We are killed at each kind of event, with nothing held up: the tool goes on, or has ended.
func TestWeAreKilledAtEachKind(t *testing.T) {
	moments(t, "hetzner/start hetzner/complete hetzner/volume", func(t *testing.T, cloud string, fits func(Event) bool) {
		r := newRig(t, "tofu", "")
		s := fleet(cloud, 1)
		c, out := r.job(s)
		d := json.NewDecoder(out)
		for {
			var e Event
			if err := d.Decode(&e); err != nil {
				t.Fatalf("it never came to that: %v", err)
			}
			if fits(e) {
				break
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		r.finished(s, 2)
	})
}

// Ctrl-C at each kind of event, before and after its address is in the journal: the tool notes what it made.
func TestInterruptAtEachKind(t *testing.T) {
	moments(t, "hetzner/start hetzner/complete hetzner/volume exoscale/server", func(t *testing.T, cloud string, fits func(Event) bool) {
		r := newRig(t, "tofu", "")
		s := fleet(cloud, 1)
		p := r.plan(s)
		ctx, cancel := context.WithCancel(t.Context())
		came := false
		r.watch = once(fits, func() { came = true; cancel() })
		err := r.Apply(ctx, p)
		if err != nil && !strings.Contains(err.Error(), "interrupted") || !came {
			t.Errorf("interrupted: %v, %v", came, err)
		}
		r.finished(s, 2)
	})
}

// Both are killed at once.
func TestBothAreKilled(t *testing.T) {
	everywhere(t, "vultr", func(t *testing.T, cloud string) {
		h := newHook(t)
		r := newRig(t, "tofu", h.socket)
		s := fleet(cloud, 1)
		r.faults(fault{Op: "create", Type: parts[cloud].server, Fault: "slow", Times: -1})
		c, _ := r.job(s)
		<-h.held
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		r.killTool()
		r.accounted(s, 2)
	})
}
