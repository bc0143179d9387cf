package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Host is one server.
type Host struct {
	Name    string
	Address string // the host's and this computer's only way to each other
	User    string // who may come in by SSH: "root" or "admin", see [Login]
	Key     string // path of that user's private key

	lab     *Lab
	number  int
	address netip.Addr
	folder  string // disk and all
	wire    string // this computer's end of eth0
	group   string // control group, remade for every boot

	mu      sync.Mutex
	hostKey string
	boot    *boot // the last one; nil before the first
	off     bool  // nothing may boot: it was stopped, or removed
	cut     bool
}

// bootLimit is how long a boot may take on a very busy computer.
const bootLimit = 3 * time.Minute

// install gives a host a new disk and boots from it.
func (h *Host) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if err := h.seed(ctx); err != nil {
		return err
	}
	if err := h.lab.introduce(); err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(h.Address, "22"))
	if err != nil {
		return fmt.Errorf("reach sshd: %w", err)
	}
	return conn.Close()
}

// seed prepares what the first boot puts on an empty disk: what makes the host itself.
func (h *Host) seed(ctx context.Context) error {
	if err := os.RemoveAll(h.folder); err != nil {
		return err
	}
	home, owner := "root", 0
	if h.User != "root" {
		home, owner = "home/"+h.User, 1000
	}
	files := map[string]string{
		"etc/hostname":                 h.Name + "\n",
		"etc/hosts":                    "127.0.0.1 localhost\n127.0.1.1 " + h.Name + "\n::1 localhost\n",
		"etc/resolv.conf":              "nameserver " + h.lab.Gateway + "\n",
		"etc/apt/apt.conf.d/80lab":     fmt.Sprintf("Acquire::http::Proxy \"http://%s:%s\";\n", h.lab.Gateway, proxyPort),
		home + "/.ssh/authorized_keys": h.lab.PublicKey + " lab\n",
	}
	if sudo := map[Login]string{Sudo: "NOPASSWD: ", SudoPassword: ""}; h.lab.options.Login == Sudo ||
		h.lab.options.Login == SudoPassword {
		files["etc/sudoers.d/90-lab"] = h.User + " ALL=(ALL:ALL) " + sudo[h.lab.options.Login] + "ALL\n"
	}
	root := filepath.Join(h.folder, "seed")
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			return err
		}
	}
	keys := filepath.Join(root, "etc/ssh")
	if err := os.MkdirAll(keys, 0o755); err != nil {
		return err
	}
	key, err := newKey(ctx, filepath.Join(keys, "ssh_host_ed25519_key"), "root@"+h.Name)
	if err != nil {
		return err
	}
	h.setHostKey(key)
	if h.lab.options.Disk > 0 {
		if err := h.makeDisk(ctx); err != nil {
			return err
		}
	}
	private := filepath.Join(root, home)
	for _, p := range []string{private, private + "/.ssh", private + "/.ssh/authorized_keys"} {
		if err := os.Chown(p, owner, owner); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(private, 0o700), os.Chmod(private+"/.ssh", 0o700))
}

// makeDisk makes a file system of a limited size in a file. Nothing of it is kept for root, who fills it here.
func (h *Host) makeDisk(ctx context.Context) error {
	path := filepath.Join(h.folder, "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, h.lab.options.Disk); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a disk of %d bytes: %w: %s", h.lab.options.Disk, err, tail(out))
	}
	return nil
}

// HostKey is the host's public key now, as in known_hosts: type and base64.
func (h *Host) HostKey() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hostKey
}

func (h *Host) setHostKey(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hostKey = key
}

// Start switches the host on and returns once it is up: systemd has done all that belongs to its start, sshd included.
func (h *Host) Start(ctx context.Context) error {
	if h.Running() {
		return fmt.Errorf("start %s: it is running", h.Name)
	}
	h.mu.Lock()
	h.off = false
	h.mu.Unlock()
	if _, err := h.newBoot(); err != nil {
		return fmt.Errorf("start %s: %w", h.Name, err)
	}
	return h.Wait(ctx)
}

