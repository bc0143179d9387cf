package netlab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// namespaceFolder is where ip-netns(8) keeps its names.
const namespaceFolder = "/run/netns"

// Namespace is a network of its own: interfaces, routes, sockets, firewall. Its methods may be used from several
// goroutines.
type Namespace struct {
	Name   string // as 'ip netns' shows it
	lab    *Lab
	chains bool // whether the chains of faults are there

	mu       sync.Mutex
	commands []*exec.Cmd
}

// Namespace makes an empty namespace in which only loopback is up. The label is a part of its name.
func (l *Lab) Namespace(label string) *Namespace {
	l.tb.Helper()
	l.names++
	n := &Namespace{Name: fmt.Sprintf("%s-%d-%s", l.prefix, l.names, label), lab: l}
	_, err := output("ip", "netns", "add", n.Name)
	l.must(err)
	l.tb.Cleanup(func() {
		n.endCommands()
		if err := remove(n.Name); err != nil {
			l.tb.Fatalf("remove namespace: %v", err)
		}
	})
	n.batch("link set lo up")
	// Addresses shall be usable at once, not after a search for doubles.
	n.sysctl("net/ipv6/conf/default/accept_dad", "0")
	n.sysctl("net/ipv6/conf/all/accept_dad", "0")
	return n
}

// Command is exec.CommandContext inside the namespace. The started process has the pid that the command shows.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.commands = append(n.commands, cmd)
	return cmd
}

// endCommands kills what Command started. One that has only just begun is not in the namespace yet, and would not be
// found there.
func (n *Namespace) endCommands() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, cmd := range n.commands {
		if cmd.Process != nil {
			_ = cmd.Process.Kill() // it may have ended by itself
		}
	}
}

// Do calls f on a thread inside the namespace. Sockets and devices that f opens stay there; goroutines that it starts
// do not.
func (n *Namespace) Do(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	inside, err := os.Open(filepath.Join(namespaceFolder, n.Name))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer inside.Close()
	if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %q: %w", n.Name, err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("leave namespace %q: %w", n.Name, back) // the thread is lost, not given back
	}
	runtime.UnlockOSThread()
	return err
}

// Dial connects from inside the namespace to a literal address.
func (n *Namespace) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen takes connections inside the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket takes datagrams inside the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// batch runs ip(8) commands inside the namespace, one a line.
func (n *Namespace) batch(commands ...string) {
	n.lab.tb.Helper()
	_, err := feed(strings.Join(commands, "\n")+"\n", "ip", "-n", n.Name, "-batch", "-")
	n.lab.must(err)
}

// sysctl sets a value below /proc/sys. What a kernel lacks is left alone: IPv6 may be compiled out.
func (n *Namespace) sysctl(path, value string) {
	n.lab.tb.Helper()
	n.lab.must(n.Do(func() error {
		err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0)
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
}

// run runs a command inside the namespace.
func (n *Namespace) run(stdin, name string, args ...string) string {
	n.lab.tb.Helper()
	out, err := feed(stdin, "ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
	n.lab.must(err)
	return out
}

// Shape limits what the namespace sends through an interface, in bits a second.
func (n *Namespace) Shape(device string, bitsPerSecond uint64) {
	n.lab.tb.Helper()
	// A bucket of 5 ms, and never smaller than what segmentation offload hands over at once.
	burst := max(bitsPerSecond/8/200, 128<<10)
	n.run("", "tc", "qdisc", "replace", "dev", device, "root", "tbf",
		"rate", fmt.Sprintf("%dbit", bitsPerSecond), "burst", fmt.Sprint(burst), "latency", "20ms")
}
