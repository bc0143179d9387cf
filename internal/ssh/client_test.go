package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

func TestRun(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	for name, test := range map[string]struct {
		args            []string
		stdin           string
		out, errors     string
		status          int
		signal, message string
	}{
		"output":      {args: []string{"echo", "it's", "$HOME"}, out: "it's $HOME\n"},
		"input":       {args: []string{"cat"}, stdin: "hello", out: "hello"},
		"input twice": {args: []string{"head", "-c", "1"}, stdin: strings.Repeat("x", 1<<20), out: "x"},
		"fails": {
			args: []string{"sh", "-c", "echo out; echo sorry >&2; exit 3"}, out: "out\n", errors: "sorry\n", status: 3,
			message: `"sh -c echo out; echo sorry >&2; exit 3" ended with status 3: sorry`,
		},
		"is killed": {args: []string{"sh", "-c", "kill -TERM $$"}, signal: "TERM", message: `"sh -c kill -TERM $$" was ended by signal TERM`},
		"not there": {args: []string{"/nonexistent/x"}, status: 127},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := c.Run(t.Context(), Command{Args: test.args, Stdin: strings.NewReader(test.stdin), Stdout: &out, Stderr: &stderr})
			var exit *ExitError
			if ended := errors.As(err, &exit); ended != (test.status != 0 || test.signal != "") || err != nil && !ended {
				t.Fatalf("ended with %v", err)
			}
			if exit != nil && (exit.Status != test.status || exit.Signal != test.signal || test.message != "" && exit.Error() != test.message) {
				t.Errorf("ended with %+v: %v", *exit, exit)
			}
			if out.String() != test.out || test.errors != "" && stderr.String() != test.errors {
				t.Errorf("printed %q and %q", out.String(), stderr.String())
			}
		})
	}
}

// The context ends the command on the server.
func TestRunCancelled(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	ctx, cancel := context.WithCancel(t.Context())
	ended := filepath.Join(s.Dir, "ended")
	script := `trap 'echo yes >"$1.new"; mv "$1.new" "$1"; exit' TERM; echo ready; while :; do sleep 0.05; done`
	out := &signalling{seen: make(chan struct{})}
	go func() {
		<-out.seen
		cancel()
	}()
	if err := c.Run(ctx, Command{Args: []string{"sh", "-c", script, "sh", ended}, Stdout: out}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waitFor(t, func() bool { _, err := os.Stat(ended); return err == nil })
}

// signalling closes seen when something is written.
type signalling struct {
	once sync.Once
	seen chan struct{}
}

func (s *signalling) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.seen) })
	return len(p), nil
}

// waitFor looks until something is so; the test's own limit ends it.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	for ctx := t.Context(); !so(); {
		if ctx.Err() != nil {
			t.Fatal("never came")
		}
		time.Sleep(time.Millisecond)
	}
}

type broken struct{}

var errBroken = errors.New("broken on purpose")

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

// What a user's start-up files print is not the command's output; a login shell that lets nobody in is heard.
func TestBeginning(t *testing.T) {
	for _, pieces := range [][]string{
		{"\npressenter-pid 42\nout"},
		{"welcome\n", "\npressenter-", "pid 4", "2\no", "ut"},
		{"\npressenter-pid x\n\npressenter-pid 42\n", "out"},
	} {
		var out bytes.Buffer
		b := &beginning{w: &out}
		for _, p := range pieces {
			if n, err := io.WriteString(b, p); n != len(p) || err != nil {
				t.Errorf("%q: %d, %v", p, n, err)
			}
		}
		if out.String() != "out" || b.number() != "42" {
			t.Errorf("%q: %q of %q", pieces, out.String(), b.number())
		}
	}
	if _, err := (&beginning{}).Write(bytes.Repeat([]byte("y\n"), 1<<16)); err == nil {
		t.Error("takes a shell that prints without end")
	}
}

// A source or a sink that breaks ends the command: it would wait for ever.
func TestRunBrokenEnds(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	if err := c.Run(t.Context(), Command{Args: []string{"cat"}, Stdin: broken{}}); !errors.Is(err, errBroken) {
		t.Errorf("a broken source: %v", err)
	}
	if err := c.Run(t.Context(), Command{Args: []string{"sh", "-c", "while :; do echo more; done"}, Stdout: broken{}}); !errors.Is(err, errBroken) {
		t.Errorf("a broken sink: %v", err)
	}
}

func TestSessionFailures(t *testing.T) {
	for name, test := range map[string]struct {
		o    sshtest.Options
		want string
	}{
		"no session":     {sshtest.Options{MaxSessions: -1}, "open a session: ssh: rejected"},
		"session hangs":  {sshtest.Options{HangAt: sshtest.AtSession}, "it opened no session within 300ms"},
		"command hangs":  {sshtest.Options{HangAt: sshtest.AtCommand}, "\"true\" did not start within 300ms"},
		"command closes": {sshtest.Options{DropAt: sshtest.AtCommand}, "the server ended the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshtest.Start(t, test.o)
			d := dialer(t, s)
			if test.o.HangAt != "" {
				d.Limits.Session = silent
			}
			err := connect(t, d, target(s)).Run(t.Context(), Command{Args: []string{"true"}})
			var e *Error
			if !errors.As(err, &e) || e.Step != StepSession || e.Hint() == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q with a hint", err, test.want)
			}
		})
	}
}