// Wait returns once the host is up, also when it reboots meanwhile. It is an error if the host ends.
func (h *Host) Wait(ctx context.Context) error {
	for {
		b := h.current()
		if b == nil {
			return fmt.Errorf("wait for %s: it was never started", h.Name)
		}
		select {
		case <-b.ready:
			return nil
		case <-b.ended:
			if h.current() == b {
				return fmt.Errorf("wait for %s: it ended: %s", h.Name, b.said())
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", h.Name, ctx.Err(), h.complaint(b))
		}
	}
}

// complaint is what a host that is not up can tell.
func (h *Host) complaint(b *boot) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := h.Exec(ctx, "sh", "-c", "systemctl list-jobs --no-pager; journalctl --boot --no-pager --lines 20")
	if err != nil {
		return b.said()
	}
	return string(tail(out))
}

// Running reports whether the host is on.
func (h *Host) Running() bool {
	b := h.current()
	if b == nil {
		return false
	}
	select {
	case <-b.ended:
		return h.current() != b
	default:
		return true
	}
}

// Ended is closed once what runs now has ended, by a fault or a reboot. After a reboot, the next boot has begun by then:
// see [Host.Wait].
func (h *Host) Ended() <-chan struct{} {
	if b := h.current(); b != nil {
		return b.ended
	}
	never := make(chan struct{})
	close(never)
	return never
}

func (h *Host) current() *boot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boot
}

// Stop is a power cut: all processes are killed at once. The disk stays as it is. A host that is off stays off.
func (h *Host) Stop() error {
	for {
		h.mu.Lock()
		h.off = true
		b := h.boot
		h.mu.Unlock()
		if b == nil {
			return nil
		}
		_ = b.command.Process.Kill() // it may have ended by itself
		<-b.ended
		if h.current() == b { // and not one more, which a reboot began meanwhile
			return nil
		}
	}
}

// Reboot restarts the host as its owner would, and returns once it is up again.
func (h *Host) Reboot(ctx context.Context) error {
	b := h.current()
	if !h.Running() {
		return fmt.Errorf("reboot %s: it is not running", h.Name)
	}
	// Not 'systemctl reboot': with that, the log-in service first waits for whoever asked it to, some seconds.
	if _, err := h.Exec(ctx, "systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "reboot.target"); err != nil {
		return fmt.Errorf("reboot %s: %w", h.Name, err)
	}
	select {
	case <-b.ended:
		return h.Wait(ctx)
	case <-ctx.Done():
		return fmt.Errorf("reboot %s: it does not end: %w: %s", h.Name, ctx.Err(), h.complaint(b))
	}
}

// Replace puts a new server in the place of this one: same name and address, empty disk, new host key.
func (h *Host) Replace(ctx context.Context) error {
	if err := h.Stop(); err != nil {
		return err
	}
	if err := h.install(ctx); err != nil {
		return fmt.Errorf("replace %s: %w", h.Name, err)
	}
	return nil
}

// Remove ends the host and removes its disk. Its address is not given to another.
func (h *Host) Remove() error {
	err := errors.Join(h.Stop(), removeGroup(h.group), os.RemoveAll(h.folder))
	l := h.lab
	l.mu.Lock()
	for i, other := range l.hosts {
		if other == h {
			l.hosts = append(l.hosts[:i:i], l.hosts[i+1:]...)
			break
		}
	}
	l.mu.Unlock()
	return errors.Join(err, l.introduce())
}

// Exec runs a command as root in the host, without SSH and whatever the host's network does, and returns its standard
// output.
func (h *Host) Exec(ctx context.Context, args ...string) ([]byte, error) {
	cmd, err := h.Command(ctx, args...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: run %s: %w: %s", h.Name, strings.Join(args, " "), err, tail(stderr.Bytes()))
	}
	return out, nil
}

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command is exec.CommandContext as root in the host. What it starts ends with the host.
func (h *Host) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	if !h.Running() {
		return nil, fmt.Errorf("%s is not running", h.Name)
	}
	inside := []string{
		"--target", fmt.Sprint(h.current().command.Process.Pid),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		// The shell stays outside as the parent. Nsenter's own parent stops when its child does, and systemd stops all
		// there is before it ends; the host could then never end.
		"--no-fork", "--", "/usr/bin/env", "-i", "PATH=" + path, "HOME=/root", "LANG=C.UTF-8", "/bin/sh", "-c", `"$@"; exit $?`, "sh",
		// What comes in from outside shall not be able to do more than what is inside, and end with its caller.
		"/usr/bin/setpriv", "--bounding-set=" + dropped, "--pdeathsig=KILL", "--",
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(inside, args...)...)
	cmd.WaitDelay = time.Second
	return cmd, nil
}
