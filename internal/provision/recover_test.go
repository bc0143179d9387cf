package provision

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/tofu"
)

// toolNow is the tool that runs at the moment.
func (r *rig) toolNow() *run {
	r.t.Helper()
	all, err := r.runs()
	if err != nil || len(all) == 0 || all[len(all)-1].Process.IsZero() {
		r.t.Fatalf("nothing runs: %v, %v", all, err)
	}
	return all[len(all)-1]
}

func (r *rig) killTool() {
	r.t.Helper()
	if err := r.toolNow().Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		r.t.Errorf("kill the tool: %v", err)
	}
}

// finished recovers, plans and applies as the next command does, and fails unless all is as if nothing had happened.
func (r *rig) finished(s tofu.Spec, servers int) Recovery {
	r.t.Helper()
	r.watch = nil
	r.again()
	r.faults()
	rec, err := r.Recover(r.t.Context(), s, false)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("taken in: %v; unknown: %v", rec.Taken, rec.Unknown)
	r.allKnown()
	p, err := r.Plan(r.t.Context(), s)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range p.Changes {
		if c.Loses() {
			r.t.Errorf("after recovering it would %s %s: %v", c.Action, c.Address, c.Because)
		}
	}
	if err := r.Apply(r.t.Context(), p); err != nil {
		r.t.Fatal(err)
	}
	r.servers(servers)
	r.allKnown()
	r.quiet(s)
	return rec
}

// once calls f at the first event that fits.
func once(fits func(Event) bool, f func()) func(Event) {
	var o sync.Once
	return func(e Event) {
		if fits(e) {
			o.Do(f)
		}
	}
}

func made(address string) func(Event) bool {
	return func(e Event) bool {
		return e.State == Complete && e.Action == "create" && strings.Contains(e.Address, address)
	}
}

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

// The tool says that it still waits, is killed, and its replacement after that as well.
func TestToolKilledInProgressAndAgain(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	s := fleet("hetzner", 1)
	r.faults(fault{Op: "create", Type: "hcloud_server", Name: "*-v1", Fault: "slow"}, fault{Op: "create", Type: "hcloud_volume", Fault: "slow"})
	p := r.plan(s)
	r.watch = once(func(e Event) bool { return e.State == Going }, r.killTool)
	if err := r.Apply(t.Context(), p); err == nil {
		t.Error("nobody noticed")
	}
	<-h.held
	r.again()
	p = r.plan(s)
	r.watch = nil
	done := make(chan error, 1)
	go func() { done <- r.Apply(t.Context(), p) }()
	if typ := <-h.held; typ != "hcloud_volume" {
		t.Errorf("%s was made again", typ)
	}
	r.killTool()
	<-done
	r.finished(s, 2)
}

// A machine was destroyed and made anew, and the state has the one before.
func TestToolKilledInReplacement(t *testing.T) {
	h := newHook(t)
	r := newRig(t, "tofu", h.socket)
	s := fleet("hetzner", 1)
	r.apply(s)
	s1 := s.Hosts["s1"]
	s1.Region = "nbg1"
	s.Hosts["s1"] = s1
	r.faults(fault{Op: "create", Type: "hcloud_primary_ip", Name: "*-v6", Fault: "slow"})
	p := r.plan(s)
	r.watch = once(made("ipv4"), r.killTool)
	if err := r.Apply(t.Context(), p); err == nil {
		t.Error("nobody noticed")
	}
	r.again()
	p = r.plan(s)
	r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow"})
	r.watch = once(func(e Event) bool {
		return e.State == Started && e.Action == "create" && strings.Contains(e.Address, "hcloud_server")
	}, func() {
		<-h.held
		<-h.held
		r.killTool()
	})
	if err := r.Apply(t.Context(), p); err == nil {
		t.Error("nobody noticed")
	}
	r.finished(s, 2)
}

