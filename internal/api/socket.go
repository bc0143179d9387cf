package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// Sockets in a host's folder.
const (
	SocketName = "agent.sock"     // the agent's
	MeshSocket = "mesh/mesh.sock" // the mesh process's
)

// maxSocketPath is what the kernels we run on all take (Linux 107 bytes, macOS 103).
const maxSocketPath = 103

// ListenIn opens the socket called name in dir, which only its owner may enter. The caller holds the lock of whoever
// answers on it, so that a socket left behind by one that was killed can be removed.
func ListenIn(dir, name string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	path, done, err := shortPath(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen in %q: %w", dir, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the short path is gone by then; the next one removes the socket
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protect socket in %q: %w", dir, err)
	}
	return &guarded{Listener: l, owner: uint32(os.Getuid()), peer: peerUID}, nil
}

// guarded lets only the agent's own user and root in, by the kernel's word on who is at the other end: the folder's
// mode, which keeps others away, may be changed by a careless copy.
type guarded struct {
	net.Listener
	owner uint32
	peer  func(*net.UnixConn) (uint32, error)
}

// Accept returns the next connection of somebody trusted.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := conn.(*net.UnixConn); ok {
			if uid, err := g.peer(c); err == nil && trusted(uid, g.owner) {
				return conn, nil
			}
		}
		_ = conn.Close() // a stranger is told nothing
	}
}

func trusted(uid, owner uint32) bool { return uid == 0 || uid == owner }

// askSocket asks the kernel about a connection's file descriptor.
func askSocket[T any](c *net.UnixConn, question func(fd int) (T, error)) (v T, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return v, err
	}
	if ctlErr := raw.Control(func(fd uintptr) { v, err = question(int(fd)) }); ctlErr != nil {
		return v, ctlErr
	}
	return v, err
}

// dialIn connects to whoever answers on the socket called name in dir.
func dialIn(ctx context.Context, dir, name string) (net.Conn, error) {
	path, done, err := shortPath(dir, name)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// shortPath names a socket in dir so that it fits the kernel's limit: on Linux through an open folder.
// The path holds until done is called.
func shortPath(dir, name string) (path string, done func(), err error) {
	path = filepath.Join(dir, name)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("socket %q: the path has %d bytes, the system takes %d; move the deployment to a shorter path", path, len(path), maxSocketPath)
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name), func() { _ = f.Close() }, nil
}
