package apply

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
)

// breaks is servers of which one cannot be destroyed, or is destroyed without a word of it.
type breaks struct {
	servers
	at    string
	after bool
}

var errBroke = errors.New("the line broke")

func (f breaks) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	if h.Name != f.at {
		return f.servers.Destroy(ctx, h, keep)
	}
	if f.after {
		return errors.Join(f.servers.Destroy(ctx, h, keep), errBroke)
	}
	return errBroke
}

// anew is another session on the same folder.
func anew(t *testing.T, s *Session, p Provider) *Session {
	t.Helper()
	s.Close()
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: p, Who: "me", PublicOf: s.PublicOf}
	must(t, again.Open())
	t.Cleanup(again.Close)
	return again
}

func ignore(Target, error) {}

// A destroy that fails at any host, or is cut off right after it, is finished by the next one, and until then nothing plans.
func TestDestroyGoesOn(t *testing.T) {
	for _, host := range []string{"validator", "s1", "s2"} {
		for _, after := range []bool{false, true} {
			for _, keys := range []bool{false, true} {
				s, p := up(t)
				s.Provider = breaks{p, host, after}
				if _, err := s.Destroy(t.Context(), keys, ignore); !errors.Is(err, errBroke) {
					t.Fatalf("at %s: %v", host, err)
				}
				s = anew(t, s, p)
				refusedPlan(t, s, "a destroy of hub was begun")
				if must(t, s.Look(t.Context())); !s.Observed().Destroying {
					t.Errorf("at %s, after it %v: nobody sees that a destroy was begun", host, after)
				}
				if _, err := s.Destroy(t.Context(), keys, ignore); err != nil {
					t.Errorf("at %s, after it %v: it does not go on: %v", host, after, err)
				}
				if len(p.on) != 0 {
					t.Errorf("%d agents run", len(p.on))
				}
				s = anew(t, s, p)
				if _, err := s.Plan(t.Context()); err != nil {
					t.Errorf("the next deployment: %v", err)
				}
			}
		}
	}
}

// One that could not begin leaves a deployment that goes on as before.
func TestDestroyNotBegun(t *testing.T) {
	s, p := up(t)
	s.Provider = gone{p, "validator"}
	if _, err := s.Destroy(t.Context(), false, ignore); err == nil {
		t.Fatal("it was destroyed")
	}
	s = anew(t, s, p)
	if pl, err := s.Plan(t.Context()); err != nil || !pl.Empty() {
		t.Errorf("%v, %v", pl.Steps(), err)
	}
}

// gone is servers of which one does not answer.
type gone struct {
	servers
	name string
}

func (g gone) Exists(ctx context.Context, h deployment.Host) (bool, error) {
	if h.Name == g.name {
		return false, errors.New("connect to root@10.0.0.1:22: no route to host")
	}
	return g.servers.Exists(ctx, h)
}

// tells calls after each host that was destroyed.
type tells struct {
	servers
	after func(deployment.Host)
}

func (p tells) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	defer p.after(h)
	return p.servers.Destroy(ctx, h, keep)
}

// A destroy whose cloud refused at the end, or before it went on, is finished by the next one.
func TestDestroyGoesOnAfterItsCloud(t *testing.T) {
	m := newMarket(t)
	applies(t, m.Session)
	m.Session.Provider = tells{m.servers, func(h deployment.Host) { t.Setenv("HCLOUD_TOKEN", "revoked"+strings.Repeat("x", 57)) }}
	for range 2 {
		if _, err := m.Session.Destroy(t.Context(), false, ignore); err == nil {
			t.Fatal("the cloud took a revoked token")
		}
		m.again()
	}
	if n := len(m.own.inventory.Hosts) + len(m.world.inventory.Hosts); n != 0 || len(m.objects()["hcloud_server"]) != 3 {
		t.Errorf("%d hosts, and machines %v", n, m.objects()["hcloud_server"])
	}
	t.Setenv("HCLOUD_TOKEN", strings.Repeat("t", 64))
	_, err := m.Session.Destroy(t.Context(), false, ignore)
	must(t, err)
	if left := m.objects(); len(left) != 0 {
		t.Errorf("still paid for: %v", left)
	}
}

