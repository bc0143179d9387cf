package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/vishvananda/netlink"
)

func TestWatchUnderlay(t *testing.T) {
	p := newLAN(t).host(1)
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- p.do(func() error { return WatchUnderlay(ctx, func() { changed <- struct{}{} }) })
	}()
	next := byte(1)
	move := func() {
		t.Helper()
		next++
		if err := p.do(func() error { return attach("eth0", netip.AddrFrom4([4]byte{198, 51, 100, next})) }); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it watches", func() bool {
		move()
		return len(changed) > 0
	})
	if err := p.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(l)
	}); err != nil {
		t.Fatal(err)
	}
	for range len(changed) {
		<-changed
	}
	eventually(t, "it goes on", func() bool {
		move()
		return len(changed) > 0
	})
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	waitForGoroutines(t, before)
}

func TestUnderlayIsWithoutTunnels(t *testing.T) {
	l := newLAN(t)
	p := l.host(1)
	look := func() (seen string) {
		t.Helper()
		if err := p.do(func() (err error) {
			seen, err = snapshot(&netlink.Handle{})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return seen
	}
	if err := p.do(func() error { return giveAddress("eth0", netip.MustParseAddr("2001:db8::1")) }); err != nil {
		t.Fatal(err)
	}
	var before string
	eventually(t, "eth0 settles", func() bool {
		last := before
		before = look()
		return last == before
	})
	e := l.opener(TUN)(t, 1, nil)
	_, key := newKey(t)
	setPeers(t, e, tunnel.Peer{Key: key, Address: meshAddress(2)})
	if err := e.SetSegment(meshAddress(2), 1300); err != nil {
		t.Fatal(err)
	}
	if after := look(); after != before {
		t.Errorf("our own tunnel is underlay. Before:\n%s\nafter:\n%s", before, after)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var now, calls atomic.Int64
		ended := make(chan error)
		look := func() (string, error) { return fmt.Sprint(now.Load()), nil }
		go func() { ended <- poll(ctx, look, func() { calls.Add(1) }) }()
		time.Sleep(3*lookEvery + 1)
		now.Store(1)
		time.Sleep(3 * lookEvery)
		if n := calls.Load(); n != 1 {
			t.Errorf("told %d times of one change", n)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	if a, err := addresses(); err != nil || a == "" {
		t.Errorf("this computer has addresses %q, %v", a, err)
	}
}
