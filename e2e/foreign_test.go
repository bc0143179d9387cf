package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/node"
)

// TestForeign does to a network what others on the same computer do: take its ports, copy it, delete it.
func TestForeign(t *testing.T) {
	need(t)
	t.Parallel()
	n := newNetwork(t, "net")
	t.Run("port taken before the first start", func(t *testing.T) { portTakenBefore(t, n) })
	n.guard(t)
	t.Run("port taken while stopped", func(t *testing.T) { portTakenWhileStopped(t, n) })
	t.Run("copied", func(t *testing.T) { copied(t, n) })
	t.Run("deleted", func(t *testing.T) { deleted(t, n) })
}

func portTakenBefore(t *testing.T, n *network) {
	var pass []string
	for _, p := range n.points(t) {
		if strings.Contains(p, "PublishRoster") {
			break
		}
		pass = append(pass, p)
	}
	n.crash(t, pass) // everything is there and nothing has been started
	release := n.take(t, "s1", n.host(t, "s1").Listen.P2P)
	n.does(t, "apply", "--yes") // one sentry is enough
	n.findsPort(t, "s1", n.host(t, "s1").Listen.P2P)
	n.signs(t)
	release()
	n.isHidden(t, "s1", "s2")
}

func portTakenWhileStopped(t *testing.T, n *network) {
	n.does(t, "stop", "validator")
	rpc := n.host(t, "validator").Listen.RPC
	release := n.take(t, "validator", rpc)
	n.does(t, "start", "validator")
	n.findsPort(t, "validator", rpc)
	release()
	n.signs(t)
	n.allKnown(t)
}

// take listens on an address of a host.
func (n *network) take(t *testing.T, host, address string) (release func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("take a port of %s: %v", host, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return func() { _ = l.Close() }
}

// findsPort waits until status says which port is taken, and by whom.
func (n *network) findsPort(t *testing.T, host, address string) {
	t.Helper()
	port := fmt.Sprint(node.Port(address))
	eventually(t, "a finding about the port "+port, func() error {
		all, err := n.status(t.Context())
		if err != nil {
			return err
		}
		for _, f := range all[host].Findings {
			if f.Code == "port-in-use" && strings.Contains(f.Message, port) && strings.Contains(f.Message, fmt.Sprint(os.Getpid())) {
				return nil
			}
		}
		return fmt.Errorf("the findings are %v", all[host].Findings)
	})
	if s := n.runs(t, "status"); !s.has(port) {
		t.Errorf("status does not name the port %s:\n%v", port, s)
	}
}

// copied: a copy of the folder has the consensus key of a validator that runs. Whatever one does with it, no node
// starts in it.
func copied(t *testing.T, n *network) {
	c := folderFor(t, filepath.Join(n.base, "copy"), "net")
	if out, err := exec.Command("cp", "-a", n.dir+"/.", c.dir).CombinedOutput(); err != nil {
		t.Logf("files came and went while it was copied: %s", out)
	}
	watched, stop := context.WithCancel(t.Context())
	var started []running
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for watched.Err() == nil {
			for _, r := range under(c.base) {
				if r.kind() == daemons {
					started = append(started, r)
				}
			}
			<-tick.C
		}
	}()
	if s := c.runs(t, "apply", "--yes"); !s.has("this folder was copied") {
		t.Errorf("it does not say that this is a copy:\n%v", s)
	}
	for _, args := range [][]string{{"start"}, {"start", "validator"}} {
		if s := c.refuses(t, []string{"does not start: this folder is a copy of a host"}, args...); s.has("validator started") {
			t.Errorf("it says that it started what does not start:\n%v", s)
		}
	}
	if s := c.runs(t, "status"); !s.has("this folder is a copy of a host") {
		t.Errorf("it does not say that this is a copy:\n%v", s)
	}
	n.signs(t)
	stop()
	<-done
	if len(started) > 0 {
		t.Errorf("nodes were started in the copy: %v", started)
	}
	if left := killUnder(c.base); len(left) > 0 {
		t.Errorf("could not end %v", left)
	}
	n.noChanges(t)
	n.allKnown(t)
	n.honest(t)
}

// deleted: when the folder is gone, nothing may go on that nobody can see.
func deleted(t *testing.T, n *network) {
	if err := os.RemoveAll(n.dir); err != nil {
		t.Logf("a first attempt: %v", err) // something was just being written
	}
	eventually(t, "every process to end", func() error {
		if err := os.RemoveAll(n.dir); err != nil {
			return err
		}
		if left := under(n.base); len(left) > 0 {
			return fmt.Errorf("these go on: %v", left)
		}
		return nil
	})
}
