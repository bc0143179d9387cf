package wireguard

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// The text that WireGuard in user space is told with, and tells with: https://www.wireguard.com/xplatform/, "key=value"
// lines, the lines after a public_key being that peer's.

// writeUAPI returns what sets a device as c says.
func writeUAPI(c wgtypes.Config) string {
	var b strings.Builder
	if c.PrivateKey != nil {
		fmt.Fprintf(&b, "private_key=%s\n", hex.EncodeToString(c.PrivateKey[:]))
	}
	if c.ListenPort != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.ListenPort)
	}
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "public_key=%s\n", hex.EncodeToString(p.PublicKey[:]))
		if p.Remove {
			b.WriteString("remove=true\n")
			continue
		}
		if p.UpdateOnly {
			b.WriteString("update_only=true\n")
		}
		if p.Endpoint != nil {
			fmt.Fprintf(&b, "endpoint=%s\n", addrPort(p.Endpoint))
		}
		if p.ReplaceAllowedIPs {
			b.WriteString("replace_allowed_ips=true\n")
		}
		for _, n := range p.AllowedIPs {
			fmt.Fprintf(&b, "allowed_ip=%s\n", n.String())
		}
		if p.PersistentKeepaliveInterval != nil {
			fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", *p.PersistentKeepaliveInterval/time.Second)
		}
	}
	return b.String()
}

// readUAPI reads a device's answer. It passes over what it has no use for, our own private key above all.
func readUAPI(text string) (d wgtypes.Device, err error) {
	seconds, nanos := int64(0), int64(0)
	finish := func() {
		if len(d.Peers) > 0 && (seconds != 0 || nanos != 0) {
			d.Peers[len(d.Peers)-1].LastHandshakeTime = time.Unix(seconds, nanos)
		}
		seconds, nanos = 0, 0
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			continue
		}
		if key == "public_key" {
			finish()
			d.Peers = append(d.Peers, wgtypes.Peer{})
		}
		switch {
		case key == "listen_port":
			d.ListenPort, err = readPort(value)
		case len(d.Peers) == 0:
		case key == "last_handshake_time_sec":
			seconds, err = strconv.ParseInt(value, 10, 64)
		case key == "last_handshake_time_nsec":
			nanos, err = strconv.ParseInt(value, 10, 64)
		default:
			err = readPeerLine(&d.Peers[len(d.Peers)-1], key, value)
		}
		if err != nil {
			return wgtypes.Device{}, fmt.Errorf("read the tunnel's %q: it is not what it should be", key)
		}
	}
	finish()
	return d, nil
}

// readPeerLine reads one line that is about a peer.
func readPeerLine(p *wgtypes.Peer, key, value string) (err error) {
	switch key {
	case "public_key":
		var raw []byte
		if raw, err = hex.DecodeString(value); err == nil {
			p.PublicKey, err = wgtypes.NewKey(raw)
		}
	case "endpoint":
		var a netip.AddrPort
		if a, err = netip.ParseAddrPort(value); err == nil {
			p.Endpoint = udpAddr(a)
		}
	case "allowed_ip":
		var n netip.Prefix
		if n, err = netip.ParsePrefix(value); err == nil {
			a := n.Addr()
			p.AllowedIPs = append(p.AllowedIPs, net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(n.Bits(), a.BitLen())})
		}
	case "persistent_keepalive_interval":
		var seconds uint64
		seconds, err = strconv.ParseUint(value, 10, 16)
		p.PersistentKeepaliveInterval = time.Duration(seconds) * time.Second
	case "rx_bytes":
		p.ReceiveBytes, err = strconv.ParseInt(value, 10, 64)
	case "tx_bytes":
		p.TransmitBytes, err = strconv.ParseInt(value, 10, 64)
	}
	return err
}

func readPort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err
}
