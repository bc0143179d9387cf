package wireguard

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressenter/pressenter/internal/tunnel"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// model is a device as the protocol's documents say it shall be.
type model struct{ peers []wgtypes.Peer }

func (m *model) index(k wgtypes.Key) int {
	return slices.IndexFunc(m.peers, func(p wgtypes.Peer) bool { return p.PublicKey == k })
}

func (m *model) apply(steps []wgtypes.PeerConfig) {
	for _, s := range steps {
		i := m.index(s.PublicKey)
		switch {
		case s.Remove && i >= 0:
			m.peers = slices.Delete(m.peers, i, i+1)
			continue
		case s.Remove || s.UpdateOnly && i < 0:
			continue
		case i < 0:
			i = len(m.peers)
			m.peers = append(m.peers, wgtypes.Peer{PublicKey: s.PublicKey})
		}
		if s.Endpoint != nil {
			m.peers[i].Endpoint = s.Endpoint
		}
		if s.PersistentKeepaliveInterval != nil {
			m.peers[i].PersistentKeepaliveInterval = *s.PersistentKeepaliveInterval
		}
		if s.ReplaceAllowedIPs {
			m.peers[i].AllowedIPs = nil
		}
		for _, n := range s.AllowedIPs { // an address is one peer's: who gets it takes it from who had it
			for j := range m.peers {
				kept := m.peers[j].AllowedIPs[:0:0]
				for _, o := range m.peers[j].AllowedIPs {
					if o.String() != n.String() {
						kept = append(kept, o)
					}
				}
				m.peers[j].AllowedIPs = kept
			}
			m.peers[i].AllowedIPs = append(m.peers[i].AllowedIPs, n)
		}
	}
}

func anyPeers(t *rapid.T, label string) []tunnel.Peer {
	var out []tunnel.Peer
	keys := rapid.SliceOfNDistinct(rapid.ByteRange(1, 9), 0, 6, rapid.ID).Draw(t, label)
	homes := rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, label+" addresses")
	for i, k := range keys {
		p := tunnel.Peer{Key: tunnel.Key{k}}
		if homes[i] > 1 {
			p.Address = meshAddress(homes[i])
		}
		if rapid.Bool().Draw(t, "endpoint known") {
			p.Endpoint = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, k}), uint16(1+homes[i]))
		}
		p.Keepalive = time.Duration(rapid.IntRange(0, 3000).Draw(t, "keepalive")) * time.Millisecond
		out = append(out, p)
	}
	return out
}

func TestChangesLeadToWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m model
		for range 3 {
			before := slices.Clone(m.peers)
			want := anyPeers(t, "want")
			steps := changes(m.peers, want)
			m.apply(steps)
			if again := changes(m.peers, want); len(again) > 0 {
				t.Fatalf("after the changes there are more: %+v", again)
			}
			if len(m.peers) != len(want) {
				t.Fatalf("%d peers, want %d", len(m.peers), len(want))
			}
			for _, w := range want {
				checkPeer(t, m.peers[m.index(wgtypes.Key(w.Key))], w)
			}
			for _, b := range before {
				checkKept(t, b, want, steps)
			}
		}
	})
}

func checkPeer(t *rapid.T, p wgtypes.Peer, w tunnel.Peer) {
	switch {
	case w.Address.IsValid() && (len(p.AllowedIPs) != 1 || p.AllowedIPs[0].String() != w.Address.String()+"/128"):
		t.Fatalf("allowed %v, want exactly %s/128", p.AllowedIPs, w.Address)
	case !w.Address.IsValid() && len(p.AllowedIPs) != 0:
		t.Fatalf("allowed %v, want none", p.AllowedIPs)
	case p.PersistentKeepaliveInterval < w.Keepalive || p.PersistentKeepaliveInterval >= w.Keepalive+time.Second:
		t.Fatalf("keepalive %v, want %v rounded up", p.PersistentKeepaliveInterval, w.Keepalive)
	case w.Endpoint.IsValid() && p.Endpoint == nil:
		t.Fatal("an endpoint is known and was not told")
	}
}

