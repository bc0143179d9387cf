//go:build !linux

package wireguard

import "errors"

var errLinuxOnly = unavailable{errors.New("only Linux has WireGuard in its kernel")}

func openKernel(Config) (engine, inside, error) { return nil, nil, errLinuxOnly }

// Clear does nothing: there are no such devices.
func Clear(string) error { return nil }

func openTUN(Config) (engine, inside, error) {
	return nil, nil, unavailable{errors.New("TUN devices are used on Linux only")}
}
