// Package wireguard is the mesh's data plane: unmodified WireGuard in the kernel, in user space on a TUN device, or in
// user space with a network stack of its own. The three are configured alike, from one description of their peers, and
// differ in who makes the device. Any stock WireGuard can be the other end.
package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/pressenter/pressenter/internal/tunnel"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Backend is who does the work.
type Backend string

// The backends, best first.
const (
	Kernel   Backend = "kernel"   // WireGuard of the Linux kernel; needs root
	TUN      Backend = "tun"      // user space, with a device in the kernel; Linux, needs root
	Netstack Backend = "netstack" // user space with its own network stack; nothing outside this process can use it
)

// What the devices carry in one packet where [Config] does not say. Netstack's is the least that IPv6 allows, so it
// passes every path; a host with root can find out more and gain from it.
const (
	defaultMTU  = 1420
	netstackMTU = 1280
	largestMTU  = 65535 - 80
)

// Config says what to open.
type Config struct {
	// Backend is one of the three; empty for the best that there is.
	Backend Backend
	// Interface names the device in the kernel. Without a name there are neither Kernel nor TUN.
	Interface string
	// PrivateKey is our own.
	PrivateKey tunnel.Key
	// Listen is where to take UDP. The zero address is every address, port 0 any free port. Kernel listens on every
	// address only.
	Listen netip.AddrPort
	// Address is ours inside the mesh, IPv6.
	Address netip.Addr
	// Network is the whole mesh. It is routed to the device.
	Network netip.Prefix
	// MTU is the largest packet inside, in bytes; 0 for 1420, or 1280 with Netstack.
	MTU int
	// Logger is told what goes on, without anybody's underlay address. Nil tells nobody.
	Logger *slog.Logger
}

