package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
)

const cloudConfig = `apiVersion: pressenter/v1
kind: Deployment
name: hub
chain: practice
provider: hetzner
sentries:
  - {name: s1}
  - {name: s2}
`

// inCloud resolves a deployment whose hosts are bought, and what is there of it: with addresses, and answering, or only
// noted.
func inCloud(t *testing.T, there bool) (Want, Observed) {
	t.Helper()
	port := 20000
	f := Facts{Dir: "/x", Ports: func() (string, error) { port++; return fmt.Sprintf("127.0.0.1:%d", port), nil }}
	w, err := Resolve(parse(t, cloudConfig), f)
	if err != nil {
		t.Fatal(err)
	}
	o := Observed{Own: ObservedDeployment{Hosts: map[string]ObservedHost{}}}
	for _, h := range w.Own.Hosts {
		if there {
			h.Address, h.Public, h.Made = "pressenter@192.0.2.1", "192.0.2.1", true
			w.Own.Put(h)
			o.Bought = append(o.Bought, h)
		}
		o.Own.Hosts[h.Name] = ObservedHost{Host: h, Exists: there, Agent: there}
	}
	return w, o
}

func TestChangesOfMachinesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change provision.Change
		why    string
	}{
		"validator replaced":         {provision.Change{Kind: provision.Server, Host: "validator", Action: provision.Replace, Because: []string{"location"}}, "the server of validator would be destroyed (replace, because of location)"},
		"validator's volume":         {provision.Change{Kind: provision.Volume, Host: "validator", Action: provision.Destroy}, "the volume of validator would be destroyed"},
		"validator's, of new kind":   {provision.Change{Kind: provision.Other, Host: "validator", Action: provision.Destroy}, "would be destroyed"},
		"a sentry's region":          {provision.Change{Kind: provision.Server, Host: "s1", Action: provision.Replace, Because: []string{"location"}}, "the server of s1 would be destroyed"},
		"a key with more in it":      {provision.Change{Kind: provision.Address, Host: "validator/v4", Action: provision.Destroy}, "the address of validator would be destroyed"},
		"another account":            {provision.Change{Kind: provision.Server, Host: "validator", Action: provision.Create}, "validator has a machine, and this account does not know it"},
		"another account, a sentry":  {provision.Change{Kind: provision.Server, Host: "s2", Action: provision.Create}, "s2 has a machine"},
		"a firewall's rule":          {provision.Change{Kind: provision.Firewall, Host: "validator/tcp-22", Action: provision.Replace}, ""},
		"a machine that is not ours": {provision.Change{Kind: provision.Server, Host: "s9", Action: provision.Destroy}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := inCloud(t, true)
			o.Machines = []provision.Change{c.change}
			_, err := Make(w, o)
			var refusal *Refusal
			switch {
			case c.why == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.why != "" && (!errors.As(err, &refusal) || !strings.Contains(refusal.Why, c.why)):
				t.Errorf("want a refusal with %q, have %v", c.why, err)
			}
		})
	}
}

// What is a validator's is given back only if a person named it, whatever lets it look superfluous. A sentry's goes with the
// sentry, and what can be made again goes with anybody.
func TestValidatorsMachinesGoByNameOnly(t *testing.T) {
	former := deployment.Host{Name: "v", Role: "validator", Provider: "hetzner", Address: "a"}
	for name, tt := range map[string]struct {
		change  provision.Change
		machine string // that has to be named
	}{
		"of the inventory":       {provision.Change{Kind: provision.Server, Host: "v", Action: provision.Destroy}, "v"},
		"its volume":             {provision.Change{Kind: provision.Volume, Host: "v/data", Action: provision.Destroy}, "v"},
		"its address, replaced":  {provision.Change{Kind: provision.Address, Host: "v", Action: provision.Replace}, "v"},
		"forgotten":              {provision.Change{Kind: provision.Server, Host: "validator--1", Action: provision.Destroy}, "validator--1"},
		"forgotten, of any name": {provision.Change{Kind: provision.Server, Host: "x", Action: provision.Destroy, Protected: true}, "x"},
		"its firewall":           {provision.Change{Kind: provision.Firewall, Host: "v", Action: provision.Destroy}, ""},
		"a sentry's":             {provision.Change{Kind: provision.Server, Host: "s9", Action: provision.Destroy}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, named := range []string{"", "validator", "s1", tt.machine} {
				w, o := inCloud(t, true)
				o.Bought = append(o.Bought, former)
				o.Machines, w.Confirmed = []provision.Change{tt.change}, named
				_, err := Make(w, o)
				var refusal *Refusal
				switch {
				case named == tt.machine || tt.machine == "":
					if err != nil {
						t.Errorf("named %q: %v", named, err)
					}
				case !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "a validator's") ||
					!strings.Contains(refusal.Next, "--confirm "+tt.machine):
					t.Errorf("named %q: want a refusal that names %s, have %v", named, tt.machine, err)
				}
			}
		})
	}
}

