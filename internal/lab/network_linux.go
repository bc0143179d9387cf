package lab

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// prefixBits is the size of a lab's network: 10.X.Y.0/24, in which .1 is this computer.
const prefixBits = 24

// addBridge makes a lab's switch, with this computer at its first address.
func addBridge(name string) (netip.Prefix, error) {
	network, err := freeNetwork()
	if err != nil {
		return netip.Prefix{}, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return netip.Prefix{}, fmt.Errorf("add bridge %s: %w", name, err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{
		IP: network.Addr().Next().AsSlice(), Mask: net.CIDRMask(prefixBits, network.Addr().BitLen()),
	}}
	if err := errors.Join(netlink.AddrAdd(bridge, address), netlink.LinkSetUp(bridge)); err != nil {
		return netip.Prefix{}, errors.Join(fmt.Errorf("set up bridge %s: %w", name, err), netlink.LinkDel(bridge))
	}
	return network, nil
}

// freeNetwork picks a network that this computer neither has nor routes to.
func freeNetwork() (netip.Prefix, error) {
	used, err := usedNetworks()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("look for a free network: %w", err)
	}
	const tries = 1000
next:
	for range tries {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rand.IntN(255)), byte(rand.IntN(256)), 0}), prefixBits)
		for _, u := range used {
			if u.Overlaps(p) {
				continue next
			}
		}
		return p, nil
	}
	return netip.Prefix{}, errors.New("look for a free network: 10.0.0.0/8 is in use")
}

func usedNetworks() ([]netip.Prefix, error) {
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC},
		netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, r := range routes {
		for _, n := range []*net.IPNet{r.Dst, {IP: r.Gw, Mask: net.CIDRMask(32, 32)}} {
			if p, err := netip.ParsePrefix(n.String()); err == nil && p.Bits() > 0 {
				used = append(used, p)
			}
		}
	}
	for _, s := range nameservers() {
		used = append(used, netip.PrefixFrom(s, s.BitLen()))
	}
	return used, nil
}

// nameservers are whom this computer asks for names.
func nameservers() (servers []netip.Addr) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) > 1 && words[0] == "nameserver" {
			if a, err := netip.ParseAddr(words[1]); err == nil {
				servers = append(servers, a)
			}
		}
	}
	return servers
}

// plug connects the network namespace of a process to a bridge: the far end of the wire is its eth0.
func plug(wire, bridge string, pid int, address netip.Addr) error {
	b, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	a := address.As4()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: wire, MasterIndex: b.Attrs().Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
		// A host keeps its hardware address, as real ones do: others remember it.
		PeerHardwareAddr: net.HardwareAddr{2, 0, a[0], a[1], a[2], a[3]},
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add wire %s: %w", wire, err)
	}
	return netlink.LinkSetUp(veth)
}

// unplug removes a wire or a bridge, if it is there.
func unplug(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// setCarried puts a wire into its bridge or takes it out. A host does not see which: its frames only get nowhere.
func setCarried(wire, bridge string, carried bool) error {
	w, err := netlink.LinkByName(wire)
	if err != nil {
		return fmt.Errorf("find wire %s: %w", wire, err)
	}
	if !carried {
		return netlink.LinkSetNoMaster(w)
	}
	b, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridge, err)
	}
	return netlink.LinkSetMaster(w, b)
}
