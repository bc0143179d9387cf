package fakecloud

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFaults(t *testing.T, dir string, f Faults) {
	t.Helper()
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "faults.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s session) faults(f ...Fault) { writeFaults(s.t, s.p.store.dir, Faults{Faults: f}) }

func (s session) has(want int) {
	s.t.Helper()
	left, err := Remaining(s.p.store.dir)
	if err != nil || len(left) != want {
		s.t.Fatalf("the cloud has %v (%v), want %d", left, err, want)
	}
}

func onCreate(fault string) Fault { return Fault{Op: "create", Type: "hcloud_server", Fault: fault} }

// Refusals come as often as they are told to, and nothing is made.
func TestFaultsBefore(t *testing.T) {
	for fault, word := range map[string]string{
		FaultUnavailable: "resource_unavailable", FaultQuota: "resource_limit_exceeded", FaultRate: "retry-after", FaultServerError: "500",
	} {
		s := newSession(t, "")
		f := onCreate(fault)
		f.Skip, f.Times = 1, 2
		s.faults(f)
		var said []string
		for _, name := range []string{"a", "b", "c", "d"} {
			_, text := s.apply(t.Context(), "hcloud_server", nil, with(small, object{"name": name}))
			said = append(said, text)
		}
		if said[0] != "" || !strings.Contains(said[1], word) || !strings.Contains(said[2], word) || said[3] != "" {
			t.Errorf("%s: four creates said %q, want the second and third refused with %q", fault, said, word)
		}
		s.has(2)
	}
}

func TestFaultsFitByName(t *testing.T) {
	s := newSession(t, "")
	f := onCreate(FaultQuota)
	f.Type, f.Name, f.Times = "hcloud_*", "b*", -1
	s.faults(f)
	s.made("hcloud_server", small)
	if _, said := s.apply(t.Context(), "hcloud_server", nil, with(small, object{"name": "b1"})); said == "" {
		t.Error("a fault for b* spared b1")
	}
}

func TestLimits(t *testing.T) {
	s := newSession(t, "")
	writeFaults(t, s.p.store.dir, Faults{Limits: map[string]int{"hcloud_server": 1}})
	s.made("hcloud_server", small)
	if _, said := s.apply(t.Context(), "hcloud_server", nil, with(small, object{"name": "s2"})); !strings.Contains(said, "limit") {
		t.Errorf("the second of one server: %q", said)
	}
	s.has(1)
}

// The object is made: once state knows it, once it does not.
func TestFaultsAfter(t *testing.T) {
	for fault, known := range map[string]bool{FaultPartial: true, FaultLost: false} {
		s := newSession(t, "")
		s.faults(onCreate(fault))
		state, said := s.apply(t.Context(), "hcloud_server", nil, small)
		if said == "" || (state != nil) != known {
			t.Errorf("%s: said %q with the state %v", fault, said, state)
		}
		s.has(1)
	}
}

func TestFaultLie(t *testing.T) {
	s := newSession(t, "")
	s.faults(onCreate(FaultLie))
	state, said := s.apply(t.Context(), "hcloud_server", nil, small)
	if said != "" || text(state["id"]) == "" {
		t.Fatalf("a lie is told as %v, %q", state, said)
	}
	if seen, said := s.read("hcloud_server", state); seen != nil || said != "" {
		t.Fatalf("what was a lie is read as %v, %q", seen, said)
	}
}

func TestFaultStale(t *testing.T) {
	s := newSession(t, "")
	made := s.made("hcloud_server", small)
	config := with(small, object{"labels": object{"new": "1"}})
	after, said := s.apply(t.Context(), "hcloud_server", made, config)
	if said != "" {
		t.Fatal(said)
	}
	s.faults(Fault{Op: "read", Type: "hcloud_server", Fault: FaultStale})
	stale, _ := s.read("hcloud_server", after)
	fresh, _ := s.read("hcloud_server", after)
	if stale["labels"] != nil || canon(nil, fresh["labels"]) != canon(nil, after["labels"]) {
		t.Fatalf("labels were read as %v and then %v", stale["labels"], fresh["labels"])
	}
}

// A slow create waits for the hook; when tofu asks the provider to stop, the server is there and tainted.
func TestFaultSlow(t *testing.T) {
	h := newHosts(t)
	s := newSession(t, h.socket)
	s.faults(onCreate(FaultSlow))
	done := make(chan string)
	go func() {
		_, said := s.apply(context.Background(), "hcloud_server", nil, small)
		done <- said
	}()
	<-h.held
	s.has(1)
	close(h.release)
	if said := <-done; said != "" {
		t.Fatalf("a slow create that was let go: %s", said)
	}
}

func TestStopEndsASlowCreate(t *testing.T) {
	h := newHosts(t)
	s := newSession(t, h.socket)
	s.faults(onCreate(FaultSlow))
	done := make(chan object)
	go func() {
		state, _ := s.apply(context.Background(), "hcloud_server", nil, small)
		done <- state
	}()
	<-h.held
	if _, err := s.p.StopProvider(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if state := <-done; text(state["id"]) == "" {
		t.Fatal("a create that was stopped lost its server")
	}
	close(h.release)
}

// A provider that dies: before the cloud changed nothing is there, after it an orphan is. Real tofu both times.
func TestFaultCrash(t *testing.T) {
	schemas, err := filepath.Abs(filepath.Join("testdata", "schemas"))
	if err != nil {
		t.Fatal(err)
	}
	for at, left := range map[string]int{"before": 0, "after": 1} {
		t.Run(at, func(t *testing.T) {
			r := newRoot(t, "tofu", schemas)
			r.write("main.tf", serverOnly)
			r.must("init", "-input=false", "-no-color")
			f := onCreate(FaultCrash)
			f.At = at
			if err := os.MkdirAll(r.cloud, 0o700); err != nil {
				t.Fatal(err)
			}
			writeFaults(t, r.cloud, Faults{Faults: []Fault{f}})
			if out, code := r.run("apply", "-input=false", "-no-color", "-auto-approve"); code == 0 {
				t.Fatalf("an apply whose provider died was fine:\n%s", out)
			}
			there, err := Remaining(r.cloud)
			if err != nil || len(there) != left {
				t.Fatalf("the cloud has %v (%v), want %d", there, err, left)
			}
			if left == 0 {
				r.apply() // the fault was counted: it comes once
				r.plan(0)
				return
			}
			if state := r.must("state", "list"); strings.Contains(state, "hcloud_server") {
				t.Fatalf("state has %s", state)
			}
			_, id, _ := strings.Cut(there[0], "/")
			r.write("import.tf", "import {\n  to = hcloud_server.s\n  id = \""+id+"\"\n}\n")
			r.plan(2)
			if got := r.actions(); len(got) != 0 {
				t.Fatalf("importing the orphan also does %v", got)
			}
			r.must("apply", "-input=false", "-no-color", "p")
			r.must("destroy", "-input=false", "-no-color", "-auto-approve")
			r.nothingRemains()
		})
	}
}

const serverOnly = `terraform {
  required_providers {
    hcloud = {
      source = "hetznercloud/hcloud"
    }
  }
}

resource "hcloud_server" "s" {
  name        = "s1"
  server_type = "cx23"
  user_data   = "#cloud-config"

  lifecycle {
    ignore_changes = [user_data, keep_disk]
  }
}
`
