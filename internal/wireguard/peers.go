package wireguard

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// checkPeers finds what no device can be told.
func checkPeers(peers []tunnel.Peer) error {
	keys, addresses := map[tunnel.Key]bool{}, map[netip.Addr]bool{}
	for _, p := range peers {
		if p.Key.IsZero() {
			return fmt.Errorf("set peers: the peer at %s has no key", p.Address)
		}
		if keys[p.Key] {
			return fmt.Errorf("set peers: %s is there twice", p.Key)
		}
		keys[p.Key] = true
		if !p.Address.IsValid() {
			continue
		}
		if !p.Address.Is6() {
			return fmt.Errorf("set peers: %s is at %s, which is not an IPv6 address", p.Key, p.Address)
		}
		if addresses[p.Address] {
			return fmt.Errorf("set peers: two are at %s", p.Address)
		}
		addresses[p.Address] = true
	}
	return nil
}

// changes returns what to tell a device that has some peers, so that it has those that are wanted and no others. It
// says nothing of what is right already, and no endpoint of a peer that has one: the device knows better where it is.
// Removals come first.
func changes(have []wgtypes.Peer, want []tunnel.Peer) []wgtypes.PeerConfig {
	wanted := map[wgtypes.Key]bool{}
	for _, p := range want {
		wanted[wgtypes.Key(p.Key)] = true
	}
	var steps []wgtypes.PeerConfig
	present := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range have {
		if wanted[p.PublicKey] {
			present[p.PublicKey] = p
		} else {
			steps = append(steps, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true})
		}
	}
	for _, w := range want {
		c, differs := change(present, w)
		if differs {
			steps = append(steps, c)
		}
	}
	return steps
}

// change returns what to tell a device of one wanted peer, and whether there is anything to tell.
func change(present map[wgtypes.Key]wgtypes.Peer, w tunnel.Peer) (wgtypes.PeerConfig, bool) {
	h, known := present[wgtypes.Key(w.Key)]
	c := wgtypes.PeerConfig{PublicKey: wgtypes.Key(w.Key), UpdateOnly: known}
	differs := !known
	if a := allowed(w.Address); !known || !sameNets(h.AllowedIPs, a) {
		c.ReplaceAllowedIPs, c.AllowedIPs, differs = true, a, true
	}
	if k := wholeSeconds(w.Keepalive); !known || h.PersistentKeepaliveInterval != k {
		c.PersistentKeepaliveInterval, differs = &k, true
	}
	if w.Endpoint.IsValid() && h.Endpoint == nil {
		c.Endpoint, differs = udpAddr(w.Endpoint), true
	}
	return c, differs
}

// anew returns what makes a device forget all it knows of a peer but how to reach it, and shake hands. That it shakes
// hands at once is a side effect of switching keepalives on, in every WireGuard.
func anew(p wgtypes.Peer) []wgtypes.PeerConfig {
	keepalive := p.PersistentKeepaliveInterval
	wake := keepalive
	if wake == 0 && p.Endpoint != nil {
		wake = time.Second
	}
	steps := []wgtypes.PeerConfig{
		{PublicKey: p.PublicKey, Remove: true},
		{
			PublicKey: p.PublicKey, Endpoint: p.Endpoint, PersistentKeepaliveInterval: &wake,
			ReplaceAllowedIPs: true, AllowedIPs: p.AllowedIPs,
		},
	}
	if wake != keepalive {
		steps = append(steps, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &keepalive})
	}
	return steps
}

// without returns the addresses that peers have and none of those wanted has.
func without(have []wgtypes.Peer, want []tunnel.Peer) []netip.Addr {
	wanted := map[netip.Addr]bool{}
	for _, p := range want {
		wanted[p.Address] = true
	}
	var out []netip.Addr
	for _, p := range have {
		for _, n := range p.AllowedIPs {
			if a, ok := netip.AddrFromSlice(n.IP); ok && a.Is6() && !wanted[a] {
				out = append(out, a)
			}
		}
	}
	return out
}

// find returns the peer with that key.
func find(peers []wgtypes.Peer, key tunnel.Key) (wgtypes.Peer, bool) {
	for _, p := range peers {
		if tunnel.Key(p.PublicKey) == key {
			return p, true
		}
	}
	return wgtypes.Peer{}, false
}

// allowed returns the sources that a peer at address may speak from: that address alone, and none without it.
func allowed(address netip.Addr) []net.IPNet {
	if !address.IsValid() {
		return nil
	}
	return []net.IPNet{{IP: address.AsSlice(), Mask: net.CIDRMask(address.BitLen(), address.BitLen())}}
}

// sameNets reports whether two lists, of at most a few, hold the same networks.
func sameNets(a, b []net.IPNet) bool {
	if len(a) != len(b) {
		return false
	}
	set := map[string]bool{}
	for _, n := range a {
		set[n.String()] = true
	}
	for _, n := range b {
		if !set[n.String()] {
			return false
		}
	}
	return true
}

// wholeSeconds rounds a keepalive up to what WireGuard can be told: 0 to 65535 seconds.
func wholeSeconds(d time.Duration) time.Duration {
	d = (d + time.Second - 1).Truncate(time.Second)
	return min(max(d, 0), 65535*time.Second)
}

func udpAddr(a netip.AddrPort) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

func addrPort(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
