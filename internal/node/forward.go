package node

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"runtime"

	"github.com/pressenter/pressenter/internal/roster"
)

// Forward is the loopback address at which the host self reaches peer's p2p port, where its mesh is in user space. It
// follows from the two identities, so that everybody who renders the host's files, before it exists or while it is
// away, renders the same. On Linux, where all of 127.0.0.0/8 is loopback, two of them hardly ever meet; elsewhere only
// the ports differ.
func Forward(self, peer roster.Key) string {
	sum := sha256.Sum256(append(append([]byte("pressenter mesh forward\x00"), self[:]...), peer[:]...))
	host := [4]byte{127, 0, 0, 1}
	if runtime.GOOS == "linux" {
		// 127.64.0.0/10: the addresses that people use by hand are near the bottom.
		host = [4]byte{127, 64 | sum[0]&63, sum[1], sum[2]}
	}
	// Below the ports that systems hand out for outgoing connections.
	port := 20000 + binary.BigEndian.Uint16(sum[3:])%12000
	return netip.AddrPortFrom(netip.AddrFrom4(host), port).String()
}
