package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/price"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/tofu"
)

// Machines are the hosts of an inventory that are bought, as package tofu wants them. Imports and hosts that are still
// there and not wanted any more are added by whoever knows them.
func Machines(i deployment.Inventory, sshKeys []string) tofu.Spec {
	s := tofu.Spec{
		Deployment: i.Deployment, ID: i.MachinesID, SSHKeys: sshKeys, AdminCIDRs: admins(i),
		Hosts: map[string]tofu.Host{},
	}
	for _, h := range i.All() {
		if h.Bought() {
			s.Hosts[h.Machine()] = bought(h)
		}
	}
	return s
}

func bought(h deployment.Host) tofu.Host {
	m := tofu.Host{Cloud: h.Provider, Role: string(h.Role), Region: h.Region, Size: h.Size, VolumeGB: h.VolumeGB, Protected: protects(h)}
	if c, ok := tofu.Lookup(h.Provider); ok && c.Spreads {
		m.Group = groupName(h.Spread)
	}
	if h.Role == roster.RoleSentry {
		m.Ports = append(m.Ports, tofu.Port{Protocol: "tcp", Port: int(access.P2P.Port())})
		if h.Listen.Mesh != "" {
			m.Ports = append(m.Ports, tofu.Port{Protocol: "udp", Port: node.Port(h.Listen.Mesh)})
		}
		if h.Listen.Relay != "" {
			m.Ports = append(m.Ports, tofu.Port{Protocol: "tcp", Port: node.Port(h.Listen.Relay)})
		}
	}
	return m
}

// Cost is what the bought machines of hosts cost in a month.
func Cost(hosts []deployment.Host) price.Cost {
	var all []price.Cost
	for _, h := range hosts {
		if !h.Bought() {
			continue
		}
		m := price.Machine{Cloud: h.Provider, Size: h.Size, Region: h.Region, VolumeGB: h.VolumeGB}
		if c, ok := tofu.Lookup(h.Provider); ok {
			m.Addresses = c.Addresses(string(h.Role))
		}
		all = append(all, price.Monthly(m))
	}
	return price.Sum(all...)
}

// cost notes what the plan changes of the monthly bill.
func (b *builder) cost(have []deployment.Host) {
	if !slices.ContainsFunc(slices.Concat(have, b.want.Own.Hosts), deployment.Host.Bought) {
		return
	}
	before, after := Cost(have), Cost(b.want.Own.Hosts)
	b.note("monthly cost: %s, was %s; without taxes and traffic beyond what is included%s", after, before, asOf(after))
}

func asOf(c price.Cost) string {
	if c.Oldest == "" {
		return ""
	}
	return "; prices as of " + c.Oldest + " or later"
}

// buys are the changes that come before anything is done on hosts, and returns those that come after hosts have left.
func split(changes []provision.Change, wanted deployment.Inventory) (buys, returns []provision.Change) {
	for _, c := range changes {
		name, _, _ := strings.Cut(c.Host, "/")
		if h, ok := wanted.OnMachineOf(name); c.Action == provision.Destroy && (!ok || !h.Bought()) {
			returns = append(returns, c)
			continue
		}
		buys = append(buys, c)
	}
	return buys, returns
}

// machineWords are changes for people: a line for each host, its server first.
func machineWords(changes []provision.Change) string {
	byHost := map[string][]provision.Change{}
	var order []string
	for _, c := range changes {
		who, _, _ := strings.Cut(c.Host, "/") // a rule of its firewall has a longer key
		if who == "" {
			who = "all"
		}
		if len(byHost[who]) == 0 {
			order = append(order, who)
		}
		byHost[who] = append(byHost[who], c)
	}
	slices.Sort(order)
	var out []string
	for _, who := range order {
		var parts []string
		for _, c := range byHost[who] {
			words := fmt.Sprintf("%s %s", c.Action, c.Kind)
			if c.Resized {
				words += " (another size: most clouds shut it down for that, and it misses what is done meanwhile)"
			}
			if len(c.Because) > 0 {
				words += " (because of " + strings.Join(c.Because, ", ") + ")"
			}
			parts = append(parts, words)
		}
		slices.Sort(parts)
		out = append(out, who+": "+strings.Join(slices.Compact(parts), ", "))
	}
	return strings.Join(out, "; ")
}
