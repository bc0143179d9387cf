package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

func TestLinkStaysAliveByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a, b := newLink(t.Context()), newLink(t.Context())
		ended := make(chan error, 2)
		nothing := func(_ roster.Key, datagram []byte) {
			if len(datagram) > 0 {
				t.Errorf("%d bytes came from nowhere", len(datagram))
			}
		}
		go func() { ended <- a.run(near, near, nothing) }()
		go func() { ended <- b.run(far, far, nothing) }()
		select {
		case err := <-ended:
			t.Errorf("an idle link ended: %v", err)
		case <-time.After(24 * time.Hour):
		}
		a.close()
		for range 2 { // the other end notices
			if err := <-ended; err == nil {
				t.Error("a link ended without a reason")
			}
		}
	})
}

func TestSilentLinkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }() // takes all and says nothing
		start := time.Now()
		err := newLink(t.Context()).run(near, near, func(roster.Key, []byte) {})
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != silence {
			t.Errorf("ended after %v with %v, want %v", time.Since(start), err, silence)
		}
	})
}

// TestSlowReader sends a gigabyte to an end that takes nothing: only a queue of it is kept, and the link ends although
// the other end goes on saying that it is alive.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := newLink(t.Context())
		ended := make(chan error)
		go func() { ended <- l.run(near, near, func(roster.Key, []byte) {}) }()
		go func() {
			for {
				if _, err := far.Write(encode(roster.Key{}, nil)); err != nil {
					return
				}
				time.Sleep(keepalive)
			}
		}()
		synctest.Wait()
		datagram, taken := make([]byte, MaxDatagram), 0
		before := heap()
		for range 1 << 30 / MaxDatagram {
			if l.send(roster.Key{}, datagram) {
				taken++
			}
		}
		if taken != queued {
			t.Errorf("%d datagrams were taken, want %d", taken, queued)
		}
		if grown := int64(heap()) - int64(before); grown > 4*queued*MaxDatagram {
			t.Errorf("memory grew by %d bytes", grown)
		}
		start := time.Now()
		<-ended
		if time.Since(start) > silence {
			t.Errorf("ended after %v, want at most %v", time.Since(start), silence)
		}
		if l.send(roster.Key{}, datagram) {
			t.Error("a link that ended takes datagrams")
		}
		far.Close()
		time.Sleep(keepalive) // for the other end to notice
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestBandwidthOfAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "s1", "s2", "v1")
		s := w.server("s1")
		s.Bandwidth = 8 * 10_000_000
		from, to := s.admit(t.Context(), w.member("v1").Mesh.TLS), s.admit(t.Context(), w.member("s2").Mesh.TLS)
		go func() { // a destination that takes all
			for to.ctx.Err() == nil {
				select {
				case f := <-to.out:
					f.leave()
				case <-to.ctx.Done():
				}
			}
		}()
		const seconds, rate = 5, 10_000_000
		datagram := message(transport, string(make([]byte, 1000-32)))
		for range seconds * 1000 { // ten times as much is sent
			for range 100 {
				s.deliver(t.Context(), from, to.member.Identity, datagram)
				synctest.Wait()
			}
			time.Sleep(time.Millisecond)
		}
		if got := s.Stats().Delivered * 1000; got < seconds*rate || got > seconds*rate+rate/8 {
			t.Errorf("%d bytes passed in %d s, want %d a second and a burst", got, seconds, rate)
		}
		s.forget(from)
		s.forget(to)
	})
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a admission
		from := func(ip string) *fakeConn { return &fakeConn{remote: &net.TCPAddr{IP: net.ParseIP(ip)}} }
		enter := func(ip string) (*fakeConn, bool) {
			c := from(ip)
			ok := a.enter(c)
			if ok {
				a.leave(c)
			}
			return c, ok
		}
		for i := range int(handshakeBurst) + 1 {
			if _, ok := enter("192.0.2.1"); ok != (i < handshakeBurst) {
				t.Errorf("handshake %d from one address: %v", i, ok)
			}
			if _, ok := enter("2001:db8::1:" + string("0123456789abcdefghijk"[i%16])); ok != (i < handshakeBurst) {
				t.Errorf("handshake %d from one network: %v", i, ok)
			}
		}
		if _, ok := enter("192.0.2.2"); !ok {
			t.Error("another address was refused")
		}
		time.Sleep(time.Second)
		for i := range int(handshakeRate) + 1 {
			if _, ok := enter("192.0.2.1"); ok != (i < handshakeRate) {
				t.Errorf("handshake %d a second later: %v", i, ok)
			}
		}

		var pending []*fakeConn
		for i := range maxPending + 1 {
			c := from(net.IPv4(198, 51, 100, byte(i)).String())
			if !a.enter(c) {
				t.Fatalf("handshake %d was refused", i)
			}
			pending = append(pending, c)
		}
		for i, c := range pending {
			if c.closed != (i == 0) {
				t.Errorf("handshake %d closed: %v", i, c.closed)
			}
			a.leave(c)
		}
		if len(a.pending) != 0 {
			t.Errorf("%d handshakes are left", len(a.pending))
		}
		for i := range 2 * maxAddresses {
			enter(net.IPv4(10, 0, byte(i>>8), byte(i)).String())
		}
		if len(a.limits) > maxAddresses {
			t.Errorf("%d addresses are remembered", len(a.limits))
		}
	})
}

// fakeConn is a connection of which only the ends matter.
type fakeConn struct {
	net.Conn
	remote net.Addr
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.remote }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

// TestSlowHandshakeEnds connects and says nothing, which costs the relay five seconds and no more.
func TestSlowHandshakeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "s1")
		s := w.server("s1")
		l := &fakeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.Serve(ctx, l) }()
		near, far := net.Pipe()
		l.conns <- near
		start := time.Now()
		if _, err := far.Read(make([]byte, 1)); err == nil || time.Since(start) != handshakeTimeout {
			t.Errorf("ended after %v with %v, want %v", time.Since(start), err, handshakeTimeout)
		}
		near, far = net.Pipe()
		l.conns <- near
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("a handshake outlives the server")
		}
	})
}

type fakeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{} }
