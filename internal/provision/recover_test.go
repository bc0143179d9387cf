package provision

import (
	"errors"
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
