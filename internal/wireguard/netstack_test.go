package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOpenSaysWhy(t *testing.T) {
	e := openEnd(t, place{loopback, here}, Config{Address: meshAddress(1), Listen: netip.AddrPortFrom(loopback, 0)})
	if e.Backend() != Netstack || e.ListenPort() == 0 || e.MTU() != netstackMTU || e.Address() != meshAddress(1) {
		t.Errorf("without an interface name it opened %s, port %d, MTU %d", e.Backend(), e.ListenPort(), e.MTU())
	}
	t.Logf("reason: %s", e.Reason())
	if !strings.Contains(e.Reason(), "kernel") {
		t.Errorf("reason %q does not say what is missing", e.Reason())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	a, b := onLoopback(t, 1, nil), onLoopback(t, 2, nil)
	setPeers(t, a, b.peer(b.at()))
	setPeers(t, b, a.peer(a.at()))
	client, _ := connect(t, a, b)
	l, err := a.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	u, err := a.ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 4)
	go func() { _, err := l.Accept(); ended <- fmt.Errorf("accept: %w", err) }()
	go func() { _, _, err := u.ReadFrom(make([]byte, 10)); ended <- fmt.Errorf("receive: %w", err) }()
	go func() { _, err := client.Read(make([]byte, 10)); ended <- fmt.Errorf("read: %w", err) }()
	go func() {
		_, err := a.DialTCP(context.Background(), netip.AddrPortFrom(meshAddress(9), 1))
		ended <- fmt.Errorf("dial: %w", err)
	}()
	runtime.Gosched()
	if err := errors.Join(a.Close(), a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		select {
		case err := <-ended:
			t.Log(err)
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("want net.ErrClosed after Close: %v", err)
			}
		case <-time.After(limit):
			t.Fatal("something goes on after Close")
		}
	}
	for name, f := range map[string]func() error{
		"SetPeers":    func() error { return a.SetPeers(nil) },
		"SetEndpoint": func() error { return a.SetEndpoint(b.key, b.at()) },
		"Reset":       func() error { return a.Reset(b.key) },
		"Rekey":       func() error { return a.Rekey(b.private) },
		"Peers":       func() error { _, err := a.Peers(); return err },
		"SetSegment":  func() error { return a.SetSegment(b.Address(), 0) },
		"DialTCP":     func() error { _, err := a.DialTCP(t.Context(), netip.AddrPortFrom(b.Address(), 1)); return err },
	} {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
		}
	}
	waitForGoroutines(t, before)
}

// waitForGoroutines waits until there are no more goroutines than before.
func waitForGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(limit); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
	}
}

func TestSocketsKeepTheUsualPromises(t *testing.T) {
	a, b := pair(t, onLoopback)
	client, server := connect(t, a, b)
	past := time.Now().Add(-time.Second)
	if err := client.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %v", err)
	}
	u := udpPort(t, a)
	if err := u.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("receive after the deadline: %v", err)
	}
	if err := u.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	l, err := a.ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { _, err := l.Accept(); ended <- err }()
	go func() { _, _, err := u.ReadFrom(make([]byte, 1)); ended <- err }()
	if err := errors.Join(l.Close(), l.Close(), u.Close()); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after closing: %v, want net.ErrClosed", err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the other side closed: %v, want EOF", err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after closing: %v, want net.ErrClosed", err)
	}
}

// What a peer that does not read, or that says more than is read, makes us hold is bounded for each connection, on both ends.
func TestWhatAConnectionHolds(t *testing.T) {
	a, b := pair(t, onLoopback)
	for name, turn := range map[string]func(c, s net.Conn) net.Conn{
		"it does not read": func(_, s net.Conn) net.Conn { return s },
		"nobody reads it":  func(c, _ net.Conn) net.Conn { return c },
	} {
		writer := turn(connect(t, a, b))
		held, chunk := 0, make([]byte, 16<<10)
		for { // until nothing more is taken for a while
			if err := writer.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := writer.Write(chunk)
			held += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %d KiB are on their way", name, held>>10)
		if most := mostSent + mostReceived + 2*len(chunk); held > most || held < usualBuffer {
			t.Errorf("%s: %d bytes are held, want %d at most", name, held, most)
		}
	}
}

// BenchmarkNetstack prints what one connection carries between two ends of this process.
func BenchmarkNetstack(b *testing.B) {
	x, y := pair(b, onLoopback)
	c, s := connect(b, x, y)
	go func() { _, _ = io.Copy(io.Discard, s) }()
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := c.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}
