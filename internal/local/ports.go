package local

import (
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
)

// Ports are looked for below the range that systems hand out by themselves for outgoing connections, so that a port
// which is free now is not taken by chance while its node is down.
const (
	firstPort = 20000
	lastPort  = 32000
)

// Ports hands out free loopback ports, each once. Where it starts depends on the seed, so that two deployments on
// one computer that choose at the same time hardly meet.
type Ports struct {
	next  int
	taken map[int]bool
}

// NewPorts starts at a place that depends on seed and never hands out what is in taken.
func NewPorts(seed string, taken []int) *Ports {
	h := fnv.New32a()
	h.Write([]byte(seed))
	p := &Ports{next: firstPort + int(h.Sum32()%(lastPort-firstPort)), taken: map[int]bool{}}
	for _, t := range taken {
		p.taken[t] = true
	}
	return p
}

// Next returns a free address on loopback.
func (p *Ports) Next() (string, error) {
	for range lastPort - firstPort {
		port := p.next
		if p.next++; p.next >= lastPort {
			p.next = firstPort
		}
		if p.taken[port] {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if !Free(addr) {
			continue
		}
		p.taken[port] = true
		return addr, nil
	}
	return "", fmt.Errorf("no free port between %d and %d on this computer", firstPort, lastPort)
}

// Block returns the first of n free ports in a row.
func (p *Ports) Block(n int) (int, error) {
	row, last := 0, 0
	for range lastPort - firstPort {
		addr, err := p.Next()
		if err != nil {
			return 0, err
		}
		_, text, err := net.SplitHostPort(addr)
		if err != nil {
			return 0, err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return 0, err
		}
		if row++; port != last+1 {
			row = 1
		}
		if last = port; row == n {
			return port - n + 1, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row", n)
}

// Free says whether nobody listens at addr, over TCP or UDP.
func Free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return p.Close() == nil
}
