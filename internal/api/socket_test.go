package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// serveIn answers on the socket in dir until the test ends.
func serveIn(t *testing.T, dir string, h http.Handler) {
	t.Helper()
	l, err := ListenIn(dir, SocketName)
	must(t, err)
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// deep is a folder whose socket's path is longer than a kernel takes.
func deep(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 12))
	must(t, os.MkdirAll(dir, 0o700))
	return dir
}

func TestSocket(t *testing.T) {
	for name, dir := range map[string]string{"short": t.TempDir(), "long": deep(t)} {
		t.Run(name, func(t *testing.T) {
			if name == "long" {
				if _, done, err := shortPath(dir, SocketName); err != nil {
					t.Skip("not on this system:", err)
				} else {
					done()
				}
			}
			for range 2 { // the second finds the socket that the first left behind
				serveIn(t, dir, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_ = json.NewEncoder(w).Encode(HostStatus{Name: "validator"})
				}))
				c := Dial("validator", dir)
				s, err := c.Status(t.Context())
				c.Close()
				if err != nil || s.Name != "validator" {
					t.Fatalf("%+v, %v", s, err)
				}
			}
			info, err := os.Stat(filepath.Join(dir, SocketName))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("socket: %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	for name, dir := range map[string]string{"no socket": t.TempDir(), "no folder": filepath.Join(t.TempDir(), "none"), "stale": stale(t)} {
		c := Dial("s1", dir)
		_, err := c.Status(t.Context())
		var away *Unreachable
		if !errors.As(err, &away) || away.Host != "s1" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func stale(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := ListenIn(dir, SocketName)
	must(t, err)
	must(t, l.Close())
	return dir
}

// Only its owner and root may ask an agent, whatever became of the folder's mode.
func TestTrusted(t *testing.T) {
	for uid, want := range map[uint32]bool{0: true, 1000: true, 1001: false, ^uint32(0): false} {
		if got := trusted(uid, 1000); got != want {
			t.Errorf("uid %d asks an agent of 1000: %v", uid, got)
		}
	}
}

func TestPeer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer l.Close()
	c, err := net.Dial("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer c.Close()
	a, err := l.Accept()
	must(t, err)
	defer a.Close()
	uid, err := peerUID(a.(*net.UnixConn))
	if err != nil || int(uid) != unix.Getuid() {
		t.Errorf("peer is %d, %v", uid, err)
	}
}

// A stranger's connection is closed, and the next one is served.
func TestStrangerIsTurnedAway(t *testing.T) {
	dir := t.TempDir()
	inner, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	uids := make(chan uint32, 2)
	uids <- 4242
	uids <- 1000
	l := &guarded{Listener: inner, owner: 1000, peer: func(*net.UnixConn) (uint32, error) { return <-uids, nil }}
	defer l.Close()
	stranger, err := net.Dial("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer stranger.Close()
	friend, err := net.Dial("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer friend.Close()
	conn, err := l.Accept()
	must(t, err)
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := friend.Read(make([]byte, 1)); n != 1 {
		t.Errorf("the friend got %d bytes, %v", n, err)
	}
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the stranger got %d bytes, %v", n, err)
	}
}

func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	var answer http.HandlerFunc
	serveIn(t, dir, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	c := Dial("s1", dir)
	defer c.Close()

	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(Problem{Code: "conflict", Error: "somebody was first"})
	}
	var refused *Error
	if _, err := c.Publish(t.Context(), PublishRequest{}); !errors.As(err, &refused) || refused.Code != "conflict" || refused.Host != "s1" {
		t.Errorf("problem: %v", err)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>")
	}
	if _, err := c.Status(t.Context()); !errors.As(err, &refused) || !strings.Contains(err.Error(), "502") {
		t.Errorf("no problem in it: %v", err)
	}
	for name, body := range map[string]string{"empty": "", "cut": `{"name":"s1"`, "no JSON": "ok"} {
		answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
		if s, err := c.Status(t.Context()); err == nil {
			t.Errorf("%s answer: taken for %+v", name, s)
		}
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }
	must(t, c.InstallGenesis(t.Context(), []byte("{}")))
}

func TestEnrollRequestValid(t *testing.T) {
	good := EnrollRequest{
		Name: "validator", Deployment: "hub", Role: "validator", ChainID: "hub-1", Moniker: "node", Daemon: "gaiad", Binary: "/x/gaiad",
		BinaryHash: strings.Repeat("0", 64), Listen: Listen{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"},
	}
	must(t, good.Valid())
	for name, spoil := range map[string]func(*EnrollRequest){
		"name with a path":    func(r *EnrollRequest) { r.Name = "../x" },
		"no name":             func(r *EnrollRequest) { r.Name = "" },
		"name with a newline": func(r *EnrollRequest) { r.Name = "a\n" },
		"flag as moniker":     func(r *EnrollRequest) { r.Moniker = "--home" },
		"flag as chain id":    func(r *EnrollRequest) { r.ChainID = "-x" },
		"chain id newline":    func(r *EnrollRequest) { r.ChainID = "x\n" },
		"daemon path":         func(r *EnrollRequest) { r.Daemon = "a/b" },
		"daemon parent":       func(r *EnrollRequest) { r.Daemon = ".." },
		"daemon root":         func(r *EnrollRequest) { r.Daemon = "/" },
		"daemon flag":         func(r *EnrollRequest) { r.Daemon = "-x" },
		"daemon with NUL":     func(r *EnrollRequest) { r.Daemon = "a\x00b" },
		"no daemon":           func(r *EnrollRequest) { r.Daemon = "" },
		"relative binary":     func(r *EnrollRequest) { r.Binary = "gaiad" },
		"short hash":          func(r *EnrollRequest) { r.BinaryHash = "00" },
		"upper-case hash":     func(r *EnrollRequest) { r.BinaryHash = strings.Repeat("A", 64) },
		"no port":             func(r *EnrollRequest) { r.Listen.P2P = "127.0.0.1" },
		"address with quotes": func(r *EnrollRequest) { r.Listen.RPC = "\"x\":1" },
		"unknown role":        func(r *EnrollRequest) { r.Role = "cosigner" },
		"no role":             func(r *EnrollRequest) { r.Role = "" },
	} {
		r := good
		spoil(&r)
		if r.Valid() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Who does not answer is named: a host has an agent and a mesh process, and a socket of each.
func TestUnreachableNamesWhom(t *testing.T) {
	dir := t.TempDir()
	for want, c := range map[string]*Client{`reach agent of "s1"`: Dial("s1", dir), `reach mesh process of "s1"`: DialMesh("s1", dir)} {
		_, err := c.Rosters(t.Context())
		var away *Unreachable
		if !errors.As(err, &away) || away.Host != "s1" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		given, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Rosters(given); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "mesh process") != strings.Contains(want, "mesh process") {
			t.Errorf("given up: %v", err)
		}
	}
}
