package meshrun

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/vpncloud"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// driver is one way to carry packets.
type driver interface {
	open(ctx context.Context, p *Process, s Spec, key tunnel.Key) (device, error)
	backend() string
	filters() bool // there is a device in the kernel, on which a packet filter can be set
	rekey(tunnel.Key) error
}

func driverOf(s Spec) (driver, error) {
	switch s.Driver {
	case roster.MeshWireGuard:
		return &wireguardDriver{}, nil
	case roster.MeshVpnCloud:
		return &vpncloudDriver{}, nil
	}
	return nil, fmt.Errorf("mesh driver %q is not known", s.Driver)
}

type wireguardDriver struct{ device *wireguard.Device }

func (d *wireguardDriver) open(ctx context.Context, p *Process, s Spec, key tunnel.Key) (device, error) {
	listen, err := parseListen(s.Listen)
	if err != nil {
		return nil, err
	}
	if s.Interface != "" { // of the driver before, which was killed
		if err := vpncloud.Clear(s.Interface); err != nil {
			return nil, err
		}
	}
	d.device, err = wireguard.Open(ctx, wireguard.Config{
		Backend: wireguard.Backend(s.Backend), Interface: s.Interface, PrivateKey: key, Listen: listen,
		Address: roster.MeshAddress(s.Deployment, s.Identity), Network: roster.MeshNetwork(s.Deployment), Logger: p.Logger,
	})
	if err != nil {
		return nil, err
	}
	return d.device, nil
}

func (d *wireguardDriver) backend() string          { return string(d.device.Backend()) }
func (d *wireguardDriver) filters() bool            { return d.device.Backend() != wireguard.Netstack }
func (d *wireguardDriver) rekey(k tunnel.Key) error { return d.device.Rekey(k) }

type vpncloudDriver struct{ device *vpncloud.Device }

func (d *vpncloudDriver) open(ctx context.Context, p *Process, s Spec, key tunnel.Key) (device, error) {
	listen, err := parseListen(s.Listen)
	if err != nil {
		return nil, err
	}
	// Of the driver before, where it was the kernel's: its tunnels go on without us, under the same addresses.
	if err := wireguard.Clear(s.Interface); err != nil {
		return nil, err
	}
	d.device, err = vpncloud.Open(ctx, vpncloud.Config{
		Binary: s.Program, Dir: filepath.Join(p.Dir, Folder, "vpncloud"), Interface: s.Interface, Seed: key, Listen: listen,
		Address: roster.MeshAddress(s.Deployment, s.Identity), Network: roster.MeshNetwork(s.Deployment), Logger: p.Logger,
		Public: publicAddress(s.Public),
	})
	if err != nil {
		return nil, err
	}
	return d.device, nil
}

// publicAddress is the address of an endpoint, or none where it is a name.
func publicAddress(endpoint string) netip.Addr {
	at, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr()
}

func (d *vpncloudDriver) backend() string { return d.device.Backend() }
func (d *vpncloudDriver) filters() bool   { return true }
func (d *vpncloudDriver) rekey(tunnel.Key) error {
	return fmt.Errorf("vpncloud does not change keys while it runs")
}

// parseListen reads host:port, where an empty host is every address.
func parseListen(s string) (netip.AddrPort, error) {
	if len(s) > 0 && s[0] == ':' {
		s = "0.0.0.0" + s
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return at, fmt.Errorf("listen address %q: %w", s, err)
	}
	return at, nil
}
