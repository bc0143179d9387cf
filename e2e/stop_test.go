package e2e

import (
	"context"
	"fmt"
	"testing"
)

// TestStopStays: what a person stopped stays stopped, whoever would like to repair it.
func TestStopStays(t *testing.T) {
	n := upAndSigning(t)
	for _, c := range []struct {
		what string
		do   func(*testing.T, *network)
	}{
		{"stop one", stopOne},
		{"hold", holdOne},
		{"stop all", stopAll},
	} {
		if !t.Run(c.what, func(t *testing.T) { c.do(t, n) }) {
			return
		}
	}
	n.noChanges(t)
	n.honest(t)
}

func stopOne(t *testing.T, n *network) {
	n.does(t, "stop", "validator")
	n.isDown(t, "validator")
	n.kill(t, "validator", agents)
	if s := n.does(t, "apply", "--yes"); !s.has("note:", "stopped by", "pressenter start") {
		t.Errorf("apply does not say that the validator was stopped:\n%v", s)
	}
	n.the(t, agents, "validator")
	n.staysDown(t, "validator")
	n.allKnown(t)
	n.does(t, "start", "validator")
	n.signs(t)
}

func holdOne(t *testing.T, n *network) {
	n.does(t, "hold", "validator")
	n.signs(t) // a hold stops nothing
	n.kill(t, "validator", supervisors, daemons)
	n.staysDown(t, "validator")
	if s := n.does(t, "apply", "--yes"); !s.has("note:", "held by") {
		t.Errorf("apply does not say that the validator is held:\n%v", s)
	}
	n.staysDown(t, "validator")
	n.does(t, "hold", "--release", "validator")
	n.signs(t)
}

func stopAll(t *testing.T, n *network) {
	n.does(t, "stop")
	if left := under(n.base); len(left) > 0 {
		t.Fatalf("these go on: %v", left)
	}
	n.does(t, "start")
	n.signs(t)
	n.allKnown(t)
	n.isHidden(t, "s1", "s2")
}

// isDown checks that a host runs no node.
func (n *network) isDown(t *testing.T, host string) {
	t.Helper()
	if err := n.down(host); err != nil {
		t.Fatal(err)
	}
}

func (n *network) down(host string) error {
	for _, kind := range []string{supervisors, daemons} {
		if left := n.all(kind, host); len(left) > 0 {
			return fmt.Errorf("it runs: %v", left)
		}
	}
	return nil
}

// staysDown looks for as long as the world makes some blocks.
func (n *network) staysDown(t *testing.T, host string) {
	t.Helper()
	until := n.height(t) + 4
	eventually(t, fmt.Sprintf("block %d", until), func() error {
		n.isDown(t, host)
		b, err := n.block(context.Background(), 0)
		if err == nil && int64(b.Header.Height) < until {
			return fmt.Errorf("the world is at height %d", b.Header.Height)
		}
		return err
	})
}
