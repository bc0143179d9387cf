package vpncloud

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/tunnel"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name string
		exit process.Exit
		tail []string
		want string
	}{
		{
			"no key",
			process.Exit{},
			[]string{"INFO - Reading config file 'x'", "ERROR - Either password or private key must be set in config or given as parameter"},
			"vpncloud ended by itself, without an error code; it said: Either password or private key must be set in config or given as parameter",
		},
		{"silent", process.Exit{}, nil, "vpncloud ended by itself, without an error code"},
		{
			"no route",
			process.Exit{Code: codePanic},
			[]string{
				"thread 'main' panicked at src/net.rs:26:30:",
				`called Result::unwrap() on an Err value: Os { code: 101, kind: NetworkUnreachable, message: "Network is unreachable" }`,
				"note: run with RUST_BACKTRACE=1 environment variable to display a backtrace",
			},
			noDefaultRoute,
		},
		{
			"panic",
			process.Exit{Code: codePanic},
			[]string{"thread 'main' panicked at src/cloud.rs:9:1:", `called Result::unwrap() on an Err value: InvalidConfig("Failed to parse public key")`},
			`vpncloud panicked; it said: thread 'main' panicked at src/cloud.rs:9:1: called Result::unwrap() on an Err value: InvalidConfig("Failed to parse public key")`,
		},
		{
			"fatal",
			process.Exit{Code: codeFatal},
			[]string{"ERROR - Failed to open socket 192.0.2.1:3210: Address in use", "INFO - later"},
			"vpncloud gave up; it said: Failed to open socket (address): Address in use",
		},
		{"usage", process.Exit{Code: codeUsage}, nil, "vpncloud did not understand how it was called: is it version 2?"},
		{"signal", process.Exit{Code: -1, Signal: "killed"}, []string{"INFO - x"}, "vpncloud was ended by a signal: killed"},
		{"unknown", process.Exit{Code: 3}, nil, "vpncloud ended: exit code 3"},
	} {
		if got := explain(c.exit, c.tail); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseEvent(t *testing.T) {
	for line, want := range map[string]event{
		"vpn_started\t\t": {name: eventStarted},
		"peer_connected\t192.0.2.1:3210\tfd00:0044:0000:0000:0000:0000:0000:0001/128 10.0.0.0/8": {
			name: eventConnected, peer: netip.MustParseAddrPort("192.0.2.1:3210"),
			claims: []netip.Prefix{netip.MustParsePrefix("fd00:44::1/128"), netip.MustParsePrefix("10.0.0.0/8")},
		},
		"peer_connected\t[::ffff:192.0.2.1]:1\t01:02:03:04:05:06/48": {name: eventConnected, peer: netip.MustParseAddrPort("192.0.2.1:1")},
	} {
		got, ok := parseEvent(line)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(event{}), equalAddresses); !ok || diff != "" {
			t.Errorf("%q: %v %s", line, ok, diff)
		}
	}
	for _, line := range []string{"", "x", "a\tb\tc", "peer_connected\t192.0.2.1\t", "a\t\t\t"} {
		if e, ok := parseEvent(line); ok {
			t.Errorf("%q is %+v", line, e)
		}
	}
}

var equalAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestReadLines(t *testing.T) {
	var got []int
	long := strings.Repeat("x", 3*maxLine+7)
	readLines(strings.NewReader("ab\r\n\n"+long+"\nabc\nd"), func(line string) { got = append(got, len(line)) })
	if diff := cmp.Diff([]int{2, maxLine, 3, 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogPeer(t *testing.T) {
	want := netip.MustParseAddrPort("192.0.2.1:3210")
	for _, line := range []string{"INFO - Forgot peer 192.0.2.1:3210 due to timeout", "INFO - Forgot peer [::ffff:192.0.2.1]:3210"} {
		if got, ok := logPeer(line, "Forgot peer "); !ok || got != want {
			t.Errorf("%q: %v, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "INFO - Forgot peer ", "DEBUG - Forgot peer 192.0.2.1:3210", "INFO - Added peer 192.0.2.1:3210"} {
		if got, ok := logPeer(line, "Forgot peer "); ok {
			t.Errorf("%q: %v", line, got)
		}
	}
}

const exampleStats = `peers:
  - "192.0.2.2:3210": { ttl_secs: 19, crypto: AES256 }

forwarding_table:
  claims:
    - "fd00:0044:0000:0000:0000:0000:0000:0002/128": { peer: "192.0.2.2:3210", timeout: 19 }
    - "fd00:0044:0000:0000:0000:0000:0000:0003/128": { peer: "[2001:db8::3]:1", timeout: 9 }
    - "01:02:03:04:05:06/48": { peer: "192.0.2.2:3210", timeout: 19 }
  cache:
    - "fd00:0044:0000:0000:0000:0000:0000:0002": { peer: "192.0.2.2:3210", timeout: 19 }

peer_traffic:
  - peer: "192.0.2.2:3210"
    in: { display: "20 B/s", bytes: 1234, packets: 9 }
    out: { display: "10 B/s", bytes: 617, packets: 8 }
  - peer: "[2001:db8::3]:1"
    in: { display: "0 B/s", bytes: 1, packets: 1 }
    out: { display: "0 B/s", bytes: 0, packets: 0 }

payload_traffic:
  - addrs: ["fd00::1", "fd00::2"]
    in: { display: "0 B/s", bytes: 7, packets: 1 }
    out: { display: "0 B/s", bytes: 7, packets: 1 }

invalid_protocol_traffic: { display: "0 B/s", bytes: 0, packets: 0 }
dropped_payload_traffic: { display: "0 B/s", bytes: 0, packets: 0 }

`

func TestParseStats(t *testing.T) {
	two, three := netip.MustParseAddrPort("192.0.2.2:3210"), netip.MustParseAddrPort("[2001:db8::3]:1")
	want := stats{
		claims: map[netip.AddrPort][]netip.Prefix{
			two: {netip.MustParsePrefix("fd00:44::2/128")}, three: {netip.MustParsePrefix("fd00:44::3/128")},
		},
		traffic: map[netip.AddrPort]traffic{two: {1234, 617}, three: {1, 0}},
	}
	got, ok := parseStats([]byte(exampleStats))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stats{}, traffic{}), equalAddresses); !ok || diff != "" {
		t.Errorf("%v %s", ok, diff)
	}
	whole := strings.TrimRight(exampleStats, "\n")
	for n := range len(whole) { // the program writes in place
		if _, ok := parseStats([]byte(whole[:n])); ok {
			t.Fatalf("took the first %d bytes for all", n)
		}
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add([]byte(exampleStats))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := parseStats(b)
		if len(s.claims)+len(s.traffic) > len(b) {
			t.Error("more was read than is there")
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add("peer_connected\t192.0.2.1:3210\tfd00::1/128")
	f.Fuzz(func(t *testing.T, line string) {
		if e, ok := parseEvent(line); ok && strings.Count(line, "/") < len(e.claims) {
			t.Errorf("%q has %d claims", line, len(e.claims))
		}
	})
}

func TestSightings(t *testing.T) {
	s := newSightings()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := netip.MustParseAddrPort("192.0.2.2:3210")
	known := netip.MustParseAddrPort("192.0.2.9:1")
	peer := tunnel.Peer{Key: tunnel.Key{1}, Address: netip.MustParseAddr("fd00:44::2"), Endpoint: known}
	peers := []tunnel.Peer{peer, {Key: tunnel.Key{2}}}
	claim := []netip.Prefix{netip.MustParsePrefix("fd00:44::2/128")}
	expect := func(when string, want tunnel.PeerState) {
		t.Helper()
		want.Key = peer.Key
		if got := s.state(peer); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		if got := s.state(peers[1]); got != (tunnel.PeerState{Key: peers[1].Key}) {
			t.Errorf("%s: a key without an address has %+v", when, got)
		}
	}
	expect("before", tunnel.PeerState{Endpoint: known})
	s.added(at, start)
	s.claimed(at, claim, start.Add(time.Second))
	expect("connected", tunnel.PeerState{Endpoint: at, Handshake: start})
	st := stats{traffic: map[netip.AddrPort]traffic{at: {received: 5, sent: 6}}}
	s.count(st, start.Add(time.Minute))
	s.count(st, start.Add(time.Minute)) // the same again
	expect("counted", tunnel.PeerState{Endpoint: at, Handshake: start, Received: 5, Sent: 6})
	s.count(st, start.Add(2*time.Minute))
	s.gone(at)
	expect("gone", tunnel.PeerState{Endpoint: known, Handshake: start, Received: 10, Sent: 12})
	s.claimed(at, claim, start.Add(time.Hour)) // a hook that is faster than the log
	s.added(at, start.Add(time.Hour+1))
	expect("back", tunnel.PeerState{Endpoint: at, Handshake: start.Add(time.Hour + 1), Received: 10, Sent: 12})
	s.clear()
	expect("ended", tunnel.PeerState{Endpoint: known, Handshake: start.Add(time.Hour + 1), Received: 10, Sent: 12})
	s.forget(nil)
	expect("forgotten", tunnel.PeerState{Endpoint: known})
}

func TestOddity(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	peers := []tunnel.Peer{{Address: netip.MustParseAddr("fd00:44::2")}, {Address: netip.MustParseAddr("fd00:44::3")}}
	one, other := netip.MustParseAddrPort("192.0.2.2:1"), netip.MustParseAddrPort("192.0.2.3:1")
	later := start.Add(time.Hour)
	for _, c := range []struct {
		name, one, other string
		now              time.Time
		want             string
	}{
		{"well", "fd00:44::2/128", "fd00:44::3/128", later, ""},
		{"foreign", "fd00:44::2/128", "fd00:44::4/128", later, "claims fd00:44::4/128"},
		{"wide", "fd00:44::/64", "fd00:44::3/128", start, "claims fd00:44::/64"},
		{"moved", "fd00:44::2/128", "fd00:44::2/128", start.Add(time.Second), ""},
		{"twice", "fd00:44::2/128", "fd00:44::2/128", later, "2 members claim fd00:44::2"},
	} {
		s := newSightings()
		s.claimed(one, []netip.Prefix{netip.MustParsePrefix(c.one)}, start)
		s.claimed(other, nil, start)
		s.count(stats{claims: map[netip.AddrPort][]netip.Prefix{other: {netip.MustParsePrefix(c.other)}}}, start) // it changed its mind
		if got := s.oddity(peers, c.now); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
