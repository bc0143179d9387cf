package underlay

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	mesh := netip.MustParsePrefix("fd00:44::/48")
	for text, want := range map[string]string{
		// As WireGuard in user space and the net package write.
		"write udp 192.0.2.1:51820->198.51.100.7:443: sendto: network is unreachable": "write udp (address)->(address): sendto: network is unreachable",
		"write udp [::]:51820->[2001:db8::1]:443: no route":                           "write udp [::]:51820->(address): no route",
		"read udp [fe80::1%eth0]:5: closed":                                           "read udp (address): closed",
		"read udp fe80::1%wlp2s0 closed":                                              "read udp (address) closed",
		"from 192.0.2.1, or 2001:db8::7.":                                             "from (address), or (address).",
		"::ffff:192.0.2.1":                                                            "(address)",
		"[::ffff:192.0.2.1]:80":                                                       "(address)",
		"peer(AQAA…AAAA) - Received handshake response":                               "peer(AQAA…AAAA) - Received handshake response",
		"Routine: decryption worker 1 - started":                                      "Routine: decryption worker 1 - started",
		"UAPI: Updating listen port":                                                  "UAPI: Updating listen port",
		// As vpncloud writes.
		"INFO - Added peer 192.0.2.1:3210":                         "INFO - Added peer (address)",
		"Added peer [2001:db8::1]:3210":                            "Added peer (address)",
		"no route to 2001:db8::1.":                                 "no route to (address).",
		"PEER=::ffff:192.0.2.1 x":                                  "PEER=(address) x",
		`NameUnresolvable("192.0.2.1:3210")`:                       `NameUnresolvable("(address)")`,
		"panicked at src/net.rs:26:30:":                            "panicked at src/net.rs:26:30:",
		"took in fd00:44::1/128 and fd00:0044:0000::2":             "took in fd00:44::1/128 and fd00:0044:0000::2",
		"AES_128_GCM: 2846.8 MiB/s, CHACHA20_POLY1305: 1768.5":     "AES_128_GCM: 2846.8 MiB/s, CHACHA20_POLY1305: 1768.5",
		"Setting MTU 1427 on device mesh0":                         "Setting MTU 1427 on device mesh0",
		"Closing pending connection to 203.0.113.9:1 due to error": "Closing pending connection to (address) due to error",
		"bad192.0.2.1":                   "(address)",
		"bad2001:db8::1":                 "(address)",
		"badfe80::1":                     "(address)",
		"192.000.002.001":                "(address)",
		"Result::unwrap() to 2001:db8::": "Result::unwrap() to (address)",
	} {
		if got := Redact(text, mesh); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := Redact("took in fd00:44::1/128", netip.Prefix{}); got != "took in (address)/128" {
		t.Errorf("without a mesh %q is left", got)
	}
}

var looksLikeAnAddress = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+|[0-9a-f]*::|([0-9a-f]+:){3}`)

// TestRedactLeavesNoAddress puts any address where programs put addresses.
func TestRedactLeavesNoAddress(t *testing.T) {
	formats := []string{
		"%v", "to %v now", "udp %[1]v->%[1]v: x", "(%v)", `"%v"`, "endpoint=%v", "%[1]v,%[1]v", "INFO - Added peer %v", "x %v.",
		"peer %v: [y]", "[%v", "%v::", ":%v",
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		a, _ := netip.AddrFromSlice(raw[:rapid.SampledFrom([]int{4, 16}).Draw(t, "size")])
		if a.IsUnspecified() {
			t.Skip("nobody's")
		}
		if a.Is6() && !a.Is4In6() && rapid.Bool().Draw(t, "zone") {
			a = a.WithZone("eth0")
		}
		text := a.String()
		if rapid.Bool().Draw(t, "port") {
			text = netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "number")).String()
		}
		format := rapid.SampledFrom(formats).Draw(t, "format")
		got := Redact(fmt.Sprintf(format, text), netip.Prefix{})
		left := strings.TrimSuffix(got, "::") // of the format
		if strings.Contains(got, a.WithZone("").String()) || looksLikeAnAddress.MatchString(left) {
			t.Fatalf("%q is left of %q", got, text)
		}
	})
}
