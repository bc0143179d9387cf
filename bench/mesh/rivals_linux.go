package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
)

const vpncloudVersion = "2.3.0"

// wireguardModule is where stock wireguard-go comes from; its version is the one that go.mod names.
const wireguardModule = "golang.zx2c4.com/wireguard"

// cache is where rivals are kept by version, outside the checkout.
func cache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "pressenter"), err
}

// built returns the path of a program in the cache, and makes it first where it is not there.
func built(folder, program string, build func(folder string) *exec.Cmd) (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, folder)
	path := filepath.Join(dir, "bin", program)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := build(dir)
	fmt.Fprintf(progress, "building %s, once: %s\n", folder, strings.Join(cmd.Args, " "))
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", folder, err)
	}
	return path, nil
}

func buildWireGuard(ctx context.Context) (path, version string, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", wireguardModule).Output()
	if err != nil {
		return "", "", fmt.Errorf("ask for the version of %s: %w", wireguardModule, err)
	}
	version = strings.TrimSpace(string(out))
	path, err = built("wireguard-go-"+version, "wireguard", func(dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", wireguardModule+"@"+version)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+filepath.Join(dir, "bin"))
		return cmd
	})
	return path, version, err
}

func buildVpnCloud(ctx context.Context) (string, error) {
	return built("vpncloud-"+vpncloudVersion, "vpncloud", func(dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "cargo", "install", "vpncloud", "--version", vpncloudVersion, "--locked", "--root", dir)
	})
}

// debianPackages names the package of each tool that a run needs.
var debianPackages = map[string]string{"tincd": "tinc", "nft": "nftables", "ip": "iproute2", "tc": "iproute2"}

// installTools gets missing tools as Debian packages.
func installTools(ctx context.Context) error {
	var missing []string
	for tool, pkg := range debianPackages {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintf(progress, "installing %s\n", strings.Join(missing, " "))
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "--yes", "--no-install-recommends"}, missing...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(missing, " "), err)
	}
	return nil
}

// insides are the addresses that rivals use inside.
var (
	inside4 = [2]netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("10.77.0.2")}
	inside6 = [2]netip.Addr{netip.MustParseAddr("fd77::1"), netip.MustParseAddr("fd77::2")}
)

// plainName is what results call TCP on the bare link.
const plainName = "tcp"

func plain(r *rig, lab *netlab.Lab) *contest { return newContest(r, lab, plainName) }

// wireGuard is stock wireguard-go.
func wireGuard(r *rig, lab *netlab.Lab, program string) *contest {
	t := newContest(r, lab, "wireguard-go")
	var private, public [2]string
	for i := range t.ends {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		r.must(err)
		private[i], public[i] = hex.EncodeToString(k.Bytes()), hex.EncodeToString(k.PublicKey().Bytes())
	}
	for i, e := range t.ends {
		link := interfaceName()
		e.start(r, e.command(program, "--foreground", link))
		r.must(userspaceAPI(link, fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\nendpoint=%s\nallowed_ip=%s/128\npersistent_keepalive_interval=25\n",
			private[i], wireGuardPort, public[1-i], netip.AddrPortFrom(t.ends[1-i].outside, wireGuardPort), inside6[1-i])))
		ip(r, e.space, "addr", "add", inside6[i].String()+"/64", "dev", link)
		ip(r, e.space, "link", "set", link, "up")
		e.inside = inside6[i]
	}
	return t
}

const wireGuardPort = 51820

// interfaces counts names that were given.
var interfaces int

// interfaceName returns a new name: the sockets of all user-space WireGuards of a machine lie in one folder, whatever
// their namespaces.
func interfaceName() string {
	interfaces++
	return fmt.Sprintf("pb%d-%d", os.Getpid()%1_000_000, interfaces)
}

