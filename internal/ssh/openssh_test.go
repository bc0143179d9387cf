package ssh

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

// sshd is OpenSSH's server as a child of the test.
type sshd struct {
	port int
	dir  string
	key  string // file of the client's private key
	log  string
}

// startSSHD starts OpenSSH on a loopback port, with keys and a config of its own and some more lines.
func startSSHD(t *testing.T, lines ...string) *sshd {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("no /usr/sbin/sshd: install openssh-server")
	}
	if os.Getuid() == 0 {
		// sshd wants this folder, which its unit makes.
		if err := os.Mkdir("/run/sshd", 0o755); err == nil {
			t.Cleanup(func() { os.Remove("/run/sshd") })
		}
	}
	dir := t.TempDir()
	s := &sshd{dir: dir, port: freePort(t), log: filepath.Join(dir, "log")}
	var public ssh.Signer
	s.key, public = sshtest.WriteKey(t, dir, "client", "")
	writeFile(t, filepath.Join(dir, "authorized_keys"), string(ssh.MarshalAuthorizedKey(public.PublicKey())))
	config := []string{
		fmt.Sprintf("Port %d", s.port), "ListenAddress 127.0.0.1", "PidFile none", "StrictModes no", "UsePAM no",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
	}
	host, _ := sshtest.WriteKey(t, dir, "host_ed25519", "")
	config = append(config, "HostKey "+host)
	file := writeFile(t, filepath.Join(dir, "sshd_config"), strings.Join(append(lines, config...), "\n")+"\n")
	cmd := exec.Command(program, "-D", "-f", file, "-E", s.log)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(s.log)
			t.Logf("sshd: %s", log)
		}
	})
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *sshd) dialer(t *testing.T) (*Dialer, Target) {
	home := t.TempDir()
	return &Dialer{
		home: home, Pins: filepath.Join(home, "pins"), ConfigFile: NoFile, Agent: NoFile, Identities: []string{s.key},
		OnFirstContact: func(context.Context, Contact) error { return nil },
	}, Target{User: localUser(), Host: "127.0.0.1", Port: s.port}
}

