package wireguard

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// leastSegment is the least limit that makes sense: what every IPv4 host takes.
const leastSegment = 576

// tcpHeaders is what a packet's IPv6 and TCP headers take of it, without options.
const tcpHeaders = header.IPv6MinimumSize + header.TCPMinimumSize

// direction is which of a packet's two addresses is the peer's.
type direction int

const (
	inbound  direction = header.IPv6MinimumSize - 2*header.IPv6AddressSize // the source
	outbound direction = header.IPv6MinimumSize - header.IPv6AddressSize   // the destination
)

// segments limits what TCP puts into one packet, by peer. It writes the limit into the maximum segment size that each
// end tells the other when a connection begins, so it holds both ways and for connections from then on.
type segments struct {
	mu    sync.Mutex
	limit atomic.Pointer[map[netip.Addr]int] // bytes of inner packet; replaced, never changed
}

// set limits packets to and from a peer; 0 is no limit.
func (s *segments) set(peer netip.Addr, packet int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[netip.Addr]int{}
	if now := s.limit.Load(); now != nil {
		maps.Copy(next, *now)
	}
	if next[peer] = packet; packet == 0 {
		delete(next, peer)
	}
	s.limit.Store(&next)
}

// clamp changes an IPv6 packet that begins a TCP connection with a peer for which there is a limit.
func (s *segments) clamp(packet []byte, d direction) {
	limits := s.limit.Load()
	if limits == nil || len(*limits) == 0 || len(packet) < tcpHeaders {
		return
	}
	if ip := header.IPv6(packet); ip.NextHeader() != uint8(header.TCPProtocolNumber) ||
		header.TCP(ip[header.IPv6MinimumSize:]).Flags()&header.TCPFlagSyn == 0 {
		return
	}
	peer := netip.AddrFrom16([16]byte(packet[d:]))
	if limit := (*limits)[peer]; limit != 0 {
		clampSegment(packet, uint16(min(limit-tcpHeaders, 65535)))
	}
}

// clampSegment makes the maximum segment size that an IPv6 packet with a TCP header tells no larger than most.
func clampSegment(packet []byte, most uint16) {
	ip := header.IPv6(packet)
	t := header.TCP(ip[header.IPv6MinimumSize:])
	end := int(t.DataOffset())
	if end > len(t) {
		return
	}
	for at := header.TCPMinimumSize; at < end; {
		switch kind := t[at]; {
		case kind == header.TCPOptionEOL:
			return
		case kind == header.TCPOptionNOP:
			at++
			continue
		case at+2 > end || t[at+1] < 2 || at+int(t[at+1]) > end:
			return
		case kind == header.TCPOptionMSS && t[at+1] == header.TCPOptionMSSLength:
			if told := uint16(t[at+2])<<8 | uint16(t[at+3]); told <= most {
				return
			}
			t[at+2], t[at+3] = byte(most>>8), byte(most)
			pseudo := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(t)))
			t.SetChecksum(0)
			t.SetChecksum(^checksum.Checksum(t, pseudo))
			return
		}
		at += int(t[at+1])
	}
}
