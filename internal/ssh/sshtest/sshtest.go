// Package sshtest is an SSH server for tests: in the test's own process, on a loopback port, cheap enough for many at once.
//
// A command runs in a real /bin/sh in a folder of its own, so scripts meet a real shell and real files. The server can be
// told to misbehave at each step, as [Server] says. It stands for OpenSSH where that is slow or cannot be made to fail;
// tests of what OpenSSH itself does run OpenSSH.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A Step is where a server hangs or drops the connection.
type Step string

// The steps, in their order.
const (
	AtVersion      Step = "version"      // before it says anything
	AtKeyExchange  Step = "key exchange" // after the versions
	AtAuthenticate Step = "authenticate" // when the first key is offered
	AtSession      Step = "session"      // when a session is opened
	AtCommand      Step = "command"      // when a command is to start
)

// Options make a server. The zero value lets in any user with [Server.ClientKey].
type Options struct {
	User        string          // the only one who is let in; empty for any
	Authorized  []ssh.PublicKey // let in besides ClientKey
	HostKeys    []ssh.Signer    // instead of one of its own
	Banner      string
	Methods     []string // "password" and "keyboard-interactive" besides or without "publickey"; nil is publickey alone
	Second      bool     // wants keyboard-interactive after the right key
	MaxAuth     int      // tries, as MaxAuthTries; 0 is 6
	HangAt      Step     // says nothing more from there
	DropAt      Step     // closes the connection there
	DropFirst   int      // drops only so many connections at DropAt, then behaves
	Says        string   // says this in place of an SSH version, and nothing more
	MaxSessions int      // at a time on one connection; 0 is 10
	Forward     bool     // is a bastion
	Sudo        string   // how sudo is: "" as on this computer, "ok", "password", "none"; id says 1000 unless ""
	Path        string   // folders to look for programs in, before the others
	// Stand takes the place of the shell: it gets the line, and returns the status that it ends with.
	Stand func(line string, in io.Reader, out io.Writer) (status uint32)
}

// Server is a running server. It ends with its test.
type Server struct {
	Options
	// Addr is host:port on loopback.
	Addr string
	// Dir is the home of whoever logs in, and TMPDIR.
	Dir string
	// ClientKey is a file with a private key that is let in.
	ClientKey string

	t        testing.TB
	listener net.Listener
	config   *ssh.ServerConfig
	frozen   chan struct{} // closed by Freeze
	freeze   sync.Once
	over     chan struct{}

	mu       sync.Mutex
	conns    map[net.Conn]bool
	accepted int
	commands []string
	running  int
	wait     sync.WaitGroup
}

// Start starts a server and makes all that it needs.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{
		Options: o, t: t, Dir: t.TempDir(), conns: map[net.Conn]bool{},
		frozen: make(chan struct{}), over: make(chan struct{}),
	}
	var signer ssh.Signer
	s.ClientKey, signer = WriteKey(t, t.TempDir(), "id_client", "")
	s.Authorized = append(s.Authorized, signer.PublicKey())
	if len(s.HostKeys) == 0 {
		s.HostKeys = []ssh.Signer{NewKey(t)}
	}
	if s.MaxSessions == 0 {
		s.MaxSessions = 10
	}
	s.config = s.serverConfig()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.Addr = listener, listener.Addr().String()
	s.wait.Go(s.serve)
	t.Cleanup(s.Close)
	return s
}

// Close ends the server, its connections and the commands on them.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.over:
	default:
		close(s.over)
	}
	s.mu.Unlock()
	s.listener.Close()
	s.Drop()
	s.wait.Wait()
}

// Drop cuts all connections, as a network does that is lost and says so.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Freeze makes the server answer nothing more on any connection, as one whose power is off.
func (s *Server) Freeze() { s.freeze.Do(func() { close(s.frozen) }) }

// Port is the port of Addr.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Accepted is how many connections were made.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Commands are the lines that were run, as they came.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// Running is how many commands run now.
func (s *Server) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// HostKey is the first of the server's keys, as in known_hosts.
func (s *Server) HostKey() ssh.PublicKey { return s.HostKeys[0].PublicKey() }

