package wireguard

import (
	"fmt"
	"net/netip"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// user is WireGuard in this process.
type user struct{ device *device.Device }

// startUser starts WireGuard between a TUN device and UDP. On errors the TUN device is closed.
func startUser(c Config, t tun.Device) (*user, error) {
	u := &user{device.NewDevice(t, newBind(c.Listen.Addr()), deviceLogger(c.Logger))}
	key, port := wgtypes.Key(c.PrivateKey), int(c.Listen.Port())
	err := u.configure(wgtypes.Config{PrivateKey: &key, ListenPort: &port})
	if err == nil {
		err = u.listen(c.Listen)
	}
	if err != nil {
		u.device.Close()
		return nil, err
	}
	return u, nil
}

// listen opens the UDP socket.
func (u *user) listen(at netip.AddrPort) error {
	if err := u.device.Up(); err != nil {
		return fmt.Errorf("listen on UDP port %d: %w", at.Port(), redacted{err})
	}
	return nil
}

func (u *user) configure(c wgtypes.Config) error {
	if err := u.device.IpcSet(writeUAPI(c)); err != nil {
		return redacted{err}
	}
	return nil
}

func (u *user) state() (wgtypes.Device, error) {
	text, err := u.device.IpcGet()
	if err != nil {
		return wgtypes.Device{}, redacted{err}
	}
	return readUAPI(text)
}

func (u *user) close() error {
	u.device.Close()
	return nil
}

func (u *user) remove() error { return nil }