// A wanted validator's machine is not destroyed even by name.
func TestWantedValidatorStays(t *testing.T) {
	w, o := inCloud(t, true)
	o.Machines = []provision.Change{{Kind: provision.Server, Host: "validator", Action: provision.Replace, Protected: true}}
	w.Confirmed, w.ReplaceLost = "validator", true
	var refusal *Refusal
	if _, err := Make(w, o); !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "the server of validator would be destroyed") {
		t.Errorf("want a refusal, have %v", err)
	}
}

// Another size is shown as the restart that it is in most clouds.
func TestResizedMachines(t *testing.T) {
	w, o := inCloud(t, true)
	o.Machines = []provision.Change{{Kind: provision.Server, Host: "s1", Action: provision.Update, Resized: true}}
	p, err := Make(w, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps() {
		if _, is := s.(ChangeMachines); is {
			if KindOf(s) != Bounce || !strings.Contains(s.String(), "another size") {
				t.Errorf("%s: %s", KindOf(s), s)
			}
			return
		}
	}
	t.Errorf("steps %v", p.Steps())
}

// A run that was cut off after the machines were made and before their addresses were noted has nothing to change.
func TestMachinesThatWereNotNoted(t *testing.T) {
	w, o := inCloud(t, false)
	p, err := Make(w, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range p.Steps() {
		if _, ok := s.(ChangeMachines); ok {
			return
		}
		if _, ok := s.(CreateHost); ok && s.Where() == "hub" {
			t.Fatalf("step %d, %s, comes before anybody knows where the machine is", i, s)
		}
	}
	t.Error("nobody notes where the machines are")
}

// What signs is protected where its cloud can, and unprotected by a step of its own before it is destroyed.
func TestProtectedMachines(t *testing.T) {
	w, o := inCloud(t, true)
	for name, h := range Machines(w.Own, nil).Hosts {
		if h.Protected != (name == "validator") {
			t.Errorf("%s is protected: %v", name, h.Protected)
		}
	}
	if protects(deployment.Host{Provider: "vultr", Role: "validator"}) {
		t.Error("vultr protects nothing")
	}
	o.Machines = []provision.Change{
		{Kind: provision.Server, Host: "c1", Action: provision.Destroy, Protected: true},
		{Kind: provision.Address, Host: "c1", Action: provision.Destroy, Protected: true},
		{Kind: provision.Server, Host: "s9", Action: provision.Destroy},
	}
	o.Own.Hosts["c1"] = ObservedHost{Host: deployment.Host{Name: "c1", Provider: "hetzner", Role: "validator"}}
	w.Confirmed = "c1"
	p, err := Make(w, o)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, s := range p.Steps() {
		switch s.(type) {
		case UnprotectMachines, ReturnMachines, DestroyHost:
			words = append(words, s.String())
		}
	}
	// Before its host is wiped: a cloud that refuses it leaves one that runs.
	if len(words) != 3 || words[0] != "take their clouds' protection off c1, so that they can be destroyed" || !strings.Contains(words[1], "c1") {
		t.Errorf("steps %q", words)
	}
}

func TestLeavingMachinesGoLast(t *testing.T) {
	var left deployment.Inventory
	left.Put(deployment.Host{Name: "s1", Provider: "hetzner"})
	gone := provision.Change{Kind: provision.Server, Host: "s2", Action: provision.Destroy}
	rule := provision.Change{Kind: provision.Firewall, Host: "s2/tcp-22", Action: provision.Destroy}
	fresh := provision.Change{Kind: provision.Server, Host: "s1", Action: provision.Create}
	buys, returns := split([]provision.Change{gone, fresh, rule}, left)
	if len(buys) != 1 || buys[0].Host != "s1" || len(returns) != 2 {
		t.Errorf("buys %v, returns %v", buys, returns)
	}
}

// What may be paid for and no cloud tells is shown with every plan, also of one that changes nothing.
func TestDoubtsAreShown(t *testing.T) {
	w, o := inCloud(t, true)
	o.Doubts = []string{"the volume of s1: it would be called hub-012345-s1"}
	p, err := Make(w, o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "look in the cloud's console: the volume of s1") {
		t.Errorf("notes: %q", p.Notes)
	}
}
