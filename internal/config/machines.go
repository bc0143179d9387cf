package config

import (
	"fmt"
	"slices"
)

// ProviderSSH supplies hosts that are there already and that are reached over SSH.
const ProviderSSH = "ssh"

// Machine says where a host of the deployment comes from. It is empty for a host on this computer.
type Machine struct {
	// Provider is empty for the deployment's own.
	Provider string
	// Address is how a brought host is reached over SSH: user@host:port, or a name of ~/.ssh/config.
	Address string
	// Region and Size are of a bought host, in the cloud's own names; empty: what is usual there.
	Region, Size string
	// VolumeGB is the size of a bought host's volume for the chain's data, and VolumeDevice the device of a brought one's, a
	// path below /dev. Without a volume the data is on the system's disk.
	VolumeGB     int
	VolumeDevice string
	// Public is where the world reaches a brought sentry, a name or an address without port, if not at the host of Address.
	Public string
}

// Clouds are the providers that hosts are bought from.
var Clouds = []string{"hetzner", "digitalocean", "vultr", "openstack", "exoscale"}

// OnMachines reports whether the deployment's own hosts are servers, and not folders on this computer.
func (d Deployment) OnMachines() bool { return d.Provider != ProviderLocal }

// ProviderOf returns who supplies a host of the deployment.
func (d Deployment) ProviderOf(m Machine) string {
	if m.Provider != "" {
		return m.Provider
	}
	return d.Provider
}

// plainly is m without a provider where it names the deployment's own.
func (d Deployment) plainly(m Machine) Machine {
	if m.Provider == d.Provider {
		m.Provider = ""
	}
	return m
}

// addressKey is the key of a host that says how a brought one is reached.
func addressKey[T any](at func(*T) *string) key[T] {
	return field("address", "How the host is reached over SSH, with provider ssh: user@host:port, or a name of ~/.ssh/config.", addressRule(), at)
}

// addressRule is what package ssh takes apart; the rest of its form is judged there.
func addressRule() rule[string] {
	return pattern(`^([A-Za-z_][A-Za-z0-9_.-]*@)?([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`, 320,
		"an SSH destination: user@host, user@host:port, or a name of ~/.ssh/config; an IPv6 address in []")
}

// host is one host of a config, where it was written.
type host struct {
	path string
	at   node
	Machine
	invited bool
}

// hosts are the validator and the sentries of a config that was read from root.
func (d Deployment) hosts(root node) []host {
	validator := root.at1("validator")
	hs := []host{{path: "validator", at: validator, Machine: d.Validator.Machine}}
	sentries := root.at1("sentries")
	for i, s := range d.Sentries {
		n := node{at: sentries.at} // of the default ones
		if i < len(sentries.items) {
			n = sentries.items[i]
		}
		hs = append(hs, host{fmt.Sprintf("sentries[%d]", i), n, s.Machine, s.Invited()})
	}
	return hs
}

// at1 is the value of a key, or a node without one where the key is missing.
func (n node) at1(key string) node {
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	return node{at: n.at}
}

// machines reports what does not fit between the provider of a host and what else is said of it.
func (w *walk) machines(d Deployment, root node) {
	first := map[string]string{}
	w.admin(d, root)
	for _, h := range d.hosts(root) {
		if h.invited {
			w.misplaced(h, "an invited host enrols itself", "address", "public", "region", "size", "volume_gb", "volume_device")
			continue
		}
		switch d.ProviderOf(h.Machine) {
		case ProviderLocal:
			w.misplaced(h, "the hosts of provider local are on this computer", "address", "public", "region", "size", "volume_gb", "volume_device")
			if d.OnMachines() && d.Provider != "" {
				w.report(h.at.at1("provider").at, join(h.path, "provider"), "hosts on this computer and servers cannot be mixed: servers cannot reach this computer",
					"remove it, or use provider: local for all of them")
			}
		case ProviderSSH:
			if h.Address == "" {
				w.report(h.at.at, join(h.path, "address"), "missing: how is it reached over SSH?", "write address: user@host")
			} else if before, twice := first[h.Address]; twice {
				w.report(h.at.at1("address").at, join(h.path, "address"), fmt.Sprintf("%s is also the address of %s: each host is a server of its own", quote(h.Address), before), "")
			}
			first[h.Address] = h.path
			w.misplaced(h, "a host that is there already has its region and size", "region", "size")
			w.misplaced(h, "a host that is there already has the disks that it has: volume_device says which one is for the chain's data", "volume_gb")
			w.mixed(d, h)
		default:
			w.misplaced(h, "a host that is bought gets its address from the cloud", "address", "public")
			w.misplaced(h, "a host that is bought gets its volume from the cloud: volume_gb says how large", "volume_device")
			w.mixed(d, h)
		}
	}
}

// mixed reports a server in a deployment whose other hosts are on this computer.
func (w *walk) mixed(d Deployment, h host) {
	if !d.OnMachines() {
		w.report(h.at.at1("provider").at, join(h.path, "provider"), "hosts on this computer and servers cannot be mixed: servers cannot reach this computer",
			"set provider: "+d.ProviderOf(h.Machine)+" for the deployment")
	}
}

// regionKey and sizeKey are the keys of a host that is bought.
func regionKey[T any](at func(*T) *string) key[T] {
	return field("region", "Where a bought host is, in the cloud's own name; regions are taken in turn where nothing is said.", cloudsName(), at)
}

func sizeKey[T any](at func(*T) *string) key[T] {
	return field("size", "What a bought host is, in the cloud's own name; a small one for its role where nothing is said.", cloudsName(), at)
}

// volumeKey and deviceKey are the keys of a host whose chain's data has a disk of its own.
func volumeKey[T any](at func(*T) *int) key[T] {
	return field("volume_gb", "Size in GB of a volume for the chain's data, of a bought host; without one the data is on the machine's own disk. It can grow and not shrink.",
		whole(leastVolume, mostVolume, func(got string) (string, string) {
			return fmt.Sprintf("%s is not between %d and %d: what every cloud has", got, leastVolume, mostVolume), ""
		}), at)
}

func deviceKey[T any](at func(*T) *string) key[T] {
	return field("volume_device", "Block device for the chain's data, of a host that is there already: a path below /dev that outlives a reboot. It has to be empty.",
		pattern(`^/dev/(disk/by-(id|path|partuuid|partlabel)|mapper)/[A-Za-z0-9][A-Za-z0-9._:+@-]*$`, 255,
			"a path that stays the same after a reboot, in /dev/disk/by-id, another folder of /dev/disk, or /dev/mapper"), at)
}

// leastVolume and mostVolume are what every cloud has.
const (
	leastVolume = 10
	mostVolume  = 10_000
)

func cloudsName() rule[string] {
	return pattern(`^[A-Za-z0-9]([A-Za-z0-9 ._/-]*[A-Za-z0-9])?$`, 100, "a name as the cloud writes it")
}

// misplaced reports keys that mean nothing for a host.
func (w *walk) misplaced(h host, why string, keys ...string) {
	for _, p := range h.at.pairs {
		if slices.Contains(keys, p.key) {
			w.report(p.at, join(h.path, p.key), why, "remove it")
		}
	}
}
