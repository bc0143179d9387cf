package vpncloud

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBeacons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []netip.AddrPort
		for range rapid.IntRange(1, beaconSize).Draw(t, "addresses") {
			b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
			a, _ := netip.AddrFromSlice(b[:4])
			if rapid.Bool().Draw(t, "v6") {
				a = netip.AddrFrom16([16]byte(b)).Unmap()
			}
			endpoints = append(endpoints, netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "port")))
		}
		got, ok := decodeBeacon(encodeBeacon(endpoints, rapid.Uint16().Draw(t, "hour")))
		if !ok {
			t.Fatal("not readable")
		}
		slices.SortFunc(got, netip.AddrPort.Compare)
		slices.SortFunc(endpoints, netip.AddrPort.Compare)
		if !slices.Equal(got, endpoints) {
			t.Fatalf("became %v, want %v", got, endpoints)
		}
	})
}

func FuzzDecodeBeacon(f *testing.F) {
	f.Add(encodeBeacon([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3210"), netip.MustParseAddrPort("[2001:db8::1]:1")}, 7))
	f.Add(mark(streamBegin) + "0" + mark(streamEnd))
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := decodeBeacon(s); ok && len(got) > len(s) {
			t.Errorf("%d addresses out of %d letters", len(got), len(s))
		}
	})
}