// All of it works with OpenSSH, not only with our own server.
func TestOpenSSH(t *testing.T) {
	s := startSSHD(t)
	d, to := s.dialer(t)
	c := connect(t, d, to)
	t.Run("run", func(t *testing.T) {
		var out bytes.Buffer
		err := c.Run(t.Context(), Command{Args: []string{"sh", "-c", "cat; echo \"$1\"; echo bad >&2; exit 9", "sh", "it's"}, Stdin: strings.NewReader("in\n"), Stdout: &out})
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Status != 9 || exit.Stderr != "bad" || out.String() != "in\nit's\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	t.Run("cancel ends it", func(t *testing.T) {
		ended := filepath.Join(s.dir, "ended")
		ctx, cancel := context.WithCancel(t.Context())
		out := &signalling{seen: make(chan struct{})}
		go func() {
			<-out.seen
			cancel()
		}()
		// A shell says on its output that a child of it was ended; nobody takes that any more.
		script := `exec 2>/dev/null; trap 'echo >"$1"; exit' TERM; echo ready; while :; do sleep 0.05; done`
		if err := c.Run(ctx, Command{Args: []string{"sh", "-c", script, "sh", ended}, Stdout: out}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		waitFor(t, func() bool { _, err := os.Stat(ended); return err == nil })
	})
	t.Run("push", func(t *testing.T) {
		data := noise(5 << 20)
		f := fileOf(data, filepath.Join(s.dir, "pushed", "program"))
		if err := c.Push(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		checkPushed(t, f.Path, data)
	})
	t.Run("more than MaxSessions", func(t *testing.T) {
		var wait sync.WaitGroup
		for range 25 {
			wait.Go(func() {
				if err := c.Run(t.Context(), Command{Args: []string{"sleep", "0.01"}}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	})
	t.Run("shell", func(t *testing.T) {
		var out bytes.Buffer
		err := c.Shell(t.Context(), Terminal{
			Stdin: strings.NewReader("stty size; exit 3\n"), Stdout: &out, Size: Size{Columns: 101, Rows: 37},
		})
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Status != 3 || !strings.Contains(out.String(), "37 101") {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
}

func TestOpenSSHLetsFewerSessions(t *testing.T) {
	s := startSSHD(t, "MaxSessions 2")
	d, to := s.dialer(t)
	c := connect(t, d, to)
	var wait sync.WaitGroup
	for range 12 {
		wait.Go(func() {
			if err := c.Run(t.Context(), Command{Args: []string{"true"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

// Whichever of its keys is pinned, OpenSSH shows that one.
func TestOpenSSHHostKeys(t *testing.T) {
	dir := t.TempDir()
	var lines []string
	var keys []ssh.PublicKey
	for name, private := range map[string]crypto.Signer{"ecdsa": newECDSA(t), "rsa": newRSA(t)} {
		block, err := ssh.MarshalPrivateKey(private, name)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, "HostKey "+writeFile(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block))))
		keys = append(keys, signerOf(t, private).PublicKey())
	}
	s := startSSHD(t, lines...)
	key, err := readPublic(filepath.Join(s.dir, "host_ed25519.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range append(keys, key) {
		d, to := s.dialer(t)
		d.OnFirstContact = nil
		if err := pin(d.Pins, pinNames("", "127.0.0.1", s.port, false), key); err != nil {
			t.Fatal(err)
		}
		connect(t, d, to)
	}
}

// What OpenSSH says when it refuses is understood.
func TestOpenSSHRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		lines  []string
		change func(t *testing.T, s *sshd, d *Dialer, to *Target)
		want   string
		hint   string
	}{
		"no such user": {nil, func(_ *testing.T, _ *sshd, _ *Dialer, to *Target) { to.User = "nobody-of-that-name" }, "accepts none of the keys", "right user"},
		"too many keys": {[]string{"MaxAuthTries 2"}, func(t *testing.T, _ *sshd, d *Dialer, _ *Target) {
			var files []string
			for i := range 4 {
				file, _ := sshtest.WriteKey(t, t.TempDir(), fmt.Sprint("k", i), "")
				files = append(files, file)
			}
			d.Identities = append(files, d.Identities...)
		}, "Too many authentication failures", "IdentitiesOnly yes"},
		"no forwarding": {[]string{"AllowTcpForwarding no"}, func(_ *testing.T, s *sshd, d *Dialer, to *Target) {
			d.Jump = []Target{*to}
			to.Port = 1
		}, "the bastion before it forwards no connections", "AllowTcpForwarding yes"},
		"nothing behind the bastion": {nil, func(t *testing.T, s *sshd, d *Dialer, to *Target) {
			d.Jump = []Target{*to}
			to.Port = freePort(t)
		}, "nothing listens on port", "does the machine still boot"},
		"second factor":      {[]string{"AuthenticationMethods publickey,password", "PasswordAuthentication yes"}, nil, "the server wants password as well", "one-time codes"},
		"passwords only":     {[]string{"PubkeyAuthentication no", "PasswordAuthentication yes"}, nil, "the server accepts: password", "takes no keys"},
		"one cipher we lack": {[]string{"Ciphers aes256-cbc"}, nil, "in common; the server offers only aes256-cbc", "sshd_config too narrow"},
		"no session at all":  {[]string{"MaxSessions 0"}, nil, "open a session", "MaxSessions"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSSHD(t, test.lines...)
			d, to := s.dialer(t)
			if test.change != nil {
				test.change(t, s, d, &to)
			}
			c, err := d.Dial(t.Context(), to)
			if err == nil {
				err = c.Run(t.Context(), Command{Args: []string{"true"}})
				c.Close()
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || !strings.Contains(e.Hint(), test.hint) {
				t.Errorf("%v\nwant %q, with a hint with %q", err, test.want, test.hint)
			}
		})
	}
}

// The way leads through two OpenSSH servers.
func TestOpenSSHBastion(t *testing.T) {
	s, bastion := startSSHD(t), startSSHD(t)
	d, to := s.dialer(t)
	d.Identities = append(d.Identities, bastion.key)
	d.Jump = []Target{{User: to.User, Host: "127.0.0.1", Port: bastion.port}}
	if err := connect(t, d, to).Run(t.Context(), Command{Args: []string{"true"}}); err != nil {
		t.Error(err)
	}
}
