package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic         = 1
	queueLength = 1024 // packets that wait for encryption; more are dropped, as by any network card
	batch       = 32   // packets read at once at most
)

// What one connection may hold at one end, in bytes. Who is at the other end may be hostile, and not read, or say more than
// is read: so connections begin small, and do not grow to what networks with large round trips could use.
const (
	leastBuffer  = 4 << 10
	usualBuffer  = 64 << 10
	mostSent     = 256 << 10
	mostReceived = 256 << 10
)

// netstack is a network stack in this process, IPv6 only: the network that connections are made on.
type netstack struct {
	address  netip.Addr
	mtu      int
	stack    *stack.Stack
	link     *channel.Endpoint
	events   chan tun.Event
	segments segments
	open     context.Context // until closed
	stop     context.CancelFunc
	once     sync.Once
}

// card is a netstack as the TUN device that WireGuard reads and writes.
type card struct{ *netstack }

var (
	_ tun.Device = card{}
	_ inside     = (*netstack)(nil)
)

// openNetstack starts WireGuard on a network stack of its own.
func openNetstack(c Config) (engine, inside, error) {
	n, err := newNetstack(c.Address, c.mtu(netstackMTU))
	if err != nil {
		return nil, nil, err
	}
	u, err := startUser(c, card{n})
	if err != nil {
		return nil, nil, errors.Join(err, card{n}.Close())
	}
	return u, n, nil
}

func newNetstack(address netip.Addr, mtu int) (*netstack, error) {
	n := &netstack{
		address: address,
		mtu:     mtu,
		link:    channel.New(queueLength, uint32(mtu), ""),
		events:  make(chan tun.Event, 1),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol6},
			HandleLocal:        true,
		}),
	}
	n.open, n.stop = context.WithCancel(context.Background())
	if err := n.configure(); err != nil {
		return nil, errors.Join(fmt.Errorf("start network stack: %s", err), card{n}.Close())
	}
	n.events <- tun.EventUp
	return n, nil
}

// configure gives the stack its address, its one route, and TCP as today's hosts have it.
func (n *netstack) configure() tcpip.Error {
	sack, adapt := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	cubic := tcpip.CongestionControlOption("cubic")
	send := tcpip.TCPSendBufferSizeRangeOption{Min: leastBuffer, Default: usualBuffer, Max: mostSent}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: leastBuffer, Default: usualBuffer, Max: mostReceived}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &adapt, &cubic, &send, &receive} {
		if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return err
	}
	own := tcpip.ProtocolAddress{
		Protocol:          ipv6.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom16(n.address.As16()).WithPrefix(),
	}
	if err := n.stack.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return err
	}
	n.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: nic}})
	return nil
}

// Address implements [tunnel.Network].
func (n *netstack) Address() netip.Addr { return n.address }

// MTU implements [tunnel.Network].
func (n *netstack) MTU() int { return n.mtu }

func (n *netstack) setSegment(address netip.Addr, packet int) error {
	n.segments.set(address, packet)
	return nil
}

// Read implements tun.Device: packets on their way out.
func (n card) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	p := n.link.ReadContext(n.open)
	if p == nil {
		return 0, os.ErrClosed
	}
	count := 0
	for p != nil {
		size := 0
		for _, part := range p.AsSlices() {
			size += copy(packets[count][offset+size:], part)
		}
		p.DecRef()
		n.segments.clamp(packets[count][offset:offset+size], outbound)
		sizes[count] = size
		if count++; count == len(packets) {
			break
		}
		p = n.link.Read()
	}
	return count, nil
}

// Write implements tun.Device: packets that came in.
func (n card) Write(packets [][]byte, offset int) (int, error) {
	if n.open.Err() != nil {
		return 0, os.ErrClosed
	}
	for _, p := range packets {
		p = p[offset:]
		if len(p) == 0 || p[0]>>4 != 6 {
			continue
		}
		n.segments.clamp(p, inbound)
		b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p)})
		n.link.InjectInbound(ipv6.ProtocolNumber, b)
		b.DecRef()
	}
	return len(packets), nil
}

// Close implements tun.Device. It ends every connection. It does not wait for the stack's endpoints: those that were
// about to end by themselves may never tell that they have.
func (n card) Close() error {
	n.once.Do(func() {
		n.stop()
		n.stack.Close()
		n.stack.RemoveNIC(nic)
		n.link.Close()
		close(n.events)
	})
	return nil
}

// File implements tun.Device.
func (n card) File() *os.File { return nil }

// Name implements tun.Device.
func (n card) Name() (string, error) { return "netstack", nil }

// Events implements tun.Device.
func (n card) Events() <-chan tun.Event { return n.events }

// BatchSize implements tun.Device.
func (n card) BatchSize() int { return batch }

// MTU implements tun.Device.
func (n card) MTU() (int, error) { return n.mtu, nil }
