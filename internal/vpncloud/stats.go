package vpncloud

import (
	"net/netip"
	"strconv"
	"strings"
)

// statsFile is written by the program every 60 s. It holds underlay addresses and so lies in memory only.
const statsFile = "stats"

// maxStats is more than the statistics of a thousand members.
const maxStats = 1 << 20

type traffic struct{ received, sent uint64 }

// stats is what we take from the program's statistics, by underlay address.
type stats struct {
	claims  map[netip.AddrPort][]netip.Prefix
	traffic map[netip.AddrPort]traffic // of the last period
}

// parseStats reads the statistics. They look like YAML and are read line by line, as the program writes them. It returns
// false for a file that is not whole, since the program writes it in place.
func parseStats(b []byte) (stats, bool) {
	out := stats{claims: map[netip.AddrPort][]netip.Prefix{}, traffic: map[netip.AddrPort]traffic{}}
	if len(b) > maxStats {
		return out, false
	}
	var section string
	var peer netip.AddrPort
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, " ") && strings.Contains(line, ":") {
			section, _, _ = strings.Cut(line, ":")
		}
		line = strings.TrimSpace(line)
		switch {
		case section == "dropped_payload_traffic":
			return out, strings.HasSuffix(line, "}")
		case section == "forwarding_table" && (line == "claims:" || line == "cache:"):
			section = line
		case section == "claims:":
			claim, peer, ok := parseClaim(line)
			if ok {
				out.claims[peer] = append(out.claims[peer], claim)
			}
		case section == "peer_traffic":
			if address, ok := strings.CutPrefix(line, "- peer: "); ok {
				a, err := netip.ParseAddrPort(strings.Trim(address, `"`))
				if peer = unmapped(a); err != nil {
					peer = netip.AddrPort{}
				}
			}
			t := out.traffic[peer]
			t.received += parseBytes(line, "in: ")
			t.sent += parseBytes(line, "out: ")
			if peer.IsValid() {
				out.traffic[peer] = t
			}
		}
	}
	return out, false
}

// parseClaim reads `- "fd00::1/128": { peer: "192.0.2.1:3210", timeout: 20 }`.
func parseClaim(line string) (netip.Prefix, netip.AddrPort, bool) {
	fields := strings.Split(line, `"`)
	if len(fields) != 5 || fields[0] != "- " {
		return netip.Prefix{}, netip.AddrPort{}, false
	}
	claim, err := netip.ParsePrefix(fields[1])
	if err != nil {
		return netip.Prefix{}, netip.AddrPort{}, false
	}
	peer, err := netip.ParseAddrPort(fields[3])
	return claim, unmapped(peer), err == nil
}

// parseBytes reads the number out of `in: { display: "1 B/s", bytes: 60, packets: 1 }`; 0 for another line.
func parseBytes(line, direction string) uint64 {
	if !strings.HasPrefix(line, direction) {
		return 0
	}
	_, rest, _ := strings.Cut(line, " bytes: ")
	digits, _, _ := strings.Cut(rest, ",")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
