package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"testing"
	"time"
)

// newRelay starts a relay on a port of loopback.
func newRelay(t *testing.T, r *Relay) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func newCode(t *testing.T) string {
	t.Helper()
	code, err := NewCode()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestTransfer(t *testing.T) {
	relay := newRelay(t, &Relay{})
	for _, size := range []int{1, piece - 1, piece, piece + 1, 3<<20 + 7} {
		for _, receiverFirst := range []bool{false, true} {
			payload := make([]byte, size)
			rand.Read(payload)
			tr := Transfer{Relay: relay, Code: newCode(t), Wait: time.Minute, Limit: time.Minute}
			sent, waits := make(chan error, 1), make(chan struct{})
			send := func(waiting func()) { sent <- Send(t.Context(), tr, "", payload, waiting) }
			var got []byte
			var err error
			if receiverFirst {
				got, err = Receive(t.Context(), tr, size, func() { go send(nil) })
			} else {
				go send(func() { close(waits) })
				<-waits
				got, err = Receive(t.Context(), tr, size, nil)
			}
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes, receiver first %v: received %d, error %v", size, receiverFirst, len(got), err)
			}
			if err := <-sent; err != nil {
				t.Errorf("%d bytes, receiver first %v: send: %v", size, receiverFirst, err)
			}
		}
	}
}
