package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// sockets is what a relay's UDP sockets lead to.
type sockets struct {
	mu     sync.Mutex
	opened []netip.AddrPort
	got    map[netip.AddrPort]int
	answer map[netip.AddrPort]bool // who answers each handshake
}

// open returns a socket on which nothing gets lost.
func (f *sockets) open(to netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = append(f.opened, to)
	go func() {
		defer far.Close()
		buf := make([]byte, MaxDatagram)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
			f.mu.Lock()
			f.got[to]++
			answer := f.answer[to] && buf[0] == initiation
			f.mu.Unlock()
			if answer {
				_, _ = far.Write(message(response, ""))
			}
		}
	}()
	return near, nil
}

func (f *sockets) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.opened)
}

// relayed is a server that does not listen, one member with a link, and the server's sockets.
func relayed(t *testing.T, names ...string) (*world, *Server, *client, *sockets) {
	w := newWorld(t, append(names, "s1", "v1")...)
	for i, n := range names {
		w.change(n, func(m *roster.Member) { m.Mesh.Endpoint = fmt.Sprintf("%s.example:%d", n, i+1) })
	}
	s := w.server("s1")
	f := &sockets{got: map[netip.AddrPort]int{}, answer: map[netip.AddrPort]bool{}}
	s.open = f.open
	s.resolve = func(_ context.Context, hostport string) ([]netip.AddrPort, error) {
		return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[2001:db8::1]:1")}, nil
	}
	return w, s, s.admit(t.Context(), w.member("v1").Mesh.TLS), f
}

func TestSessionEndsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, c, f := relayed(t, "s2")
		for range 100 {
			s.deliver(t.Context(), c, identity("s2"), message(transport, ""))
			time.Sleep(idle - 1)
		}
		if n := f.count(); n != 1 || s.Stats().Sessions != 1 {
			t.Errorf("%d sockets were opened for one session in use", n)
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if n := s.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions after %v without traffic", n, idle)
		}
		s.deliver(t.Context(), c, identity("s2"), message(transport, ""))
		synctest.Wait()
		if n := f.count(); n != 2 {
			t.Errorf("%d sockets were opened, want a second one", n)
		}
		s.forget(c)
		time.Sleep(idle)
		s.running.Wait()
	})
}

func TestSessionsOfAMemberAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range maxSessions + 10 {
			names = append(names, fmt.Sprintf("s%d", i+2))
		}
		_, s, c, f := relayed(t, names...)
		for range 2 {
			for _, n := range names {
				s.deliver(t.Context(), c, identity(n), message(transport, ""))
				synctest.Wait()
			}
		}
		if st := s.Stats(); st.Sessions != maxSessions || st.Overrun != 20 || f.count() != maxSessions {
			t.Errorf("%+v with %d sockets, want %d sessions", st, f.count(), maxSessions)
		}
		time.Sleep(idle)
		s.running.Wait()
		if st := s.Stats(); st.Sessions != 0 {
			t.Errorf("%+v, want no session", st)
		}
		s.forget(c)
	})
}

// TestSilentWayIsLookedUpAnew has a member whose first address answers nothing.
func TestSilentWayIsLookedUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, c, f := relayed(t, "s2")
		second := netip.MustParseAddrPort("[2001:db8::1]:1")
		f.answer[second] = true
		start := time.Now()
		for f.got[second] == 0 { // WireGuard repeats a handshake after five seconds
			s.deliver(t.Context(), c, identity("s2"), message(initiation, ""))
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		if d := time.Since(start); d > unanswered+6*time.Second+5*time.Second {
			t.Errorf("another address was tried after %v", d)
		}
		<-c.out // the answer
		for range 100 {
			s.deliver(t.Context(), c, identity("s2"), message(initiation, ""))
			s.deliver(t.Context(), c, identity("s2"), message(transport, ""))
			synctest.Wait()
			<-c.out
			time.Sleep(time.Minute)
		}
		if n := f.count(); n != 2 {
			t.Errorf("%d sockets were opened, want 2: a way that answers is kept", n)
		}
		s.forget(c)
		time.Sleep(idle)
		s.running.Wait()
	})
}

// TestNameIsNotFound keeps asking once a second, and remembers nothing of what it could not send.
func TestNameIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, c, f := relayed(t, "s2")
		asked := 0
		s.resolve = func(context.Context, string) ([]netip.AddrPort, error) {
			if asked++; asked <= 10 {
				return nil, errors.New("no such host")
			}
			return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")}, nil
		}
		for range 1000 {
			s.deliver(t.Context(), c, identity("s2"), message(transport, ""))
		}
		time.Sleep(holdOff * 10)
		synctest.Wait()
		if st := s.Stats(); st.Unreachable+st.Overrun < 1000-waiting || asked != 11 || f.count() != 1 {
			t.Errorf("%+v after %d look-ups and %d sockets", st, asked, f.count())
		}
		s.Cut()
		if n := s.Stats().Sessions; n != 1 {
			t.Errorf("%d sessions, want the one that was", n)
		}
		s.forget(c)
		time.Sleep(idle)
		s.running.Wait()
	})
}

// TestMemberLeavesWhileItIsLetIn changes the roster between the two looks at it.
func TestMemberLeavesWhileItIsLetIn(t *testing.T) {
	w := newWorld(t, "s1", "v1")
	s := w.server("s1")
	var once sync.Once
	s.Member = func(k roster.Key) (roster.Member, bool) {
		m, ok := w.byTLS(k)
		once.Do(func() {
			w.remove("v1")
			s.Cut()
		})
		return m, ok
	}
	if c := s.admit(t.Context(), w.member("v1").Mesh.TLS); c != nil || s.Members() != 0 {
		t.Error("a member that left was let in")
	}
}

// TestShimsExpire ends ways that nobody asked for when they are idle, and no others.
func TestShimsExpire(t *testing.T) {
	w := newWorld(t, "s1", "s2", "s3", "v1")
	w.serve(t, "s1", w.server("s1"))
	v, tunnel := w.client(t, "v1")
	open(t, v, w.member("s1"), w.member("s2"))
	s3 := w.dialAs(t, "s3", "s1")
	s3.send("v1", message(transport, "hello"))
	receive(t, tunnel)
	for _, k := range []string{"s2", "s3"} {
		v.mu.Lock()
		x := v.shims[identity(k)]
		v.mu.Unlock()
		v.expire(x)
	}
	if u, n := v.inUse(); u != 1 || n != 1 {
		t.Errorf("%d links and %d ways, want 1 and 1", u, n)
	}
}

// A member that floods another one through a relay takes neither all of the room nor all of the bandwidth.
func TestFloodLeavesRoomForOthers(t *testing.T) {
	for name, read := range map[string]bool{"a member that is slow": false, "a member that reads": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s, c, _ := relayed(t, "s2", "s3")
				flood, honest := message(transport, strings.Repeat("x", 1400)), message(transport, "hello")
				for before := uint64(0); s.counts.overrun.Load() == 0 || before != s.counts.delivered.Load(); {
					before = s.counts.delivered.Load()
					s.pass(c, identity("s2"), flood)
					for read && len(c.out) > 0 {
						(<-c.out).leave()
					}
				}
				before := s.counts.delivered.Load()
				s.pass(c, identity("s3"), honest)
				if s.counts.delivered.Load() != before+1 {
					t.Error("who floods a member keeps others out")
				}
			})
		})
	}
}
