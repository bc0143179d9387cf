package wireguard

import (
	"bytes"
	"encoding/binary"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// syn returns the first packet of a connection from the first member to the second, with TCP options.
func syn(flags header.TCPFlags, options ...byte) []byte {
	size := header.TCPMinimumSize + len(options)
	p := make([]byte, header.IPv6MinimumSize+size)
	from, to := tcpip.AddrFrom16(meshAddress(1).As16()), tcpip.AddrFrom16(meshAddress(2).As16())
	header.IPv6(p).Encode(&header.IPv6Fields{
		PayloadLength: uint16(size), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64, SrcAddr: from, DstAddr: to,
	})
	t := header.TCP(p[header.IPv6MinimumSize:])
	t.Encode(&header.TCPFields{SrcPort: 1, DstPort: 2, DataOffset: uint8(size), Flags: flags, WindowSize: 100})
	copy(t[header.TCPMinimumSize:], options)
	t.SetChecksum(^checksum.Checksum(t, header.PseudoHeaderChecksum(header.TCPProtocolNumber, from, to, uint16(size))))
	return p
}

func TestClamp(t *testing.T) {
	const at = tcpHeaders
	mss := []byte{2, 4, 1380 >> 8, 1380 & 255}
	for name, c := range map[string]struct {
		packet []byte
		limit  int
		offset int // of the value that changes; 0: nothing does
	}{
		"larger":          {syn(header.TCPFlagSyn, mss...), 1300, at + 2},
		"in an answer":    {syn(header.TCPFlagSyn|header.TCPFlagAck, mss...), 1300, at + 2},
		"after others":    {syn(header.TCPFlagSyn, append([]byte{1, 3, 3, 7}, mss...)...), 1300, at + 6},
		"at an odd place": {syn(header.TCPFlagSyn, append(append([]byte{1}, mss...), 1, 1, 0)...), 1300, at + 3},
		"smaller already": {syn(header.TCPFlagSyn, mss...), 1440, 0},
		"no limit":        {syn(header.TCPFlagSyn, mss...), 0, 0},
		"not a beginning": {syn(header.TCPFlagAck, mss...), 1300, 0},
		"no options":      {syn(header.TCPFlagSyn), 1300, 0},
		"after the end":   {syn(header.TCPFlagSyn, append([]byte{0, 0, 0, 0}, mss...)...), 1300, 0},
		"cut short":       {syn(header.TCPFlagSyn, 1, 1, 2, 4), 1300, 0},
		"without length":  {syn(header.TCPFlagSyn, 8, 0, 0, 0), 1300, 0},
		"cut packet":      {syn(header.TCPFlagSyn, mss...)[:at+2], 1300, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for d, peer := range map[direction]int{inbound: 1, outbound: 2} {
				var s segments
				s.set(meshAddress(peer), c.limit)
				s.set(meshAddress(9), 600)
				got := bytes.Clone(c.packet)
				s.clamp(got, d)
				if c.offset == 0 {
					if !bytes.Equal(got, c.packet) {
						t.Errorf("direction %d: it changed", d)
					}
					continue
				}
				if v := int(binary.BigEndian.Uint16(got[c.offset:])); v != c.limit-tcpHeaders {
					t.Errorf("direction %d: segment size %d, want %d", d, v, c.limit-tcpHeaders)
				}
				ip := header.IPv6(got)
				if !header.TCP(ip.Payload()).IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), 0, 0) {
					t.Errorf("direction %d: the checksum is wrong", d)
				}
			}
		})
	}
}

func FuzzClamp(f *testing.F) {
	f.Add(syn(header.TCPFlagSyn, 2, 4, 5, 100))
	f.Add(syn(header.TCPFlagSyn, 1, 1, 3, 200))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var s segments
		s.set(meshAddress(1), 1300)
		before := bytes.Clone(packet)
		s.clamp(packet, inbound)
		if len(packet) > 0 && !bytes.Equal(before[:min(len(before), header.IPv6MinimumSize)], packet[:min(len(before), header.IPv6MinimumSize)]) {
			t.Error("the IPv6 header changed")
		}
	})
}