// The provider dies, before its cloud did anything and after.
func TestProviderKilled(t *testing.T) {
	for _, at := range []string{"before", "after"} {
		t.Run(at, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet("hetzner", 1)
			r.faults(fault{Op: "create", Type: "hcloud_server", Name: "*-s1", Fault: "crash", At: at})
			if err := r.Apply(t.Context(), r.plan(s)); err == nil {
				t.Error("nobody noticed")
			}
			r.finished(s, 2)
		})
	}
}

// Clouds that say one thing and do another.
func TestLyingCloud(t *testing.T) {
	for _, c := range []struct {
		cloud, typ, fault string
		unknown           bool
	}{
		{"hetzner", "hcloud_server", "lost", false},
		{"hetzner", "hcloud_server", "lie", false},
		{"vultr", "vultr_reserved_ip", "lost", true}, // nobody can be asked for it
	} {
		t.Run(c.typ+"/"+c.fault, func(t *testing.T) {
			r := newRig(t, "tofu", "")
			s := fleet(c.cloud, 1)
			r.faults(fault{Op: "create", Type: c.typ, Fault: c.fault})
			p := r.plan(s)
			_ = r.Apply(t.Context(), p)
			r.faults()
			r.again()
			rec, err := r.Recover(t.Context(), s, false)
			if err != nil {
				t.Fatal(err)
			}
			if c.unknown {
				if len(rec.Unknown) != 1 || !strings.Contains(rec.Unknown[0], c.typ) || !strings.Contains(rec.Unknown[0], "trial-012345-s1") {
					t.Errorf("unknown: %q", rec.Unknown)
				}
				return
			}
			r.finished(s, 2)
		})
	}
	t.Run("partial", func(t *testing.T) { // made, with an error: the state has it, as one to be replaced
		r := newRig(t, "tofu", "")
		s := fleet("hetzner", 1)
		r.faults(fault{Op: "create", Type: "hcloud_server", Name: "*-s1", Fault: "partial"})
		if err := r.Apply(t.Context(), r.plan(s)); err == nil {
			t.Error("nobody noticed")
		}
		r.faults()
		r.again()
		r.allKnown()
		r.apply(s)
		r.servers(2)
		r.allKnown()
		r.quiet(s)
	})
}

// What may be there and cannot be asked for is not bought again before a person has looked, and not forgotten until then,
// whatever else is done. What a cloud refused to make holds nothing up.
func TestUnknownIsKept(t *testing.T) {
	const volume = "openstack_blockstorage_volume_v3"
	r := newRig(t, "tofu", "")
	s := fleet("openstack", 1)
	r.faults(fault{Op: "create", Type: volume, Fault: "quota"})
	if err := r.Apply(t.Context(), r.plan(s)); err == nil {
		t.Fatal("there was room")
	}
	r.faults(fault{Op: "create", Type: volume, Fault: "lost"})
	if err := r.Apply(t.Context(), r.plan(s)); err == nil {
		t.Fatal("nobody noticed")
	}
	r.faults()
	unknown := func() {
		t.Helper()
		r.again()
		if rec, err := r.Recover(t.Context(), s, false); err != nil || len(rec.Unknown) != 1 || !strings.Contains(rec.Unknown[0], volume) {
			t.Errorf("unknown: %q, %v", rec.Unknown, err)
		}
	}
	unknown()
	var doubt *Doubt
	if _, err := r.Plan(t.Context(), s); !errors.As(err, &doubt) {
		t.Errorf("it is bought again: %v", err)
	}
	p, err := r.Plan(t.Context(), nothing(s))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	unknown()
	r.again()
	r.Looked = true
	r.apply(s)
	r.again()
	if rec, err := r.Recover(t.Context(), s, false); err != nil || !rec.Empty() {
		t.Errorf("after somebody looked: %q, %v", rec.Unknown, err)
	}
}

