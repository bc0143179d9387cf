package wireguard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.zx2c4.com/wireguard/device"
)

// toolFolder is where wg(8) looks for devices in user space.
const toolFolder = "/var/run/wireguard"

// toolSocket lets wg(8) show and set a device. Who may open it may read its private key, so that is root alone.
type toolSocket struct {
	path     string
	listener *net.UnixListener
	device   *device.Device
	done     sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil once closed
}

// serveTools serves the device of that name until closed.
func serveTools(name string, d *device.Device) (*toolSocket, error) {
	path := filepath.Join(toolFolder, name+".sock")
	if c, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("%q is another process's", path), c.Close())
	}
	if err := os.MkdirAll(toolFolder, 0o755); err != nil {
		return nil, err
	}
	l, err := listenPrivately(path)
	if err != nil {
		return nil, err
	}
	s := &toolSocket{path: path, listener: l, device: d, open: map[net.Conn]bool{}}
	s.done.Go(s.accept)
	return s, nil
}

// listenPrivately makes a socket that is never open to others, not for a moment, in place of what a process that died
// left there.
func listenPrivately(path string) (*net.UnixListener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".new-") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *toolSocket) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.open[c] = true
		s.mu.Unlock()
		s.done.Go(func() {
			s.device.IpcHandle(c) // closes it
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

func (s *toolSocket) close() error {
	err := errors.Join(os.Remove(s.path), s.listener.Close())
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.done.Wait()
	return err
}
