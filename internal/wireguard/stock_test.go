package wireguard

import (
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressenter/pressenter/internal/tunnel"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", path, d)
	}
}

func member() Member {
	return Member{
		Address: meshAddress(1), ListenPort: 51820, MTU: 1420,
		Peers: []Named{
			{"s1", tunnel.Peer{
				Key: tunnel.Key{1}, Address: meshAddress(2), Endpoint: netip.MustParseAddrPort("192.0.2.1:51820"), Keepalive: 25 * time.Second,
			}},
			{"s2\nPostUp = rm -rf /", tunnel.Peer{Key: tunnel.Key{2}, Address: meshAddress(3), Endpoint: netip.MustParseAddrPort("[2001:db8::1]:7")}},
			{"the next key of s1", tunnel.Peer{Key: tunnel.Key{3}}},
		},
	}
}

func TestConfiguration(t *testing.T) {
	m := member()
	golden(t, "testdata/member.conf", Configuration(m))
	m.PrivateKey = tunnel.Key{31: 64}
	m.ListenPort, m.MTU, m.Peers = 0, 0, nil
	golden(t, "testdata/alone.conf", Configuration(m))
}
