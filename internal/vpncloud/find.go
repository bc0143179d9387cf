package vpncloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// Install is what to do where vpncloud is not there.
const Install = "install it with: cargo install vpncloud --version 2.3.0 --locked"

// versionWait is how long the program may take to say its version.
const versionWait = 10 * time.Second

// Find looks for the program in PATH and asks it for its version.
func Find() (path, version string, err error) { return find("", nil) }

// Check says why the program at path cannot be run by a user; nil is the user that we are. It is never run as anybody
// else.
func Check(path string, user *syscall.Credential) error {
	_, _, err := find(path, user)
	return err
}

func find(binary string, user *syscall.Credential) (path, version string, err error) {
	if binary == "" {
		binary = "vpncloud"
	}
	if path, err = exec.LookPath(binary); err != nil {
		return "", "", fmt.Errorf("find vpncloud: %w: %s", err, Install)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", "", fmt.Errorf("find vpncloud: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir = []string{}, "/" // ours may be closed to the user
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %q for its version: %w%s", path, err, whyNot(err))
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "VpnCloud v")
	if !ok || !strings.HasPrefix(version, "2.") {
		return "", "", fmt.Errorf("%q is not vpncloud 2, but %.80q: %s", path, out, Install)
	}
	return path, version, nil
}

// whyNot says what is behind a program that does not start. The usual one is built against the C library of the computer
// that it was built on.
func whyNot(err error) string {
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return ": it is built for another processor"
	case errors.Is(err, fs.ErrNotExist):
		return ": this system has not the C library that it is built for; " + static
	case errors.As(err, &exit) && len(exit.Stderr) > 0:
		said := fmt.Sprintf(": %.300s", bytes.TrimSpace(exit.Stderr))
		if bytes.Contains(exit.Stderr, []byte("GLIBC_")) {
			said += ": this system's C library is older than the one that it is built for; " + static
		}
		return said
	}
	return ""
}

// static is how to build one that runs on any Linux of its processor.
const static = "build a static one: RUSTFLAGS='-C target-feature=+crt-static' cargo install vpncloud --version 2.3.0 --locked --target x86_64-unknown-linux-gnu"

// choosePort returns the port to listen on. One that was chosen before is chosen again if it is free, as others' sessions
// go on then.
func choosePort(listen netip.AddrPort, path string) (uint16, error) {
	if listen.Port() != 0 {
		return listen.Port(), nil
	}
	var address net.IP
	if a := listen.Addr(); a.IsValid() {
		address = a.AsSlice()
	}
	if b, err := os.ReadFile(path); err == nil {
		if port, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16); err == nil && port != 0 {
			if c, err := net.ListenUDP("udp", &net.UDPAddr{IP: address, Port: int(port)}); err == nil {
				return uint16(port), c.Close()
			}
		}
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: address})
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := c.LocalAddr().(*net.UDPAddr).Port
	text := strconv.Itoa(port) + "\n"
	return uint16(port), errors.Join(c.Close(), atomicfile.Write(path, []byte(text), 0o600))
}

// noDefaultRoute is why vpncloud would panic, and does when the route goes while it runs.
const noDefaultRoute = "vpncloud does not run on a host without an IPv4 default route: add one, as with: ip route add default via GATEWAY"

// checkUnderlay finds what makes vpncloud panic: it asks the kernel for a way to 8.8.8.8, to which it sends nothing.
func checkUnderlay() error {
	c, err := net.Dial("udp4", "8.8.8.8:53")
	if err != nil {
		return errors.New(noDefaultRoute)
	}
	return c.Close()
}