// A server that is gone without a word is noticed, and all that runs there ends with the reason.
func TestDeadConnection(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	d.Limits.Silence = silent
	c := connect(t, d, target(s))
	out := &signalling{seen: make(chan struct{})}
	go func() {
		<-out.seen
		s.Freeze()
	}()
	err := c.Run(t.Context(), Command{Args: []string{"sh", "-c", "echo ready; exec cat"}, Stdin: neverEnds(t), Stdout: out})
	if err == nil || !strings.Contains(err.Error(), "the connection is dead: no answer within 300ms") {
		t.Errorf("%v", err)
	}
	<-c.Lost()
}

func neverEnds(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	return r
}

// More commands than the server lets at once wait for each other.
func TestManyCommands(t *testing.T) {
	for _, allowed := range []int{1, 3, 10} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			s := sshtest.Start(t, sshtest.Options{MaxSessions: allowed})
			c := connect(t, dialer(t, s), target(s))
			var wait sync.WaitGroup
			for i := range 30 {
				wait.Go(func() {
					var out bytes.Buffer
					err := c.Run(t.Context(), Command{Args: []string{"echo", fmt.Sprint(i)}, Stdout: &out})
					if err != nil || out.String() != fmt.Sprintln(i) {
						t.Errorf("%d: %q, %v", i, out.String(), err)
					}
				})
			}
			wait.Wait()
			if s.Accepted() != 1 {
				t.Errorf("%d connections", s.Accepted())
			}
		})
	}
}

func TestSudo(t *testing.T) {
	for name, want := range map[string]struct {
		privilege Privilege
		err, hint string
	}{
		"ok":       {Sudo, "", ""},
		"password": {SudoPassword, `sudo does not let user "deploy" without a password`, "deploy ALL=(ALL) NOPASSWD: ALL"},
		"none":     {NoSudo, "there is no sudo", "apt-get install sudo"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshtest.Start(t, sshtest.Options{Sudo: name})
			c := connect(t, dialer(t, s), target(s))
			if got, err := c.Privilege(t.Context()); err != nil || got != want.privilege {
				t.Errorf("%s, %v", got, err)
			}
			var out bytes.Buffer
			err := c.Run(t.Context(), Command{Args: []string{"id", "-u"}, Stdout: &out, Sudo: true})
			if want.err == "" {
				if err != nil || out.String() != "0\n" {
					t.Errorf("as %q, %v", out.String(), err)
				}
				return
			}
			var sudo *SudoError
			if !errors.As(err, &sudo) || !strings.Contains(err.Error(), want.err) || !strings.Contains(sudo.Hint(), want.hint) {
				t.Errorf("%v", err)
			}
		})
	}
}

// HTTP goes through a command as through a socket.
func TestStream(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	t.Run("echo", func(t *testing.T) {
		conn, err := c.Stream(t.Context(), []string{"cat"}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"one", "two"} {
			if _, err := io.WriteString(conn, word); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 3)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
				t.Errorf("%q came back as %q, %v", word, got, err)
			}
		}
		conn.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("ends badly", func(t *testing.T) {
		conn, err := c.Stream(t.Context(), []string{"sh", "-c", "echo hello; echo no agent >&2; exit 4"}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		var exit *ExitError
		if string(got) != "hello\n" || !errors.As(err, &exit) || exit.Status != 4 || exit.Stderr != "no agent" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("close ends the command", func(t *testing.T) {
		conn, err := c.Stream(t.Context(), []string{"sh", "-c", `trap 'echo >"$0"; exit' TERM; echo r; while :; do sleep 0.05; done`, filepath.Join(s.Dir, "closed")}, false)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(conn, make([]byte, 2))
		conn.Close()
		waitFor(t, func() bool { _, err := os.Stat(filepath.Join(s.Dir, "closed")); return err == nil })
	})
	t.Run("http", func(t *testing.T) {
		respond := "while read -r l; do if [ \"$l\" = \"$(printf '\\r')\" ]; then printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'; fi; done"
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.Stream(ctx, []string{"sh", "-c", respond}, false)
		}}}
		defer client.CloseIdleConnections()
		for range 3 {
			r, err := client.Get("http://agent/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || string(body) != "ok" {
				t.Errorf("%q, %v", body, err)
			}
		}
	})
}

func TestShell(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	var out bytes.Buffer
	in, typing := io.Pipe()
	sizes := make(chan Size)
	go func() {
		sizes <- Size{Columns: 120, Rows: 50}
		waitFor(t, func() bool {
			size, _ := os.ReadFile(filepath.Join(s.Dir, "terminal-size"))
			return string(size) == "120x50"
		})
		io.WriteString(typing, "echo typed; exit 5\n") // and the terminal stays open
	}()
	err := c.Shell(t.Context(), Terminal{Stdin: in, Stdout: &out, Size: Size{80, 24}, Resized: sizes})
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 5 || out.String() != "typed\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	typing.Close()
}

func TestClosedClient(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	c.Close()
	if err := c.Run(t.Context(), Command{Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "the connection is closed") {
		t.Errorf("%v", err)
	}
}

// Fifty servers at once are cheap.
func TestFiftyServers(t *testing.T) {
	var wait sync.WaitGroup
	for range 50 {
		s := sshtest.Start(t, sshtest.Options{})
		d := dialer(t, s)
		wait.Go(func() {
			c, err := d.Dial(t.Context(), target(s))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			var out bytes.Buffer
			if err := c.Run(t.Context(), Command{Args: []string{"pwd"}, Stdout: &out}); err != nil {
				t.Error(err)
			}
			if d := cmp.Diff(s.Dir+"\n", out.String()); d != "" {
				t.Error(d)
			}
		})
	}
	wait.Wait()
}
