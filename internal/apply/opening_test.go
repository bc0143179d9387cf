package apply

import (
	"context"
	"errors"
	"net/netip"
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
