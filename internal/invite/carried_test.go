package invite

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/croc"
	"github.com/pressenter/pressenter/internal/roster"
)

// newCarrier builds pressenter-croc and starts its relay on loopback.
func newCarrier(t *testing.T) croc.Carrier {
	t.Helper()
	c := croc.Carrier{Bin: filepath.Join(t.TempDir(), "pressenter-croc")}
	if out, err := exec.Command("go", "build", "-C", "../../croc", "-o", c.Bin).CombinedOutput(); err != nil {
		t.Skipf("pressenter-croc cannot be built here: %v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- c.ServeRelay(ctx, "127.0.0.1:0", func(a string) { ready <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case c.Relay = <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return c
}

// carry runs both sides with a carrier of their own, the host once the operator's side can be found.
func (w *world) carry(t *testing.T, c croc.Carrier) (inviter, joiner Phases, inviteErr, joinErr error) {
	t.Helper()
	waits := make(chan struct{})
	w.inviter.Carrier, w.joiner.Carrier = c, c
	c.Waiting = sync.OnceFunc(func() { close(waits) })
	w.inviter.Carrier = c
	done := make(chan struct{})
	go func() {
		defer close(done)
		inviter, inviteErr = w.inviter.Run(t.Context())
	}()
	select {
	case <-waits:
		joiner, joinErr = w.joiner.Run(t.Context())
	case <-done:
	}
	<-done
	w.check(t, inviteErr, joinErr)
	return inviter, joiner, inviteErr, joinErr
}

// The whole enrolment with the real programs: nothing but what the two sides are told is shared.
func TestCarried(t *testing.T) {
	c := newCarrier(t)
	w := newWorld(t, roster.MeshWireGuard)
	code, err := c.NewCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.inviter.Code, w.joiner.Code = code, code
	inviter, joiner, inviteErr, joinErr := w.carry(t, c)
	if inviteErr != nil || joinErr != nil {
		t.Error(inviteErr, joinErr)
	}
	t.Logf("joiner %+v, in all %v", joiner, joiner.Total().Round(time.Millisecond))
	t.Logf("inviter %+v", inviter)
}

func TestCarriedWrongCode(t *testing.T) {
	c := newCarrier(t)
	w := newWorld(t, roster.MeshWireGuard)
	w.joiner.Code = "4321-alpha-bravo-delta"
	_, _, inviteErr, joinErr := w.carry(t, c)
	for _, err := range []error{inviteErr, joinErr} {
		if !errors.Is(err, ErrSpent) || !errors.Is(err, croc.ErrWrongCode) {
			t.Errorf("wrong code: %v", err)
		}
	}
}

// The answer can be as large as an invite carries.
func TestCarriedLargeLog(t *testing.T) {
	c := newCarrier(t)
	w := newWorld(t, roster.MeshWireGuard)
	size := 0
	for {
		w.head = roster.Next(w.head)
		w.sign(t)
		if size += len(roster.EncodeEnvelope(w.envelopes[len(w.envelopes)-1])); size > MaxAdmission-8<<10 {
			break
		}
	}
	_, _, inviteErr, joinErr := w.carry(t, c)
	if inviteErr != nil || joinErr != nil || len(w.stored) != len(w.envelopes) {
		t.Errorf("%v; %v; %d generations stored of %d", inviteErr, joinErr, len(w.stored), len(w.envelopes))
	}
	t.Logf("%d generations, %d bytes", len(w.stored), size)
}
