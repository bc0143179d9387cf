package meshrun

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// take holds a port that something else wants, until the returned function is called.
func take(t *testing.T, at string) func() {
	t.Helper()
	l, err := net.Listen("tcp", at)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); { // somebody's connection may have it for a moment
		time.Sleep(50 * time.Millisecond)
		l, err = net.Listen("tcp", at)
	}
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return func() { _ = l.Close() }
}

// noted waits until a host's status has a note with these words, or none if want is false.
func (l *lab) noted(host, words string, want bool) {
	l.t.Helper()
	l.wait(fmt.Sprintf("a note %q of %s: %v", words, host, want), func() error {
		st, err := l.hosts[host].status()
		if has := slices.ContainsFunc(st.Notes, func(n string) bool { return strings.Contains(n, words) }); err == nil && has != want {
			err = fmt.Errorf("notes %q", st.Notes)
		}
		return err
	})
}

// A port that somebody else has costs what goes through it and nothing more, and is taken as soon as it is free.
func TestPortsThatAreTaken(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	v, s1 := l.hosts["validator"], l.hosts["s1"]
	v.stop()
	s1.stop()
	free := []func(){take(t, v.spec.Forwards[0].Listen), take(t, s1.spec.Relay)}
	v.run()
	s1.run()
	l.whole("validator", "s1", "s2")
	l.reach("s2")
	l.noted("validator", v.spec.Forwards[0].Listen, true)
	l.noted("s1", s1.spec.Relay, true)
	for _, f := range free {
		f()
	}
	l.reach("s1")
	l.noted("validator", v.spec.Forwards[0].Listen, false)
	l.noted("s1", s1.spec.Relay, false)
	l.wait("s1's relay", func() error {
		conn, err := net.Dial("tcp", s1.spec.Relay)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// The key in use is what the process uses, whatever becomes of its file, which it brings back.
func TestKeyInUseOutlivesItsFile(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	s1 := l.hosts["s1"]
	must(t, os.Remove(filepath.Join(s1.dir, Folder, TunnelKey)))
	if st, err := s1.status(); err != nil || st.Key != tunnel.Key(s1.keys.Tunnel).String() {
		t.Errorf("it says that it uses %s, not %s (%v)", st.Key, tunnel.Key(s1.keys.Tunnel), err)
	}
	l.wait("the key's file", func() error {
		_, err := os.Stat(filepath.Join(s1.dir, Folder, TunnelKey))
		return err
	})
	if keys, err := BearKeys(s1.dir, roster.MeshWireGuard); err != nil || keys.Tunnel != s1.keys.Tunnel {
		t.Errorf("the file holds another key: %v", err)
	}
	s1.stop()
	must(t, os.Remove(filepath.Join(s1.dir, Folder, TunnelKey)))
	_, err := BearKeys(s1.dir, roster.MeshWireGuard)
	must(t, err)
	s1.run()
	l.noted("s1", "is not the one in the roster", true)
}

// A crash may come after the roster that puts the next key into use was kept, and before the key was changed.
func TestKeyIsTakenAtStart(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	s1 := l.hosts["s1"]
	s1.stop()
	keys, err := BearNext(s1.dir, roster.MeshWireGuard)
	must(t, err)
	for _, m := range []roster.Mesh{{Key: keys.Tunnel, Next: keys.Next}, {Key: keys.Next, Next: keys.Tunnel}} {
		next := roster.Next(l.head)
		for i := range next.Members {
			if next.Members[i].Name == "s1" {
				next.Members[i].Mesh.Key, next.Members[i].Mesh.Next = m.Key, m.Next
			}
		}
		l.publish(next)
	}
	kept, err := rosterdir.Open(filepath.Join(s1.dir, Folder, "rosters"))
	must(t, err)
	must(t, kept.Learn(l.envelopes))
	l.envelopes = nil // nobody tells it anything
	s1.run()
	l.wait("s1 to use its next key", func() error {
		st, err := s1.status()
		if err == nil && st.Key != tunnel.Key(keys.Next).String() {
			err = fmt.Errorf("it uses %s", st.Key)
		}
		return err
	})
}

// Without its lock nobody sees a process, and another would be started beside it.
func TestProcessEndsWithoutItsLock(t *testing.T) {
	l := newLab(t)
	s1 := l.hosts["s1"]
	s1.stop()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- (&Process{Dir: s1.dir, Logger: slog.New(slog.DiscardHandler)}).Run(ctx) }()
	s1.tell()
	must(t, os.Remove(filepath.Join(s1.dir, LockFile)))
	if err := <-done; err == nil || !strings.Contains(err.Error(), LockFile) {
		t.Errorf("it ended with %v", err)
	}
	s1.run()
	l.whole("validator", "s1", "s2")
}

// While somebody has the tunnel's UDP port the process stays, says who has it, keeps rosters, and opens the tunnel once the
// port is free.
func TestTunnelPortIsTaken(t *testing.T) {
	l := newLab(t)
	l.whole("validator", "s1", "s2")
	s1 := l.hosts["s1"]
	s1.stop()
	squatter, err := net.ListenPacket("udp", s1.spec.Listen)
	must(t, err)
	defer squatter.Close()

	s1.run()
	port := s1.spec.Listen[strings.LastIndexByte(s1.spec.Listen, ':')+1:]
	l.noted("s1", "UDP port "+port+" is taken", true)
	if runtime.GOOS == "linux" {
		l.noted("s1", fmt.Sprintf("process %d", os.Getpid()), true)
	}
	l.publish(roster.Next(l.head))
	s1.tell()
	if st, err := s1.status(); err != nil || st.Generation != l.head.Generation || len(st.Heads) != 1 || len(st.Peers) != 0 || st.Learned {
		t.Errorf("status %+v, %v", st, err)
	}
	must(t, squatter.Close())
	l.whole("validator", "s1", "s2")
	l.noted("s1", "is taken", false)
	l.reach("s1")
}
