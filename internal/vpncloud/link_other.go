//go:build !linux

package vpncloud

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"syscall"
)

var errOnlyLinux = fmt.Errorf("vpncloud is driven on Linux only: %w", errors.ErrUnsupported)

type link struct{}

func openLink(string, netip.Addr, netip.Prefix) (*link, error) { return nil, errOnlyLinux }

// Clear does nothing: there are no such devices.
func Clear(string) error { return nil }

func (*link) ensure() error                 { return errOnlyLinux }
func (*link) configure() error              { return errOnlyLinux }
func (*link) segment(netip.Addr, int) error { return errOnlyLinux }
func (*link) mtu() int                      { return 0 }
func (*link) close() error                  { return nil }
func attributes() *syscall.SysProcAttr      { return nil }
func start(*exec.Cmd, uint16) error         { return errOnlyLinux }
func uptimeHours() uint16                   { return 0 }
func makeInMemory(string) (string, error)   { return "", errOnlyLinux }
