package vpncloud

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// program is everything that the program is told. It has no say over the interface but for its MTU, so no shell is.
type program struct {
	Interface string
	Seed      tunnel.Key
	Trusted   []string // public keys as vpncloud writes them
	Listen    string   // address:port or *:port
	Address   netip.Addr
	Stats     string // path; empty: none
}

// tell is what the program's hooks run. It is one fixed line: what vpncloud knows comes in variables, and goes to a pipe,
// as it holds underlay addresses.
const tell = `printf '%s\t%s\t%s\n' "$EVENT" "$PEER" "$CLAIMS" >&3`

// The hooks that are told of.
const (
	eventStarted   = "vpn_started"
	eventConnected = "peer_connected"
)

// hookPipe is the file that tell writes to.
const hookPipe = 3

// render writes the program's configuration. Its names are in kebab-case, whatever its manual says, and one that the
// program does not know is an error.
func render(p program) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("device:")
	line("  type: tun")
	line("  name: %s", quote(p.Interface))
	line("listen: %s", quote(p.Listen))
	line("mode: router")
	line("auto-claim: false")
	line("claims:")
	line("  - %s", quote(netip.PrefixFrom(p.Address, p.Address.BitLen()).String()))
	line("crypto:")
	line("  private-key: %s", quote(Text(p.Seed)))
	line("  trusted-keys:")
	for _, key := range p.Trusted {
		line("    - %s", quote(key))
	}
	line("  algorithms:")
	for _, a := range []string{"AES256", "CHACHA20"} {
		line("    - %s", a)
	}
	line("peers: []")
	line("peer-timeout: %d", peerTimeout)
	line("keepalive: %d", peerKeepalive)
	line("beacon:")
	line("  load: %s", quote(endpointsFile))
	line("  interval: 1")
	line("port-forwarding: false")
	if p.Stats != "" {
		line("stats-file: %s", quote(p.Stats))
	}
	line("hooks:")
	for _, event := range []string{eventStarted, eventConnected} {
		line("  %s: %s", event, quote(tell))
	}
	return []byte(b.String())
}

// quote writes s as a YAML string. JSON's is one.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // no string does that
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// trusted returns the keys of peers as vpncloud writes them, sorted.
func trusted(peers []tunnel.Peer) []string {
	keys := make([]string, 0, len(peers))
	for _, p := range peers {
		keys = append(keys, Text(p.Key))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// trustsOthers reports whether any key of running is not in wanted. Both are sorted.
func trustsOthers(running, wanted []string) bool {
	return slices.ContainsFunc(running, func(k string) bool {
		_, ok := slices.BinarySearch(wanted, k)
		return !ok
	})
}

// checkInterface checks a name as the kernel does (dev_valid_name); vpncloud would put a number in place of %d.
func checkInterface(name string) error {
	wrong := name == "" || len(name) > 15 || name == "." || name == ".."
	for _, c := range []byte(name) {
		wrong = wrong || c <= ' ' || c >= 0x7f || strings.IndexByte("/:%", c) >= 0
	}
	if wrong {
		return fmt.Errorf("interface name %q: want 1 to 15 letters and digits", name)
	}
	return nil
}

// listenText writes where to listen as vpncloud takes it.
func listenText(a netip.Addr, port uint16) string {
	if !a.IsValid() || a.IsUnspecified() {
		return fmt.Sprintf("*:%d", port)
	}
	return netip.AddrPortFrom(a, port).String()
}
