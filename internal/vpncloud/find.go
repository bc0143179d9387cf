package vpncloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// Install is what to do where vpncloud is not there.
const Install = "install it with: cargo install vpncloud --version 2.3.0 --locked"

// versionWait is how long the program may take to say its version.
const versionWait = 10 * time.Second

// Find looks for the program in PATH and asks it for its version.
func Find() (path, version string, err error) { return find("") }

func find(binary string) (path, version string, err error) {
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
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("ask %q for its version: %w", path, err)
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "VpnCloud v")
	if !ok || !strings.HasPrefix(version, "2.") {
		return "", "", fmt.Errorf("%q is not vpncloud 2, but %.80q: %s", path, out, Install)
	}
	return path, version, nil
}

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
