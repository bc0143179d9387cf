package wireguard

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.zx2c4.com/wireguard/tun"
)

// tunDevice is what TUN devices are made of.
const tunDevice = "/dev/net/tun"

// onTUN is WireGuard in this process on a device in the kernel.
type onTUN struct {
	*user
	host  *host
	tools *toolSocket // nil where there is none
}

// openTUN makes a TUN device and starts WireGuard on it.
func openTUN(c Config) (engine, inside, error) {
	if c.Interface == "" {
		return nil, nil, errNoName
	}
	if _, err := os.Stat(tunDevice); err != nil {
		return nil, nil, lacking("there is no TUN here", err)
	}
	if err := mustBe(c.Interface, "tuntap"); err != nil {
		return nil, nil, err
	}
	t, err := tun.CreateTUN(c.Interface, c.mtu(defaultMTU))
	if err != nil {
		return nil, nil, lacking("the kernel gives no TUN device", err)
	}
	u, err := startUser(c, t)
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	h, err := openHost(c)
	if err != nil {
		return nil, nil, errors.Join(err, u.close())
	}
	o := &onTUN{user: u, host: h}
	if o.tools, err = serveTools(c.Interface, u.device); err != nil {
		c.Logger.Warn("the tunnel works, but wg(8) cannot show it", slog.Any("err", err))
	}
	return o, h, nil
}

func (o *onTUN) close() error {
	var err error
	if o.tools != nil {
		if err = o.tools.close(); err != nil {
			err = fmt.Errorf("close the socket for wg(8): %w", err)
		}
	}
	o.host.close()
	return errors.Join(err, o.user.close())
}