// complete checks a config and fills in what it leaves open.
func (c Config) complete() (Config, error) {
	if c.PrivateKey.IsZero() {
		return c, errors.New("open tunnel: there is no private key")
	}
	if !c.Address.Is6() || c.Address.Is4In6() || c.Address.Zone() != "" {
		return c, fmt.Errorf("open tunnel: mesh address %q is not an IPv6 address", c.Address)
	}
	if !c.Network.Contains(c.Address) {
		return c, fmt.Errorf("open tunnel: mesh address %s is not in %s", c.Address, c.Network)
	}
	if c.MTU != 0 && (c.MTU < netstackMTU || c.MTU > largestMTU) {
		return c, fmt.Errorf("open tunnel: MTU %d is not from %d to %d", c.MTU, netstackMTU, largestMTU)
	}
	if c.Listen.Addr().IsUnspecified() {
		c.Listen = netip.AddrPortFrom(netip.Addr{}, c.Listen.Port())
	}
	c.Network = c.Network.Masked()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// mtu returns what the device carries in one packet.
func (c Config) mtu(otherwise int) int {
	if c.MTU != 0 {
		return c.MTU
	}
	return otherwise
}

// engine is a WireGuard that can be told what to do.
type engine interface {
	configure(wgtypes.Config) error
	// state returns the peers and the UDP port in use.
	state() (wgtypes.Device, error)
	close() error
	// remove is called before close and takes away what close would leave.
	remove() error
}

// inside is the network that a device leads to.
type inside interface {
	tunnel.Network
	setSegment(address netip.Addr, packet int) error
}

// unavailable says why a host has no such backend. The next best may do.
type unavailable struct{ error }

func (u unavailable) Unwrap() error { return u.error }

// Device is one host's end of the mesh. It implements [tunnel.Tunnel] and may be used from several goroutines.
type Device struct {
	inside
	engine  engine
	backend Backend
	reason  string
	port    uint16

	mu     sync.Mutex // one change at a time, each made of what is read just before
	closed bool
}

var _ tunnel.Tunnel = (*Device)(nil)

// Open makes a device with no peers, but for Kernel where a device of that name is there already: then its tunnels go
// on and its peers stay until [Device.SetPeers]. Where config leaves the backend open, it takes the best that works;
// [Device.Reason] says why.
func Open(ctx context.Context, c Config) (*Device, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	if c.Backend != "" {
		d, err := open(ctx, c)
		if err != nil {
			return nil, err
		}
		d.reason = "it was asked for"
		return d, nil
	}
	var without []string
	for _, b := range []Backend{Kernel, TUN, Netstack} {
		c.Backend = b
		d, err := open(ctx, c)
		if none := (unavailable{}); errors.As(err, &none) {
			if !slices.Contains(without, none.Error()) {
				without = append(without, none.Error())
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		d.reason = strings.Join(without, "; ")
		if b == Kernel {
			d.reason = "the kernel has WireGuard"
		}
		return d, nil
	}
	return nil, errors.New("open tunnel: " + strings.Join(without, "; "))
}

// open opens the one backend that config names.
func open(ctx context.Context, c Config) (*Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var (
		e   engine
		n   inside
		err error
	)
	switch c.Backend {
	case Kernel:
		e, n, err = openKernel(c)
	case TUN:
		e, n, err = openTUN(c)
	case Netstack:
		e, n, err = openNetstack(c)
	default:
		return nil, fmt.Errorf("open tunnel: no backend is called %q", c.Backend)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s tunnel: %w", c.Backend, err)
	}
	s, err := e.state()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s tunnel: %w", c.Backend, err), e.close())
	}
	return &Device{inside: n, engine: e, backend: c.Backend, port: uint16(s.ListenPort)}, nil
}

// Backend returns who does the work.
func (d *Device) Backend() Backend { return d.backend }

// Reason says in words why it is this backend.
func (d *Device) Reason() string { return d.reason }

// ListenPort returns the UDP port in use.
func (d *Device) ListenPort() uint16 { return d.port }

// SetPeers implements [tunnel.Tunnel]. Limits of segments are forgotten after those who had them were cut off: nothing
// that can fail comes before that.
func (d *Device) SetPeers(peers []tunnel.Peer) error {
	if err := checkPeers(peers); err != nil {
		return err
	}
	var gone []netip.Addr
	err := d.change(func(have []wgtypes.Peer) ([]wgtypes.PeerConfig, error) {
		gone = without(have, peers)
		return changes(have, peers), nil
	})
	if err != nil {
		return err
	}
	for _, a := range gone {
		err = errors.Join(err, d.SetSegment(a, 0))
	}
	return err
}

// SetEndpoint implements [tunnel.Tunnel]. WireGuard follows whatever authentic packet comes last: one that was on its
// way from the old endpoint takes us back there. [Device.Peers] tells; then set it again.
func (d *Device) SetEndpoint(key tunnel.Key, endpoint netip.AddrPort) error {
	if !endpoint.IsValid() {
		return fmt.Errorf("set endpoint of peer %s: there is none", key)
	}
	return d.change(func(have []wgtypes.Peer) ([]wgtypes.PeerConfig, error) {
		if _, ok := find(have, key); !ok {
			return nil, fmt.Errorf("set endpoint of peer %s: %w", key, errNoPeer)
		}
		return []wgtypes.PeerConfig{{PublicKey: wgtypes.Key(key), UpdateOnly: true, Endpoint: udpAddr(endpoint)}}, nil
	})
}

// Reset implements [tunnel.Tunnel].
func (d *Device) Reset(key tunnel.Key) error {
	return d.change(func(have []wgtypes.Peer) ([]wgtypes.PeerConfig, error) {
		p, ok := find(have, key)
		if !ok {
			return nil, fmt.Errorf("reset peer %s: %w", key, errNoPeer)
		}
		return anew(p), nil
	})
}

// Rekey changes our own private key. Peers stay; sessions end and are made anew with the new key.
func (d *Device) Rekey(private tunnel.Key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("change tunnel key: %w", net.ErrClosed)
	}
	k := wgtypes.Key(private)
	if err := d.engine.configure(wgtypes.Config{PrivateKey: &k}); err != nil {
		return fmt.Errorf("change tunnel key: %w", err)
	}
	return nil
}

// Peers implements [tunnel.Tunnel].
func (d *Device) Peers() ([]tunnel.PeerState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("read tunnel's peers: %w", net.ErrClosed)
	}
	s, err := d.engine.state()
	if err != nil {
		return nil, fmt.Errorf("read tunnel's peers: %w", err)
	}
	out := make([]tunnel.PeerState, 0, len(s.Peers))
	for _, p := range s.Peers {
		out = append(out, tunnel.PeerState{
			Key: tunnel.Key(p.PublicKey), Endpoint: addrPort(p.Endpoint), Handshake: p.LastHandshakeTime,
			Received: uint64(p.ReceiveBytes), Sent: uint64(p.TransmitBytes),
		})
	}
	return out, nil
}

// SetSegment implements [tunnel.Tunnel]. It holds for connections made from then on, in both directions.
func (d *Device) SetSegment(address netip.Addr, packet int) error {
	if packet != 0 && packet < leastSegment {
		return fmt.Errorf("limit segments to %s: %d bytes are too few, want at least %d", address, packet, leastSegment)
	}
	if packet >= d.MTU() {
		packet = 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("limit segments to %s: %w", address, net.ErrClosed)
	}
	return d.setSegment(address, packet)
}

// Close ends the tunnel and every connection inside, with Netstack and TUN. With Kernel it leaves the device working,
// for the next Open of the same name. A second Close does nothing.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.engine.close()
}

// Remove is Close, and takes the kernel's device away too.
func (d *Device) Remove() error {
	return errors.Join(d.engine.remove(), d.Close())
}

var errNoPeer = errors.New("there is no such peer")

// change makes of the peers that there are what decide says. No other change comes between.
func (d *Device) change(decide func(have []wgtypes.Peer) ([]wgtypes.PeerConfig, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("change tunnel's peers: %w", net.ErrClosed)
	}
	s, err := d.engine.state()
	if err != nil {
		return fmt.Errorf("read tunnel's peers: %w", err)
	}
	steps, err := decide(s.Peers)
	if err != nil || len(steps) == 0 {
		return err
	}
	if err := d.engine.configure(wgtypes.Config{Peers: steps}); err != nil {
		return fmt.Errorf("change tunnel's peers: %w", err)
	}
	return nil
}
