package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
)

// contest is one contender: two hosts on a link of their own, and the daemons that join them.
type contest struct {
	name string
	ends [2]*host
}

// host is one end.
type host struct {
	space   *netlab.Namespace
	outside netip.Addr
	inside  netip.Addr // what the tunnel reaches
	daemon  int        // its pid; 0 where there is none
}

// device is each end's interface on the link.
const device = "eth0"

// newContest makes the hosts and the link, and no daemons yet.
func newContest(r *rig, lab *netlab.Lab, name string) *contest {
	t := &contest{name: name}
	for i := range t.ends {
		t.ends[i] = &host{
			space:   lab.Namespace(fmt.Sprintf("%s%d", name, i)),
			outside: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}),
		}
	}
	a, b := t.ends[0].space, t.ends[1].space
	lab.Link(a, device, b, device)
	for i, e := range t.ends {
		e.inside = e.outside
		ip(r, e.space, "addr", "add", e.outside.String()+"/24", "dev", device)
		// Each end's way out is the other: some daemons want a default route.
		ip(r, e.space, "route", "add", "default", "via", t.ends[1-i].outside.String())
	}
	return t
}

func ip(r *rig, n *netlab.Namespace, args ...string) {
	out, err := exec.Command("ip", append([]string{"-n", n.Name}, args...)...).CombinedOutput()
	if err != nil {
		r.must(fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out))
	}
}

// stopLimit is how long a daemon may take to end before it is killed.
const stopLimit = 5 * time.Second

// start runs a daemon of this host until the rig is cleaned up.
func (h *host) start(r *rig, cmd *exec.Cmd) {
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaint, &complaint
	r.must(cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	r.Cleanup(func() {
		select {
		case <-ended:
			const tail = 2000
			text := complaint.String()
			fmt.Fprintf(progress, "%s ended early: %s\n", cmd, text[max(0, len(text)-tail):])
			return
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopLimit):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	h.daemon = cmd.Process.Pid
}

// command is a daemon of this host; it ends with the rig, not before.
func (h *host) command(name string, args ...string) *exec.Cmd {
	return h.space.Command(context.Background(), name, args...)
}

// readyLimit is when a tunnel that carries nothing is given up.
const readyLimit = 30 * time.Second

// ready waits until the tunnel carries packets.
func (t *contest) ready(ctx context.Context) error {
	once, cancel := context.WithCancel(ctx)
	cancel()
	for limit := time.Now().Add(readyLimit); ctx.Err() == nil && time.Now().Before(limit); {
		p := t.ends[0].space.Knock(once, netip.AddrPortFrom(t.ends[1].inside, port), netlab.PingOptions{Every: time.Second})
		if p.Lost() == 0 {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: nothing comes through the tunnel", t.name)
}
