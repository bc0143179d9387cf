package wireguard

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	for give, want := range map[string]string{
		"write udp 192.0.2.1:51820->198.51.100.7:443: sendto: network is unreachable": "write udp (address)->(address): sendto: network is unreachable",
		"write udp [::]:51820->[2001:db8::1]:443: no route":                           "write udp (address)->(address): no route",
		"read udp [fe80::1%eth0]:5: closed":                                           "read udp (address): closed",
		"from 192.0.2.1, or 2001:db8::7.":                                             "from (address), or (address)",
		"::ffff:192.0.2.1":                                                            "(address)",
		"[::ffff:192.0.2.1]:80":                                                       "(address)",
		"peer(AQAA…AAAA) - Received handshake response":                               "peer(AQAA…AAAA) - Received handshake response",
		"Routine: decryption worker 1 - started":                                      "Routine: decryption worker 1 - started",
		"UAPI: Updating listen port":                                                  "UAPI: Updating listen port",
	} {
		if got := redact(give); got != want {
			t.Errorf("redact(%q) = %q, want %q", give, got, want)
		}
	}
}

var looksLikeAnAddress = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+|[0-9a-f]*::|([0-9a-f]+:){3}`)

func TestRedactLeavesNoAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if raw := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"); rapid.Bool().Draw(t, "v4") {
			a, _ = netip.AddrFromSlice(raw[:4])
		} else {
			a, _ = netip.AddrFromSlice(raw)
		}
		text := a.String()
		if rapid.Bool().Draw(t, "port") {
			text = netip.AddrPortFrom(a, uint16(rapid.IntRange(1, 65535).Draw(t, "number"))).String()
		}
		around := rapid.SampledFrom([]string{"%", "to % now", "udp %->%: x", "(%)", "\"%\"", "endpoint=%", "%,%"}).Draw(t, "around")
		if got := redact(strings.ReplaceAll(around, "%", text)); looksLikeAnAddress.MatchString(got) || strings.Contains(got, a.String()) {
			t.Fatalf("%q is left of %q", got, text)
		}
	})
}

func TestRedactedErrorsStillMatch(t *testing.T) {
	err := error(redacted{&net.OpError{Op: "write", Net: "udp", Addr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}, Err: net.ErrClosed}})
	if !errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "192") {
		t.Errorf("got %v", err)
	}
}

func TestDeviceLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := deviceLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
		l.Verbosef("sent to %v", "192.0.2.1:1")
		if out.Len() > 0 {
			t.Errorf("a verbose line at level info: %s", &out)
		}
		for range 3 {
			l.Errorf("%v - cannot send: %v", "peer", errors.New("write udp 192.0.2.1:1->192.0.2.2:2: no route"))
		}
		l.Errorf("something else")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines, want one of each kind:\n%s", n, &out)
		}
		time.Sleep(quiet)
		l.Errorf("%v - cannot send: %v", "peer", "x")
		if !strings.Contains(out.String(), "unsaid=2") || strings.Contains(out.String(), "192.0.2") {
			t.Errorf("it does not say what it kept back, or tells an address:\n%s", &out)
		}
	})
}
