package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

//go:embed boot.sh
var bootScript string

// namespaces are what a host has of its own.
const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID |
	syscall.CLONE_NEWNET | syscall.CLONE_NEWCGROUP

// dropped are the capabilities that reach beyond a host, to this computer's clock, kernel and hardware.
const dropped = "-sys_module,-sys_rawio,-sys_time,-mac_admin,-mac_override,-syslog,-wake_alarm,-block_suspend"

// boot is one run of a host, from power to its end.
type boot struct {
	command *exec.Cmd
	console string        // a file with what its first steps wrote
	ready   chan struct{} // closed once systemd says that it is up
	ended   chan struct{} // closed once nothing runs any more; after a reboot, once the next boot is there
}

// said is what became of a boot that failed early.
func (b *boot) said() string {
	out, err := os.ReadFile(b.console)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v: %s", b.command.ProcessState, tail(out))
}

// newBoot switches a host on.
func (h *Host) newBoot() (b *boot, err error) {
	b = &boot{console: filepath.Join(h.folder, "console"), ready: make(chan struct{}), ended: make(chan struct{})}
	if err := removeGroup(h.group); err != nil {
		return nil, err
	}
	if err := makeGroup(h.lab.groups, h.group); err != nil {
		return nil, err
	}
	notify, err := listenNotify(filepath.Join(h.folder, "notify"))
	if err != nil {
		return nil, err
	}
	power, err := h.launch(b)
	if err != nil {
		notify.Close()
		return nil, err
	}
	err = h.connect(b)
	if err == nil {
		_, err = power.Write([]byte("go\n"))
	}
	err = errors.Join(err, power.Close())
	if err != nil {
		_ = b.command.Process.Kill() // the script may have failed
		_ = b.command.Wait()
		notify.Close()
		return nil, errors.Join(err, unplug(h.wire))
	}
	h.mu.Lock()
	h.boot = b
	h.mu.Unlock()
	go watchNotify(notify, b.ready)
	go h.watch(b, notify)
	return b, nil
}

// launch starts the first process of a host. It waits for a line on power.
func (h *Host) launch(b *boot) (power *os.File, err error) {
	group, err := os.Open(h.group)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	console, err := os.Create(b.console)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	stdin, power, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	b.command = exec.Command("sh", "-c", bootScript, "boot", h.folder, h.lab.image, h.Name, h.Address, h.lab.Gateway, dropped)
	b.command.Stdin, b.command.Stdout, b.command.Stderr = stdin, console, console
	b.command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces, UseCgroupFD: true, CgroupFD: int(group.Fd()), Setsid: true, Pdeathsig: syscall.SIGKILL,
	}
	if err := onLastingThread(b.command.Start); err != nil {
		power.Close()
		return nil, fmt.Errorf("start the first process: %w", err)
	}
	return power, nil
}

// connect gives a new boot its network.
func (h *Host) connect(b *boot) error {
	if err := unplug(h.wire); err != nil { // the kernel may not have ended the last one yet
		return err
	}
	if err := plug(h.wire, bridge(h.lab.ID), b.command.Process.Pid, h.address); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut {
		return setCarried(h.wire, bridge(h.lab.ID), false)
	}
	return nil
}

// watch sees a boot to its end, and boots again after a reboot, as hardware does. The kernel tells of a reboot in a
// process namespace by the signal that ends it (reboot(2)).
func (h *Host) watch(b *boot, notify net.Conn) {
	defer close(b.ended)
	_ = b.command.Wait() // how it ended is in ProcessState
	notify.Close()
	_ = unplug(h.wire) // or newBoot says why not
	status, _ := b.command.ProcessState.Sys().(syscall.WaitStatus)
	h.mu.Lock()
	again := !h.off && status.Signaled() && status.Signal() == syscall.SIGHUP
	h.mu.Unlock()
	if !again {
		return
	}
	if _, err := h.newBoot(); err != nil {
		_ = os.WriteFile(b.console, []byte("boot again: "+err.Error()), 0o600) // for Wait to tell
	}
}

// onLastingThread calls f on a thread that lives as long as this process: a process that ends with its parent ends with
// the thread that started it.
func onLastingThread(f func() error) error {
	done := make(chan error)
	lastingThread() <- func() { done <- f() }
	return <-done
}

var lastingThread = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range calls {
			f()
		}
	}()
	return calls
})

// listenNotify is where systemd says that a boot is done (sd_notify(3)).
func listenNotify(path string) (net.Conn, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
}

func watchNotify(c net.Conn, ready chan<- struct{}) {
	message, done := make([]byte, 4096), false
	for {
		n, err := c.Read(message)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(message[:n])) {
			if strings.TrimSpace(line) == "READY=1" && !done {
				done = true
				close(ready)
			}
		}
	}
}

// makeGroup makes a control group with as many controllers as this computer gives.
func makeGroup(groups, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, parent := range []string{groups, filepath.Dir(path)} {
		for _, controller := range []string{"cpu", "memory", "pids", "io"} {
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0) // not all have it
		}
	}
	return nil
}
