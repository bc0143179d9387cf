package apply

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
)

// Whoever says first from where we come is believed, unless it is a server in our own network.
func TestComesFrom(t *testing.T) {
	s, _ := newServers(t)
	must(t, s.Open())
	t.Cleanup(s.Close)
	for name, says := range map[string]string{"validator": "10.0.0.7", "s1": "", "s2": "198.51.100.7", "s3": "never"} {
		s.own.inventory.Put(deployment.Host{Name: name, Provider: "hetzner", Address: says})
	}
	s.SeenFrom = func(ctx context.Context, h deployment.Host) (netip.Addr, error) {
		if h.Address == "never" { // it is shut
			<-ctx.Done()
			return netip.Addr{}, ctx.Err()
		}
		if h.Address == "" {
			return netip.Addr{}, errors.New("nobody there")
		}
		return netip.ParseAddr(h.Address)
	}
	if at := s.ComesFrom(t.Context()); at.String() != "198.51.100.7" {
		t.Errorf("from %v", at)
	}
}

// An opening is noted before anything is asked of a cloud, and one that could not be taken back stays noted.
func TestOpeningIsNoted(t *testing.T) {
	s, _ := newServers(t)
	must(t, s.Open())
	t.Cleanup(s.Close)
	s.own.inventory.Clouds = []string{"hetzner"}
	t.Setenv("HCLOUD_TOKEN", "") // so it ends at the first question
	now := deployment.Opening{CIDR: "198.51.100.7/32", Until: time.Now().Add(time.Hour).UTC().Truncate(time.Second), By: "me"}
	over := deployment.Opening{CIDR: "198.51.100.8/32", Until: time.Now().Add(-time.Hour).UTC(), By: "me"}
	s.own.inventory.Openings = []deployment.Opening{over}
	if err := s.OpenSSH(t.Context(), now); err == nil {
		t.Error("it was opened without credentials")
	}
	if err := s.ShutSSH(t.Context(), now); err == nil {
		t.Error("it was shut without credentials")
	}
	i, err := s.Dir.LoadInventory()
	must(t, err)
	if len(i.Openings) != 1 || i.Openings[0] != now {
		t.Errorf("noted: %v", i.Openings)
	}
}

// While somebody else changes the machines nothing is noted, however often it is tried: the next apply would open it.
func TestOpeningWaitsForTheMachines(t *testing.T) {
	s, _ := newServers(t)
	must(t, s.Open())
	t.Cleanup(s.Close)
	other := &Session{Config: s.Config, Dir: s.Dir, Who: "other"}
	must(t, other.lockMachines())
	t.Cleanup(other.Close)
	for range 2 {
		var locked *Locked
		if err := s.OpenSSH(t.Context(), deployment.Opening{CIDR: "198.51.100.7/32", Until: time.Now().Add(time.Hour)}); !errors.As(err, &locked) {
			t.Errorf("want locked, have %v", err)
		}
	}
	i, err := s.Dir.LoadInventory()
	must(t, err)
	if len(i.Openings) > 0 {
		t.Errorf("noted: %v", i.Openings)
	}
}

// Rules of machines that are given back follow the others' until then, without a plan's saying so.
func TestFirewallsOfThoseWhoLeave(t *testing.T) {
	s, _ := newServers(t)
	s.want.Own.Put(deployment.Host{Name: "s1"})
	all := []provision.Change{
		{Kind: provision.Firewall, Host: "s1/tcp-22", Action: provision.Create},
		{Kind: provision.Firewall, Host: "s2/tcp-22", Action: provision.Create},
		{Kind: provision.Server, Host: "s2", Action: provision.Replace},
		{Kind: provision.Firewall, Action: provision.Update},
	}
	if left := s.lasting(all); len(left) != 3 || left[0].Host != "s1/tcp-22" || left[1].Kind != provision.Server {
		t.Errorf("%+v", left)
	}
}

// Who is locked out gets in although something else of the machines has changed, as after an upgrade that protects
// validators: the firewalls change, and nothing else does.
func TestOpenSSHBesideOtherChanges(t *testing.T) {
	m := newMarket(t)
	m.Config.Admin.CIDRs = []string{"192.0.2.0/24"}
	applies(t, m.Session)
	cloud := filepath.Join(m.cloud, "cloud.json")
	b, err := os.ReadFile(cloud)
	must(t, err)
	b = []byte(strings.NewReplacer(`"delete_protection": true`, `"delete_protection": false`, `"cx33"`, `"cx43"`).Replace(string(b)))
	must(t, os.WriteFile(cloud, b, 0o600))
	m.Config.Admin.CIDRs = []string{"198.51.100.0/24"} // not applied, and nobody saw whom it locks out
	m.again()
	o := deployment.Opening{CIDR: "203.0.113.7/32", Until: time.Now().Add(time.Hour)}
	must(t, m.OpenSSH(t.Context(), o))
	if !m.values(o.CIDR) {
		t.Error("nobody is let in")
	}
	must(t, m.ShutSSH(t.Context(), o))
	if m.values(o.CIDR) {
		t.Error("it is let in still")
	}
	if m.values("198.51.100.0/24") || !m.values("192.0.2.0/24") {
		t.Error("an edit of the config was applied")
	}
	if m.values(`"cx33"`) || m.values(`"delete_protection": true`) || !m.values(`"delete_protection": false`) {
		t.Error("more than firewalls changed")
	}
}

// All that was let in for a time is taken back at once, also what was opened by a run that was killed; an opening that a
// cloud did not make in full is taken back with it.
func TestShutAllSSH(t *testing.T) {
	m := newMarket(t)
	m.Config.Admin.CIDRs = []string{"192.0.2.0/24"}
	applies(t, m.Session)
	if all, err := m.ShutAllSSH(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("nothing was open: %v, %v", all, err)
	}
	first := deployment.Opening{CIDR: "203.0.113.7/32", Until: time.Now().Add(time.Hour)}
	must(t, m.OpenSSH(t.Context(), first))
	m.again()
	if p, err := m.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("while it is open: %v, %v", p.Steps(), err)
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.OpenSSH(interrupted, deployment.Opening{CIDR: "203.0.113.8/32", Until: first.Until}); err == nil {
		t.Fatal("it was not interrupted")
	}
	m.again()
	all, err := m.ShutAllSSH(t.Context())
	must(t, err)
	if len(all) != 2 || m.values("203.0.113.") {
		t.Errorf("shut: %v; it is let in still: %v", all, m.values("203.0.113."))
	}
	i, err := m.Dir.LoadInventory()
	must(t, err)
	if len(i.Openings) > 0 {
		t.Errorf("noted still: %v", i.Openings)
	}
}

// values says whether something in the clouds has such a value now.
func (m *market) values(text string) bool {
	m.t.Helper()
	var w struct {
		Objects map[string]map[string]struct{ Values json.RawMessage }
	}
	b, err := os.ReadFile(filepath.Join(m.cloud, "cloud.json"))
	must(m.t, err)
	must(m.t, json.Unmarshal(b, &w))
	for _, all := range w.Objects {
		for _, o := range all {
			if strings.Contains(string(o.Values), text) {
				return true
			}
		}
	}
	return false
}