// NewKey makes an ed25519 key.
func NewKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// WriteKey makes an ed25519 key and writes it to dir/name, encrypted if there is a passphrase, and to name.pub.
func WriteKey(t testing.TB, dir, name, passphrase string) (path string, signer ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, name, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	for file, data := range map[string][]byte{path: pem.EncodeToMemory(block), path + ".pub": ssh.MarshalAuthorizedKey(signer.PublicKey())} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, signer
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepted++
		drop := s.DropAt != "" && (s.DropFirst == 0 || s.accepted <= s.DropFirst)
		s.conns[conn] = true
		select {
		case <-s.over: // came in between
			conn.Close()
		default:
		}
		s.mu.Unlock()
		s.wait.Go(func() {
			defer func() {
				conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			}()
			(&visit{Server: s, conn: conn, drop: drop}).serve()
		})
	}
}

// visit is one connection.
type visit struct {
	*Server
	conn     net.Conn
	drop     bool
	sessions int
}

var errDropped = errors.New("dropped by the test")

// at misbehaves at a step, if that is wanted.
func (v *visit) at(step Step) error {
	if v.HangAt == step {
		<-v.over
		return errDropped
	}
	if v.DropAt == step && v.drop {
		v.conn.Close()
		return errDropped
	}
	return nil
}

func (v *visit) serve() {
	if v.at(AtVersion) != nil {
		return
	}
	if v.Says != "" {
		v.conn.Write([]byte(v.Says))
		v.conn.Read(make([]byte, 1024))
		return
	}
	config := *v.config
	public := config.PublicKeyCallback
	if public != nil {
		config.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if err := v.at(AtAuthenticate); err != nil {
				return nil, err
			}
			return public(m, key)
		}
	}
	c, channels, requests, err := ssh.NewServerConn(&line{Conn: v.conn, visit: v}, &config)
	if err != nil {
		return
	}
	defer c.Close()
	v.wait.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			v.session(ch)
		case "direct-tcpip":
			v.wait.Go(func() { v.forward(ch) })
		default:
			ch.Reject(ssh.UnknownChannelType, "no "+ch.ChannelType())
		}
	}
}

// line is the wire: it hangs when the server is frozen, or after the versions.
type line struct {
	net.Conn
	visit  *visit
	writes int
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	select {
	case <-l.visit.frozen:
		<-l.visit.over
	default:
	}
	return n, err
}

func (l *line) Write(p []byte) (int, error) {
	if l.writes++; l.writes > 1 { // the first is the version
		if err := l.visit.at(AtKeyExchange); err != nil {
			return 0, err
		}
	}
	select {
	case <-l.visit.frozen:
		<-l.visit.over
	default:
	}
	return l.Conn.Write(p)
}

func (s *Server) serverConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{MaxAuthTries: s.MaxAuth}
	for _, k := range s.HostKeys {
		c.AddHostKey(k)
	}
	if s.Banner != "" {
		c.BannerCallback = func(ssh.ConnMetadata) string { return s.Banner + "\n" }
	}
	methods := s.Methods
	if methods == nil {
		methods = []string{"publickey"}
	}
	ask := func(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		_, err := challenge("", "", []string{"Verification code: "}, []bool{true})
		return nil, errors.Join(errors.New("no code"), err)
	}
	for _, m := range methods {
		switch m {
		case "publickey":
			c.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
				if !s.authorized(m.User(), key) {
					return nil, errors.New("not authorized")
				}
				if s.Second {
					return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{KeyboardInteractiveCallback: ask}}
				}
				return nil, nil
			}
		case "password":
			c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("wrong") }
		case "keyboard-interactive":
			c.KeyboardInteractiveCallback = ask
		}
	}
	return c
}

func (s *Server) authorized(user string, key ssh.PublicKey) bool {
	for _, a := range s.Authorized {
		if bytes.Equal(a.Marshal(), key.Marshal()) {
			return s.User == "" || s.User == user
		}
	}
	return false
}