// userspaceAPI configures a wireguard-go (https://www.wireguard.com/xplatform/), once its socket is there.
func userspaceAPI(link, config string) error {
	var conn net.Conn
	var err error
	for limit := time.Now().Add(5 * time.Second); ; {
		conn, err = net.Dial("unix", "/var/run/wireguard/"+link+".sock")
		if err == nil {
			break
		}
		if time.Now().After(limit) {
			return fmt.Errorf("configure wireguard-go: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "set=1\n"+config+"\n"); err != nil {
		return fmt.Errorf("configure wireguard-go: %w", err)
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return fmt.Errorf("configure wireguard-go: %w", err)
	}
	if !bytes.HasPrefix(answer[:n], []byte("errno=0\n")) {
		return fmt.Errorf("configure wireguard-go: %s", answer[:n])
	}
	return nil
}

// vpnCloud is the released vpncloud with keys for each end, and the algorithm that it finds to be the fastest.
func vpnCloud(r *rig, lab *netlab.Lab, dir, program string) *contest {
	t := newContest(r, lab, "vpncloud")
	var private, public [2]string
	for i := range t.ends {
		out, err := exec.Command(program, "genkey").Output()
		r.must(err)
		for line := range strings.Lines(string(out)) {
			if v, ok := strings.CutPrefix(line, "Private key: "); ok {
				private[i] = strings.TrimSpace(v)
			}
			if v, ok := strings.CutPrefix(line, "Public key: "); ok {
				public[i] = strings.TrimSpace(v)
			}
		}
		if private[i] == "" || public[i] == "" {
			r.must(errors.New("vpncloud genkey printed no keys"))
		}
	}
	for i, e := range t.ends {
		path := filepath.Join(dir, fmt.Sprintf("vpncloud%d.yaml", i))
		// This release configures and claims wrong addresses by itself, so both are left to us.
		r.must(os.WriteFile(path, fmt.Appendf(nil, `listen: "3210"
peers: ["%s:3210"]
crypto: {private-key: %q, trusted-keys: [%q]}
device: {type: tun, name: vpn0}
auto-claim: false
claims: ["%s/32"]
ifup: "ip addr add %s/24 dev $IFNAME && ip link set $IFNAME up"
port-forwarding: false
`, t.ends[1-i].outside, private[i], public[1-i], inside4[i], inside4[i]), 0o600))
		cmd := e.command(program, "--config", path)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // it takes keys from variables with common names
		e.start(r, cmd)
		e.inside = inside4[i]
	}
	return t
}

// tinc is Debian's tinc 1.0 with its defaults.
func tinc(r *rig, lab *netlab.Lab, dir string) *contest {
	t := newContest(r, lab, "tinc")
	names := [2]string{"a", "b"}
	folder := func(i int) string { return filepath.Join(dir, "tinc"+names[i]) }
	for i, e := range t.ends {
		r.must(os.MkdirAll(filepath.Join(folder(i), "hosts"), 0o700))
		write := func(name, text string) { r.must(os.WriteFile(filepath.Join(folder(i), name), []byte(text), 0o700)) }
		write("tinc.conf", fmt.Sprintf("Name = %s\nInterface = tinc0\nConnectTo = %s\n", names[i], names[1-i]))
		write("hosts/"+names[i], fmt.Sprintf("Address = %s\nSubnet = %s/32\n", e.outside, inside4[i]))
		write("tinc-up", fmt.Sprintf("#!/bin/sh\nip addr add %s/24 dev $INTERFACE\nip link set $INTERFACE up\n", inside4[i]))
		cmd := exec.Command("tincd", "--config", folder(i), "--generate-keys=2048")
		if out, err := cmd.CombinedOutput(); err != nil {
			r.must(fmt.Errorf("make keys for tinc: %w: %s", err, out))
		}
		e.inside = inside4[i]
	}
	for i, e := range t.ends {
		b, err := os.ReadFile(filepath.Join(folder(1-i), "hosts", names[1-i]))
		r.must(err)
		r.must(os.WriteFile(filepath.Join(folder(i), "hosts", names[1-i]), b, 0o600))
		e.start(r, e.command("tincd", "--config", folder(i), "--no-detach", "--pidfile", filepath.Join(folder(i), "pid")))
	}
	return t
}
