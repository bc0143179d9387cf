package wireguard

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// Member is a member of a mesh, as stock WireGuard tools shall be told of it.
type Member struct {
	PrivateKey tunnel.Key // zero: a placeholder, for who keeps the key to fill in
	Address    netip.Addr // inside the mesh
	ListenPort uint16     // 0: any
	MTU        int        // 0: what the tools choose
	Peers      []Named
}

// Named is a peer and a name for it.
type Named struct {
	Name string // for people
	tunnel.Peer
}

// Placeholder stands in a [Configuration] for a private key that is not told.
const Placeholder = "PRIVATE-KEY-GOES-HERE"

// Configuration returns the file that wg-quick(8) makes m of. With 'wg-quick strip' it is one for wg(8).
func Configuration(m Member) string {
	var b strings.Builder
	key := Placeholder
	if !m.PrivateKey.IsZero() {
		key = m.PrivateKey.String()
	}
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nAddress = %s/128\n", key, m.Address)
	if m.ListenPort != 0 {
		fmt.Fprintf(&b, "ListenPort = %d\n", m.ListenPort)
	}
	if m.MTU != 0 {
		fmt.Fprintf(&b, "MTU = %d\n", m.MTU)
	}
	for _, p := range m.Peers {
		b.WriteString("\n[Peer]\n")
		if p.Name != "" {
			fmt.Fprintf(&b, "# %s\n", strings.Trim(fmt.Sprintf("%q", p.Name), `"`)) // on one line, whatever it is
		}
		fmt.Fprintf(&b, "PublicKey = %s\n", p.Key)
		for _, n := range allowed(p.Address) {
			fmt.Fprintf(&b, "AllowedIPs = %s\n", n.String())
		}
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "Endpoint = %s\n", addrPort(udpAddr(p.Endpoint)))
		}
		if k := wholeSeconds(p.Keepalive); k != 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", k/time.Second)
		}
	}
	return b.String()
}
