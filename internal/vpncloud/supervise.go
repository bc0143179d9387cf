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
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/underlay"
)

const (
	// stopGrace is how long the program may take to say goodbye; it looks for signals once a second.
	stopGrace = 3 * time.Second
	// cutOffWait is more than stopGrace and what the kernel takes to end a process.
	cutOffWait = 20 * time.Second
	// gather is how long keys that come are waited for, keysGap how far restarts for them are apart at least.
	gather  = time.Second
	keysGap = 10 * time.Second
	// A program that ends is started again after firstWait, then after twice as long each time, up to lastWait. One that
	// ran for steady begins anew.
	firstWait = 200 * time.Millisecond
	lastWait  = 15 * time.Second
	steady    = time.Minute
	// resetWindow is how old a reset may be and still count; resetGap how far restarts for resets are apart at least.
	resetWindow = 20 * time.Second
	resetGap    = 40 * time.Second
	// lookEvery is how often the interface and the statistics are looked at; the program writes these every 60 s.
	lookEvery = 20 * time.Second
)

// supervise keeps the program running while there are peers, with the keys that are wanted, until Close.
func (d *Device) supervise() {
	// The program dies with the thread that started it, so that it does not outlive us.
	runtime.LockOSThread()
	defer close(d.done)
	wait := firstWait
	for d.awaitPeers() {
		began := time.Now()
		cause := d.turn()
		if time.Since(began) >= steady {
			wait = firstWait
		}
		d.setCause(cause)
		if cause == "" {
			continue
		}
		d.log.Warn("vpncloud does not run", "cause", cause, "again_in", wait)
		d.sleep(wait)
		wait = min(2*wait, lastWait)
	}
}

// awaitPeers blocks until somebody is to be talked to; false after Close.
func (d *Device) awaitPeers() bool {
	for d.closing.Err() == nil {
		d.mu.Lock()
		any := len(d.wanted) > 0
		d.mu.Unlock()
		if any {
			return true
		}
		select {
		case <-d.poke:
		case <-d.closing.Done():
		}
	}
	return false
}

func (d *Device) sleep(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.closing.Done():
	}
}

func (d *Device) nudge() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

func (d *Device) setCause(cause string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cause = cause
}

// begin notes that a child is about to trust the keys that are wanted now, before it can: whoever removes one from here on
// waits for the child's end.
func (d *Device) begin() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.started, d.restart = trusted(d.wanted), time.Now(), false
	d.seen.clear()
	return d.running
}

// ended notes that there is no child.
func (d *Device) ended() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = nil
	d.seen.clear()
	close(d.changed)
	d.changed = make(chan struct{})
}

// turn starts the program once and stays with it. It returns why the program ended, or nothing if we ended it.
func (d *Device) turn() (cause string) {
	if err := checkUnderlay(); err != nil {
		return err.Error()
	}
	defer d.ended()
	c, err := d.start(d.begin())
	if err != nil {
		return err.Error()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var due <-chan time.Time
		if wait, ok := d.restartDue(); ok {
			due = time.After(wait)
		}
		select {
		case exit := <-c.exit:
			return explain(exit, c.log.tail())
		case <-due:
		case <-d.closing.Done():
		case <-d.poke:
			continue
		case <-c.ready:
			d.heal()
			d.log.Info("vpncloud runs", "interface", d.config.Interface, "mtu", d.MTU())
			continue
		case <-tick.C:
			d.heal()
			d.readStats()
			continue
		}
		d.stop(c)
		return ""
	}
}

// restartDue says whether the program has to be replaced, and when: at once if a key went, later if keys came.
func (d *Device) restartDue() (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := trusted(d.wanted)
	switch {
	case d.restart || trustsOthers(d.running, wanted):
		return 0, true
	case slices.Equal(d.running, wanted):
		return 0, false
	}
	at := d.asked.Add(gather)
	if next := d.started.Add(keysGap); next.After(at) {
		at = next
	}
	return max(time.Until(at), 0), true
}

// stop asks the program to end, which tells its peers, and kills it if it does not. It comes back when the program has
// ended: two at a time there must not be.
func (d *Device) stop(c *child) {
	if !c.id.IsZero() {
		ctx, cancel := context.WithTimeout(context.Background(), cutOffWait)
		defer cancel()
		if err := process.Terminate(ctx, c.id, stopGrace); err != nil {
			d.setCause("stop vpncloud: " + err.Error())
		}
	}
	<-c.exit
}

// child is one run of the program.
type child struct {
	id    process.Identity
	exit  chan process.Exit
	ready chan struct{} // gets one when its network is up
	log   *logReader
}

