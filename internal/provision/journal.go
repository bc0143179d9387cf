package provision

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// ledger is what the journals of some runs say together.
type ledger struct {
	wanted map[string]bool   // hosts that are to be there
	spec   tofu.Spec         // of the last run, with the hosts and addresses of operators of all
	made   map[string]string // ids by address
	begun  map[string]bool   // addresses of what was begun to be made and not seen to end well
	gone   map[string]bool   // address and id of what was seen to be destroyed
	mute   bool              // the journal of a run that was begun says nothing: it was lost with the power
}

func newLedger(spec tofu.Spec) *ledger {
	l := &ledger{spec: spec, wanted: map[string]bool{}, made: map[string]string{}, begun: map[string]bool{}, gone: map[string]bool{}}
	l.spec.Hosts = maps.Clone(spec.Hosts)
	if l.spec.Hosts == nil {
		l.spec.Hosts = map[string]tofu.Host{}
	}
	for name := range spec.Hosts {
		l.wanted[name] = true
	}
	l.spec.Imports, l.spec.Moved, l.spec.Removed = nil, nil, nil
	return l
}

// add takes in one more run, which came after those before.
func (l *ledger) add(r *run) error {
	for name, h := range r.Spec.Hosts {
		for _, p := range l.spec.Hosts[name].Ports { // each is a rule, which may have been made
			if !slices.Contains(h.Ports, p) {
				h.Ports = append(slices.Clone(h.Ports), p)
			}
		}
		l.spec.Hosts[name] = h
	}
	l.spec.AdminCIDRs = union(l.spec.AdminCIDRs, r.Spec.AdminCIDRs)
	l.spec.Keep = union(l.spec.Keep, r.Spec.Keep)
	s := &stream{path: filepath.Join(r.dir, streamFile)}
	defer s.close()
	events, err := s.more()
	if err != nil {
		return fmt.Errorf("read the journal of an earlier run: %w", err)
	}
	l.replay(events)
	l.mute = l.mute || len(events) == 0 && !r.Process.IsZero()
	return nil
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *ledger) replay(events []Event) {
	ids := map[string]string{} // of what is being destroyed
	for _, e := range events {
		switch {
		case e.Action == "create" && e.State == Started:
			l.begun[e.Address] = true
		case e.Action == "create" && e.State == Complete:
			if e.IDValue != "" { // some have none that the journal tells, and are asked for like those in doubt
				delete(l.begun, e.Address)
				l.made[e.Address] = e.IDValue
			}
		case e.Action == "delete" && e.State == Started:
			ids[e.Address] = e.IDValue
		case e.Action == "delete" && e.State == Complete:
			id := ids[e.Address]
			l.gone[e.Address+" "+id] = true
			if id == "" || l.made[e.Address] == id {
				delete(l.made, e.Address)
			}
			delete(l.begun, e.Address)
		case e.Severity == "error" && refuses(e.Message): // the cloud's last word about it
			delete(l.begun, e.Address)
		}
	}
}

// hostOf is whose an address is: the key in module.CLOUD.TYPE.NAME["HOST"], or its beginning in ["HOST/RULE"].
func hostOf(address string) string {
	host, _, _ := strings.Cut(keyOf(address), "/")
	return host
}

func keyOf(address string) string {
	_, key, ok := strings.Cut(address, `["`)
	if !ok {
		return ""
	}
	key, _, _ = strings.Cut(key, `"]`)
	return key
}

// typeOf is the provider's name for what is at an address.
func typeOf(address string) string {
	before, _, _ := strings.Cut(address, "[")
	parts := strings.Split(before, ".")
	return parts[max(0, len(parts)-2)]
}

// importID is what the provider wants to be given for an import, from the id that it tells in its state. Some want more;
// at finds the id of another resource of the deployment.
func importID(address, id string, h tofu.Host, at func(address string) string) string {
	host := fmt.Sprintf("[%q]", hostOf(address))
	switch typeOf(address) {
	case "vultr_firewall_rule":
		return at("module.vultr.vultr_firewall_group.host"+host) + "," + id
	case "digitalocean_reserved_ip_assignment":
		return at("module.digitalocean.digitalocean_reserved_ip.host"+host) + "," + at("module.digitalocean.digitalocean_droplet.host"+host)
	case "exoscale_security_group_rule":
		return at("module.exoscale.exoscale_security_group.host"+host) + "/" + id
	case "exoscale_compute_instance", "exoscale_block_storage_volume":
		if !strings.Contains(id, "@") {
			return id + "@" + h.Region
		}
	}
	return id
}

// sameID says whether two ids are of one thing; one of them may be that for an import.
func sameID(a, b string) bool {
	a, _, _ = strings.Cut(a, "@")
	b, _, _ = strings.Cut(b, "@")
	return a == b
}
