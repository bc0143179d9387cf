package supervisor

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStartWaitsForAPeer(t *testing.T) {
	g := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	g.spec(Spec{Peers: []Peer{{NodeID: "p1", Address: address, Name: "sentry-1"}}})
	g.supervise()
	g.report("waiting", func(r Report) bool { return r.Phase == WaitingForPeers })
	if n, _ := g.starts(); n != 0 {
		t.Errorf("%d starts before a peer listens", n)
	}
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer func() { _ = l.Close() }()
	go greet(l)
	g.running()
}

// A dial into a tunnel that is not up yet hangs. The next one, through the tunnel that is, does not wait for it.
func TestStartWaitsForNoProbeThatHangs(t *testing.T) {
	g := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	waited := make(chan bool, 1)
	go func() {
		first, err := l.Accept() // nobody speaks there
		if err != nil {
			return
		}
		ended := make(chan struct{})
		go func() { _, _ = first.Read(make([]byte, 1)); close(ended) }()
		second, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case <-ended:
			waited <- true
		default:
			waited <- false
		}
		_, _ = second.Write([]byte{0x22})
		greet(l)
	}()
	g.spec(Spec{Peers: []Peer{{NodeID: "p1", Address: l.Addr().String(), Name: "sentry-1"}}})
	g.supervise()
	g.running()
	if <-waited {
		t.Error("the second probe waited until the first had ended")
	}
}

// Before a chain's genesis time nobody listens.
func TestStartBeforeGenesisTimeWaitsForNobody(t *testing.T) {
	for name, c := range map[string]struct {
		genesis string
		later   bool
	}{
		"later":   {`{"app_state":{"n":1e400},"genesis_time":"2100-01-01T00:00:00Z"}`, true},
		"begun":   {`{"genesis_time":"2020-01-01T00:00:00Z"}`, false},
		"no time": {`{}`, false},
		"torn":    {`{"genesis_time":"2100-01-01T00:00:00Z"`, false},
		"large":   {`{"x":"` + strings.Repeat("x", smallGenesis) + `","genesis_time":"2100-01-01T00:00:00Z"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			file := filepath.Join(g.dir, HomeDir, "config", "genesis.json")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(c.genesis), 0o600)); err != nil {
				t.Fatal(err)
			}
			g.spec(Spec{Peers: []Peer{{NodeID: "p1", Address: "127.0.0.1:1", Name: "sentry-1"}}})
			g.supervise()
			if c.later {
				g.running()
				return
			}
			g.report("waiting", func(r Report) bool { return r.Phase == WaitingForPeers })
		})
	}
}

// A port that leads into a mesh accepts, and hangs up when nobody is behind it.
func TestAPortIsNoPeer(t *testing.T) {
	empty, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = empty.Close() }()
	go func() {
		for conn, err := empty.Accept(); err == nil; conn, err = empty.Accept() {
			_ = conn.Close()
		}
	}()
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	go greet(node)
	peers := []Peer{{NodeID: "nobody", Address: empty.Addr().String()}, {NodeID: "node", Address: node.Addr().String()}}
	if got := listening(t.Context(), peers, len(peers)); len(got) != 1 || !got["node"] {
		t.Errorf("peers that listen: %v, want only the node", got)
	}
}

// greet does what a node does first with everybody who connects.
func greet(l net.Listener) {
	for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
		_, _ = conn.Write([]byte{0x22})
	}
}