// The state is deleted, by accident. What can be asked for is found by its label, the rest in the journals.
func TestStateLost(t *testing.T) {
	for _, cloud := range slices.Sorted(maps.Keys(parts)) {
		t.Run(cloud, func(t *testing.T) {
			if cloud == "digitalocean" || cloud == "exoscale" {
				soakOnly(t)
			}
			r := newRig(t, "tofu", "")
			s := fleet(cloud, 1)
			r.apply(s)
			for _, name := range []string{stateFile, stateFile + ".backup"} {
				if err := os.Remove(r.path(name)); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
			}
			r.again()
			if _, err := r.Plan(t.Context(), s); err == nil || !strings.Contains(err.Error(), "recover") {
				t.Errorf("without a state all would be made twice: %v", err)
			}
			rec, err := r.Recover(t.Context(), s, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(rec.Unknown) > 0 {
				t.Errorf("unknown: %q", rec.Unknown)
			}
			r.allKnown()
			p, err := r.Plan(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range p.Changes {
				if c.Action != Update {
					t.Errorf("once found again, it would %s %s: %v", c.Action, c.Address, c.Because)
				}
			}
			if err := r.Apply(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			r.servers(2)
			r.quiet(s)
		})
	}
	t.Run("with the folder", func(t *testing.T) { // nothing is left but the id: enough to destroy
		r := newRig(t, "tofu", "")
		s := fleet("hetzner", 1)
		r.apply(s)
		if err := os.RemoveAll(r.Dir); err != nil {
			t.Fatal(err)
		}
		r.again()
		none := tofu.Spec{Deployment: s.Deployment, ID: s.ID, SSHKeys: s.SSHKeys}
		found, err := r.Sweep(t.Context(), s.ID)
		if err != nil || len(found) < 2 {
			t.Fatalf("a sweep found %v, %v", found, err)
		}
		if _, err := r.Recover(t.Context(), none, true); err != nil {
			t.Fatal(err)
		}
		r.allKnown()
		r.apply(none)
		if left := r.objects(); len(left) > 0 {
			t.Errorf("the cloud still has %v", left)
		}
	})
}

// The state was cut off while it was written, which the tool does in place.
func TestStateCutOff(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "half": `{"serial":1,"lineage":"`} {
		t.Run(name, func(t *testing.T) {
			if name != "empty" {
				soakOnly(t)
			}
			r := newRig(t, "tofu", newHook(t).socket)
			s := fleet("hetzner", 0)
			r.apply(s)
			r.faults(fault{Op: "create", Type: "hcloud_server", Fault: "slow"})
			s.Hosts["s1"] = fleet("hetzner", 1).Hosts["s1"]
			p := r.plan(s)
			r.watch = once(made("ipv4"), r.killTool)
			if err := r.Apply(t.Context(), p); err == nil {
				t.Error("nobody noticed")
			}
			if err := os.WriteFile(r.path(stateFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			r.finished(s, 2)
		})
	}
}

// The state could not be written where it belongs.
func TestErroredState(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 0)
	r.apply(s)
	// As the tool leaves it: the state with the newest serial, encrypted, beside an older one.
	all, err := r.runs()
	if err != nil {
		t.Fatal(err)
	}
	all[0].Settled = false
	if err := all[0].save(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.path(stateFile), r.path("errored.tfstate")); err != nil {
		t.Fatal(err)
	}
	r.again()
	rec := r.finished(s, 1)
	if len(rec.Taken) > 0 || r.has("errored.tfstate") {
		t.Errorf("the state was not taken, but found anew: %v", rec.Taken)
	}
}

// Journal and state of a run were lost with the power: what it made is found by its label.
func TestJournalLost(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 0)
	r.apply(s)
	all, err := r.runs()
	if err != nil {
		t.Fatal(err)
	}
	all[0].Settled, all[0].State = false, nil
	if err := all[0].save(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(filepath.Join(all[0].dir, streamFile), 0), os.Remove(r.path(stateFile))); err != nil {
		t.Fatal(err)
	}
	if rec := r.finished(s, 1); len(rec.Taken) == 0 {
		t.Error("nothing was found")
	}
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
	c.Env = append(os.Environ(), childEnv+"="+string(text))
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

// We are killed before it was noted who buys: nothing may be bought then.
func TestGateIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	held, opened, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(dir, "bought")
	c := exec.Command("/bin/sh", "-c", gate, "sh", "touch", mark)
	c.ExtraFiles = []*os.File{held}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil { // as the end of this process would
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("it went through")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("something was bought")
	}
}
