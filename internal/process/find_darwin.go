package process

import (
	"errors"
	"fmt"
)

// LockHolders cannot be answered on this system.
func LockHolders(path string) ([]Identity, error) {
	return nil, fmt.Errorf("find holders of lock %q: %w", path, errors.ErrUnsupported)
}

// Listener cannot be answered on this system.
func Listener(port uint16) (id Identity, name string, err error) {
	return Identity{}, "", fmt.Errorf("find listener on port %d: %w", port, errors.ErrUnsupported)
}

// UDPHolder cannot be answered on this system.
func UDPHolder(port uint16) (id Identity, name string, err error) {
	return Identity{}, "", fmt.Errorf("find holder of UDP port %d: %w", port, errors.ErrUnsupported)
}
