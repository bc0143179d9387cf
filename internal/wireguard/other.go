//go:build !linux

package wireguard

import "errors"

var errLinuxOnly = unavailable{errors.New("only Linux has WireGuard in its kernel")}

func openKernel(Config) (engine, inside, error) { return nil, nil, errLinuxOnly }

func openTUN(Config) (engine, inside, error) {
	return nil, nil, unavailable{errors.New("TUN devices are used on Linux only")}
}
