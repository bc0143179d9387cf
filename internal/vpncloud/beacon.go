package vpncloud

import (
	"crypto/sha512"
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// A beacon is vpncloud's form for a list of addresses, meant for public places. The program reads one from a file again
// and again, which makes it the one way to tell it new addresses while it runs. (The option peers is not used at all: it
// cannot take an IPv6 address with a port, and it tries an address that was long silent only once an hour.)
//
// The form: five letters that begin it; in base 62 a big-endian count of hours, the number of IPv4 addresses, those (4+2
// bytes each), the IPv6 ones (16+2), all of it masked, and a masked check byte; five letters that end it.

// The kinds of key streams.
const (
	streamBegin = iota
	streamEnd
	streamData
	streamSeed
)

const (
	beaconMark  = 5   // letters
	beaconBlock = 16  // bytes of mask that are taken of one block
	beaconFresh = 50  // hours
	beaconSize  = 100 // addresses; one has room for 255 of IPv4
)

// stream is the i-th block of a key stream; no password goes into it, as the file is private.
func stream(kind, seed, i byte) [sha512.Size]byte { return sha512.Sum512([]byte{kind, seed, i}) }

func mark(kind byte) string {
	b := stream(kind, 0, 0)
	return base62(b[:])[:beaconMark]
}

func mask(data []byte, seed byte) {
	for i := range data {
		block := stream(streamData, seed, byte(i/beaconBlock))
		data[i] ^= block[i%beaconBlock]
	}
}

// encodeBeacon writes addresses. hour counts hours of the system's monotonic clock, which is what vpncloud compares with.
func encodeBeacon(endpoints []netip.AddrPort, hour uint16) string {
	// Numbers in base 62 lose leading zeros, and an end mark may come up by chance: try other hours, which count as fresh.
	for back := range uint16(beaconFresh) {
		s := encodeBeaconAt(endpoints, hour-back)
		if got, ok := decodeBeacon(s); ok && len(got) == len(endpoints) {
			return s
		}
	}
	return ""
}

func encodeBeaconAt(endpoints []netip.AddrPort, hour uint16) string {
	data := binary.BigEndian.AppendUint16(nil, hour)
	var v4, v6 []byte
	for _, e := range endpoints {
		b := binary.BigEndian.AppendUint16(e.Addr().Unmap().AsSlice(), e.Port())
		if e.Addr().Unmap().Is4() {
			v4 = append(v4, b...)
		} else {
			v6 = append(v6, b...)
		}
	}
	data = slices.Concat(data, []byte{byte(len(v4) / 6)}, v4, v6)
	sum, seedMask := sha512.Sum512(data), stream(streamSeed, 0, 0)
	mask(data, sum[0])
	return mark(streamBegin) + base62(append(data, sum[0]^seedMask[0])) + mark(streamEnd)
}

// decodeBeacon reads one beacon as vpncloud does.
func decodeBeacon(s string) ([]netip.AddrPort, bool) {
	s, ok := strings.CutPrefix(s, mark(streamBegin))
	if !ok {
		return nil, false
	}
	s, _, ok = strings.Cut(s, mark(streamEnd))
	if !ok {
		return nil, false
	}
	data, err := parse62(s)
	if err != nil || len(data) < 4 {
		return nil, false
	}
	seedMask := stream(streamSeed, 0, 0)
	seed := data[len(data)-1] ^ seedMask[0]
	data = data[:len(data)-1]
	mask(data, seed)
	if sum := sha512.Sum512(data); sum[0] != seed {
		return nil, false
	}
	v4, rest := int(data[2]), data[3:]
	if len(rest) < v4*6 || (len(rest)-v4*6)%18 != 0 {
		return nil, false
	}
	var out []netip.AddrPort
	for size := 4; len(rest) > 0; rest = rest[size+2:] {
		if len(out) == v4 {
			size = 16
		}
		a, _ := netip.AddrFromSlice(rest[:size])
		out = append(out, netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[size:])))
	}
	return out, true
}

// writeEndpoints tells the program where to look for peers.
func (d *Device) writeEndpoints() error {
	d.files.Lock() // so that the newest list is the last
	defer d.files.Unlock()
	d.mu.Lock()
	var endpoints []netip.AddrPort
	for _, p := range d.wanted {
		if e := p.Endpoint; e.IsValid() && e.Port() != 0 && !slices.Contains(endpoints, e) {
			endpoints = append(endpoints, e)
		}
	}
	d.mu.Unlock()
	hour := uptimeHours()
	var lines []string
	for part := range slices.Chunk(endpoints, beaconSize) {
		lines = append(lines, encodeBeacon(part, hour))
	}
	text := strings.Join(lines, "\n") + "\n"
	return atomicfile.Write(filepath.Join(d.config.Dir, endpointsFile), []byte(text), 0o600)
}