// deletes takes something out of the clouds as a person at their console does.
func (m *market) deletes(typ, end string) {
	m.t.Helper()
	path := filepath.Join(m.cloud, "cloud.json")
	b, err := os.ReadFile(path)
	must(m.t, err)
	var w map[string]any
	must(m.t, json.Unmarshal(b, &w))
	all := w["objects"].(map[string]any)[typ].(map[string]any)
	n := len(all)
	maps.DeleteFunc(all, func(_ string, o any) bool {
		name, _ := o.(map[string]any)["values"].(map[string]any)["name"].(string)
		return strings.HasSuffix(name, end)
	})
	if len(all) != n-1 {
		m.t.Fatalf("%d of %d %s are left", len(all), n, typ)
	}
	b, err = json.Marshal(w)
	must(m.t, err)
	must(m.t, os.WriteFile(path, b, 0o600))
}

// The validator's firewall was deleted in the console: all is given back for all that.
func TestDestroyWithoutFirewall(t *testing.T) {
	m := newMarket(t)
	applies(t, m.Session)
	m.deletes("hcloud_firewall", "-validator")
	m.again()
	_, err := m.Session.Destroy(t.Context(), false, ignore)
	must(t, err)
	if left := m.objects(); len(left) != 0 {
		t.Errorf("still paid for: %v", left)
	}
}

// The validator's machine is dead, or was deleted: only a person who names it lets everything else go.
func TestDestroyUnreached(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		m := newMarket(t)
		applies(t, m.Session)
		if deleted {
			m.deletes("hcloud_server", "-validator")
		}
		m.Session.Provider = gone{m.servers, "validator"}
		m.again()
		m.Cloud.Looked = deleted
		var away *NotReached
		if _, err := m.Session.Destroy(t.Context(), false, ignore); !errors.As(err, &away) || !strings.Contains(away.Hint(), "--unreached validator") {
			t.Fatalf("not named: %v", err)
		}
		m.again()
		m.Cloud.Looked, m.Unreached = deleted, []string{"validator"}
		_, err := m.Session.Destroy(t.Context(), false, ignore)
		must(t, err)
		if left := m.objects(); len(left) != 0 {
			t.Errorf("still paid for: %v", left)
		}
	}
}

// A server that was there already is never passed over: nobody takes it back, and it might sign on.
func TestDestroyUnreachedBrought(t *testing.T) {
	s, p := up(t)
	s.Provider, s.Unreached = gone{p, "validator"}, []string{"validator"}
	if _, err := s.Destroy(t.Context(), false, ignore); err == nil || !strings.Contains(err.Error(), "not bought") {
		t.Errorf("passed over: %v", err)
	}
	s.Unreached = nil
	var away *NotReached
	if _, err := s.Destroy(t.Context(), false, ignore); !errors.As(err, &away) || strings.Contains(away.Hint(), "--unreached") {
		t.Errorf("not reached: %v", err)
	}
	if len(p.on) == 0 {
		t.Error("hosts are gone")
	}
}

// refuses makes the clouds refuse an operation on a type, until it is told to refuse nothing.
func (m *market) refuses(op, typ string) {
	m.t.Helper()
	text := `{"faults": []}`
	if typ != "" {
		text = `{"faults": [{"op": "` + op + `", "type": "` + typ + `", "fault": "server_error", "times": -1}]}`
	}
	must(m.t, os.WriteFile(filepath.Join(m.cloud, "faults.json"), []byte(text), 0o600))
}

// The cloud does not let go of what it protects: no host is touched for machines that would be paid for all the same, and the
// deployment goes on as before.
func TestDestroyProvesThatTheCloudLetsGo(t *testing.T) {
	m := newMarket(t)
	applies(t, m.Session)
	m.refuses("update", "hcloud_server")
	var kept *StillProtected
	if _, err := m.Session.Destroy(t.Context(), false, ignore); !errors.As(err, &kept) || !strings.Contains(kept.Hint(), "nothing was destroyed") {
		t.Fatalf("the cloud lets go of nothing, and destroy says %v", err)
	}
	if len(m.own.inventory.Hosts) != 3 || m.own.inventory.Destroying {
		t.Errorf("%d hosts, begun %v", len(m.own.inventory.Hosts), m.own.inventory.Destroying)
	}
	if must(t, m.Session.Look(t.Context())); !m.Session.Observed().Unprotected {
		t.Error("nobody sees that machines may be unprotected")
	}
	m.refuses("", "")
	m.again()
	applies(t, m.Session) // it protects again what was let go
	if must(t, m.Session.Look(t.Context())); m.Session.Observed().Unprotected {
		t.Error("they are said to be unprotected still")
	}
	if p, err := m.Session.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("the deployment does not go on: %v, %v", p.Steps(), err)
	}
	_, err := m.Session.Destroy(t.Context(), false, ignore)
	must(t, err)
	if left := m.objects(); len(left) != 0 {
		t.Errorf("still paid for: %v", left)
	}
}
