package wireguard

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// kernel is WireGuard in the kernel. It is there without this process.
type kernel struct {
	name   string
	client *wgctrl.Client
	host   *host
}

// openKernel makes the kernel's device, or takes over the one that an earlier process left.
func openKernel(c Config) (engine, inside, error) {
	if c.Interface == "" {
		return nil, nil, errNoName
	}
	if c.Listen.Addr().IsValid() {
		return nil, nil, unavailable{errors.New("the kernel's WireGuard cannot listen on one address only")}
	}
	made, err := makeKernelDevice(c.Interface)
	if err != nil {
		return nil, nil, err
	}
	k, err := configureKernel(c, made)
	if err != nil && made {
		return nil, nil, errors.Join(err, removeLink(&netlink.Handle{}, c.Interface))
	}
	if err != nil {
		return nil, nil, err
	}
	return k, k.host, nil
}

// makeKernelDevice reports whether there was no such device yet.
func makeKernelDevice(name string) (bool, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return false, lacking("the kernel gives no WireGuard device", err)
	}
	return false, mustBe(name, "wireguard")
}

// mustBe returns an error where there is a device of that name and another kind.
func mustBe(name, kind string) error {
	l, err := netlink.LinkByName(name)
	if none := (netlink.LinkNotFoundError{}); errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find device %q: %w", name, err)
	}
	if l.Type() != kind {
		return fmt.Errorf("there is a device %q already, of kind %q: remove it or choose another name", name, l.Type())
	}
	return nil
}

// configureKernel gives a device its key and port, then its address. The key of a device that went on without us is the
// same, and then its sessions go on too.
func configureKernel(c Config, made bool) (*kernel, error) {
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("talk to the kernel's WireGuard: %w", err)
	}
	k := &kernel{name: c.Interface, client: client}
	key, port := wgtypes.Key(c.PrivateKey), int(c.Listen.Port())
	want := wgtypes.Config{PrivateKey: &key}
	if made || port != 0 {
		want.ListenPort = &port
	}
	if err := k.configure(want); err != nil {
		return nil, errors.Join(fmt.Errorf("configure device %q, UDP port %d: %w", c.Interface, port, err), client.Close())
	}
	if k.host, err = openHost(c); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return k, nil
}

func (k *kernel) configure(c wgtypes.Config) error { return k.client.ConfigureDevice(k.name, c) }

func (k *kernel) state() (wgtypes.Device, error) {
	d, err := k.client.Device(k.name)
	if err != nil {
		return wgtypes.Device{}, fmt.Errorf("device %q: %w", k.name, err)
	}
	d.PrivateKey = wgtypes.Key{}
	return *d, nil
}

func (k *kernel) close() error {
	k.host.close()
	return k.client.Close()
}

func (k *kernel) remove() error { return removeLink(k.host.netlink, k.name) }

// Clear removes the device of the kernel's WireGuard of that name, which goes on without any process. Others' are left
// alone.
func Clear(name string) error {
	l, err := netlink.LinkByName(name)
	if none := (netlink.LinkNotFoundError{}); errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find device %q: %w", name, err)
	}
	if l.Type() != "wireguard" {
		return nil
	}
	return removeLink(&netlink.Handle{}, name)
}

// removeLink removes a device, which may be gone already.
func removeLink(nl *netlink.Handle, name string) error {
	l, err := nl.LinkByName(name)
	if none := (netlink.LinkNotFoundError{}); errors.As(err, &none) {
		return nil
	}
	if err == nil {
		err = nl.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("remove device %q: %w", name, err)
	}
	return nil
}