// start writes the configuration and starts the program, which then trusts keys.
func (d *Device) start(keys []string) (*child, error) {
	p := program{
		Interface: d.config.Interface, Seed: d.config.Seed, Trusted: keys, Address: d.config.Address,
		Listen: listenText(d.listenAt(), d.port),
	}
	if d.memory != "" {
		p.Stats = filepath.Join(d.memory, statsFile)
	}
	if err := d.link.ensure(); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(d.config.Dir, configFile), render(p), 0o600); err != nil {
		return nil, err
	}
	if err := d.writeEndpoints(); err != nil { // at least once a start, and with the hour of now
		return nil, err
	}
	c := &child{exit: make(chan process.Exit, 1), ready: make(chan struct{}, 1)}
	return c, d.spawn(c)
}

// listenAt is the address to take packets at; unspecified: all.
func (d *Device) listenAt() netip.Addr {
	at := d.config.Listen.Addr()
	if at.IsValid() && !at.IsUnspecified() || !d.config.Public.IsValid() {
		return at
	}
	own, _ := net.InterfaceAddrs() // what cannot be told is not there
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == d.config.Public {
			return d.config.Public
		}
	}
	return at
}

// misread is what the program says before it reads its configuration again, as one of version 1. That knows none of our
// keys, ignores what it does not know, and makes it run with the password "none".
const misread = "ERROR - Failed to read config file"

// spawn runs the program with its output and its hooks' in pipes: they hold underlay addresses, which no file may.
func (d *Device) spawn(c *child) error {
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start vpncloud: %w", err)
	}
	defer func() { _ = outputEnd.Close() }()
	events, eventsEnd, err := os.Pipe()
	if err != nil {
		_ = output.Close()
		return fmt.Errorf("start vpncloud: %w", err)
	}
	defer func() { _ = eventsEnd.Close() }()

	cmd := exec.Command(d.binary, "--config", configFile)
	cmd.Dir = d.config.Dir
	// Nothing of ours: vpncloud would take PASSWORD and PRIVATE_KEY.
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = outputEnd, outputEnd
	cmd.ExtraFiles = []*os.File{hookPipe - 3: eventsEnd, 1: d.lock.File()}
	cmd.SysProcAttr = attributes()
	if err := start(cmd, d.port); err != nil {
		_, _ = output.Close(), events.Close()
		return fmt.Errorf("start vpncloud: %w", err)
	}
	c.id, err = process.Of(cmd.Process.Pid)
	if err != nil && !errors.Is(err, process.ErrGone) {
		_, _ = cmd.Process.Kill(), cmd.Wait()
		_, _ = output.Close(), events.Close()
		return fmt.Errorf("start vpncloud: %w", err)
	}
	c.log = newLogReader(output, func(line string) {
		if strings.HasPrefix(line, misread) {
			_ = c.id.Signal(syscall.SIGKILL) // else it has ended
		}
		d.logged(line)
	})
	go readEvents(events, func(e event) { d.happened(c.ready, e) })
	go func() {
		exit := wait(cmd)
		// A hook's shell may hold the pipes for a moment longer, but not for ever.
		_, _ = output.SetReadDeadline(time.Now().Add(time.Second)), events.SetReadDeadline(time.Now().Add(time.Second))
		<-c.log.done
		c.exit <- exit
	}()
	return nil
}

func wait(cmd *exec.Cmd) process.Exit {
	_ = cmd.Wait() // what it says is in the state
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return process.Exit{Code: -1}
	}
	if status.Signaled() {
		return process.Exit{Code: -1, Signal: status.Signal().String(), Core: status.CoreDump()}
	}
	return process.Exit{Code: status.ExitStatus()}
}

// heal sets the interface as it should be: the program sets an MTU, and others may do more.
func (d *Device) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.link.configure()
	for address, packet := range d.segments {
		err = errors.Join(err, d.link.segment(address, packet))
	}
	d.cause = ""
	if err != nil {
		d.cause = err.Error()
		d.log.Warn("vpncloud's interface is not as it should be", "error", err)
	}
}

// happened takes what a hook told.
func (d *Device) happened(ready chan struct{}, e event) {
	switch e.name {
	case eventStarted:
		select {
		case ready <- struct{}{}:
		default:
		}
	case eventConnected:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.seen.claimed(e.peer, e.claims, time.Now())
		for _, claim := range e.claims {
			d.log.Info("vpncloud took in a peer", "claims", claim)
		}
	}
}

// logged takes a line of the program's log.
func (d *Device) logged(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if peer, ok := logPeer(line, "Added peer "); ok {
		d.seen.added(peer, time.Now())
	} else if peer, ok := logPeer(line, "Forgot peer "); ok {
		d.seen.gone(peer)
	} else if peer, ok := logPeer(line, "Closing connection to "); ok {
		d.seen.gone(peer)
	}
	d.log.Debug("vpncloud says", "line", underlay.Redact(line, d.config.Network))
}

func (d *Device) readStats() {
	if d.memory == "" {
		return
	}
	path := filepath.Join(d.memory, statsFile)
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	if s, ok := parseStats(b); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.seen.count(s, info.ModTime())
	}
}

// unmapped is how vpncloud prints addresses, and how they are compared here.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