// checkKept checks that a peer that stays is not removed and keeps its endpoint.
func checkKept(t *rapid.T, before wgtypes.Peer, want []tunnel.Peer, steps []wgtypes.PeerConfig) {
	stays := slices.ContainsFunc(want, func(w tunnel.Peer) bool { return wgtypes.Key(w.Key) == before.PublicKey })
	for _, s := range steps {
		if s.PublicKey == before.PublicKey && stays && (s.Remove || s.Endpoint != nil && before.Endpoint != nil) {
			t.Fatalf("a peer that stays is told %+v", s)
		}
	}
}

func TestAnewKeepsWhatIsConfigured(t *testing.T) {
	for name, p := range map[string]tunnel.Peer{
		"all":          {Key: tunnel.Key{1}, Address: meshAddress(1), Endpoint: netip.MustParseAddrPort("192.0.2.1:1"), Keepalive: 5 * time.Second},
		"no keepalive": {Key: tunnel.Key{1}, Address: meshAddress(1), Endpoint: netip.MustParseAddrPort("192.0.2.1:1")},
		"no endpoint":  {Key: tunnel.Key{1}, Address: meshAddress(1)},
		"no address":   {Key: tunnel.Key{1}},
	} {
		var m model
		m.apply(changes(nil, []tunnel.Peer{p}))
		before := slices.Clone(m.peers)
		m.peers[0].LastHandshakeTime = time.Unix(1, 0)
		steps := anew(m.peers[0])
		m.apply(steps)
		if d := cmp.Diff(before, m.peers); d != "" {
			t.Errorf("%s: a peer that was reset (-before +after):\n%s", name, d)
		}
		wakes := slices.ContainsFunc(steps, func(s wgtypes.PeerConfig) bool {
			return s.PersistentKeepaliveInterval != nil && *s.PersistentKeepaliveInterval > 0
		})
		if wakes != p.Endpoint.IsValid() {
			t.Errorf("%s: shakes hands at once: %v", name, wakes)
		}
	}
}

func TestCheckPeers(t *testing.T) {
	for want, peers := range map[string][]tunnel.Peer{
		"no key":      {{}},
		"twice":       {{Key: tunnel.Key{1}}, {Key: tunnel.Key{1}}},
		"two are at":  {{Key: tunnel.Key{1}, Address: meshAddress(1)}, {Key: tunnel.Key{2}, Address: meshAddress(1)}},
		"not an IPv6": {{Key: tunnel.Key{1}, Address: netip.MustParseAddr("10.0.0.1")}},
	} {
		if err := checkPeers(peers); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
	if err := checkPeers([]tunnel.Peer{{Key: tunnel.Key{1}}, {Key: tunnel.Key{2}}, {Key: tunnel.Key{3}, Address: meshAddress(1)}}); err != nil {
		t.Error(err)
	}
}

// broken is an engine with one peer, on a host that cannot change its routes.
type broken struct {
	inside
	model
}

func (b *broken) configure(c wgtypes.Config) error {
	b.apply(c.Peers)
	return nil
}
func (b *broken) state() (wgtypes.Device, error)   { return wgtypes.Device{Peers: b.peers}, nil }
func (b *broken) close() error                     { return nil }
func (b *broken) remove() error                    { return nil }
func (b *broken) MTU() int                         { return 1420 }
func (b *broken) setSegment(netip.Addr, int) error { return errors.New("no such device") }

// Who left is cut off, whatever else fails.
func TestWhoLeftIsCutOffFirst(t *testing.T) {
	at := netip.MustParseAddr("fd00::2")
	b := &broken{model: model{peers: []wgtypes.Peer{{PublicKey: wgtypes.Key{2}, AllowedIPs: allowed(at)}}}}
	d := &Device{inside: b, engine: b}
	if err := d.SetPeers(nil); err == nil {
		t.Error("that a route stayed is not told")
	}
	if len(b.peers) != 0 {
		t.Errorf("peers %v are still let in", b.peers)
	}
}
