package ssh

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// dialer reaches a server as a new user would: with its key, an empty home and no agent. It takes any new host key.
func dialer(t *testing.T, s *sshtest.Server) *Dialer {
	t.Helper()
	home := t.TempDir()
	return &Dialer{
		home: home, Pins: filepath.Join(home, "pins"), ConfigFile: filepath.Join(home, ".ssh/config"), Agent: NoFile,
		Identities:     []string{s.ClientKey},
		OnFirstContact: func(context.Context, Contact) error { return nil },
	}
}

func target(s *sshtest.Server) Target {
	return Target{User: "deploy", Host: "127.0.0.1", Port: s.Port()}
}

// connect dials and closes the client with the test.
func connect(t *testing.T, d *Dialer, to Target) *Client {
	t.Helper()
	c, err := d.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// silent is a limit for what never comes: long enough for what does on a busy machine would be too long for a test.
const silent = 300 * time.Millisecond

// failures are the ways in which a login fails. What a person reads about each is in testdata/failures.txt.
var failures = []struct {
	name   string
	server sshtest.Options
	change func(t *testing.T, s *sshtest.Server, d *Dialer, to *Target)
	again  bool // tried again
}{
	{name: "name without address", change: func(_ *testing.T, _ *sshtest.Server, _ *Dialer, to *Target) { to.Host, to.Port = "sentry.invalid", 22 }},
	{name: "connection refused", change: func(_ *testing.T, s *sshtest.Server, _ *Dialer, _ *Target) { s.Close() }, again: true},
	{name: "says nothing", server: sshtest.Options{HangAt: sshtest.AtVersion}, again: true},
	{name: "closes at once", server: sshtest.Options{DropAt: sshtest.AtVersion}, again: true},
	{name: "another service", server: sshtest.Options{Says: "HTTP/1.1 400 Bad Request\r\n\r\n"}},
	{name: "hangs in key exchange", server: sshtest.Options{HangAt: sshtest.AtKeyExchange}},
	{name: "closes in key exchange", server: sshtest.Options{DropAt: sshtest.AtKeyExchange}, again: true},
	{name: "hangs at login", server: sshtest.Options{HangAt: sshtest.AtAuthenticate}},
	{name: "closes at login", server: sshtest.Options{DropAt: sshtest.AtAuthenticate}},
	{name: "unknown host", change: func(_ *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) { d.OnFirstContact = nil }},
	{name: "unknown host, refused", change: func(_ *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		d.OnFirstContact = func(context.Context, Contact) error { return errors.New("the console shows another fingerprint") }
	}},
	{name: "changed host key", change: func(t *testing.T, s *sshtest.Server, d *Dialer, to *Target) {
		to.Name = "s1"
		if err := pin(d.Pins, []string{"s1", knownName(s)}, sshtest.NewKey(t).PublicKey()); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "wrong user", server: sshtest.Options{User: "debian"}},
	{name: "wrong keys", server: sshtest.Options{Banner: "Authorized use only"}, change: func(t *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		d.Identities = nil
		for _, name := range []string{"id_ed25519", "id_ecdsa"} {
			os.MkdirAll(d.sshDir(""), 0o700)
			sshtest.WriteKey(t, d.sshDir(""), name, "")
		}
	}},
	{name: "no keys", change: func(t *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		t.Setenv("SSH_AUTH_SOCK", "")
		d.Identities, d.Agent = nil, ""
	}},
	{name: "key file is missing", change: func(_ *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		d.Identities = []string{d.sshDir("lost")}
	}},
	{name: "password only", server: sshtest.Options{Methods: []string{"password", "keyboard-interactive"}}},
	{name: "second factor", server: sshtest.Options{Second: true}},
	{name: "too many keys", server: sshtest.Options{MaxAuth: 2}, change: func(t *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		var files []string
		for i := range 4 {
			file, _ := sshtest.WriteKey(t, t.TempDir(), fmt.Sprint("k", i), "")
			files = append(files, file)
		}
		d.Identities = append(files, d.Identities...)
	}},
	{name: "locked key, nobody to ask", change: locked},
	{name: "locked key, wrong passphrase", change: func(t *testing.T, s *sshtest.Server, d *Dialer, to *Target) {
		locked(t, s, d, to)
		d.Prompt = func(context.Context, string) ([]byte, error) { return []byte("wrong"), nil }
	}},
	{name: "agent is gone", change: func(_ *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		d.Identities, d.Agent = nil, d.sshDir("agent.sock")
	}},
	{name: "proxy command", change: func(t *testing.T, _ *sshtest.Server, d *Dialer, _ *Target) {
		writeFile(t, d.ConfigFile, "Host *\n  ProxyCommand nc %h %p\n")
	}},
	{name: "bastion forbids", change: func(t *testing.T, s *sshtest.Server, d *Dialer, _ *Target) { through(t, s, d, sshtest.Options{}) }},
	{name: "bastion reaches nothing", again: true, change: func(t *testing.T, s *sshtest.Server, d *Dialer, _ *Target) {
		through(t, s, d, sshtest.Options{Forward: true})
		s.Close()
	}},
	{name: "bastion lets nobody in", change: func(t *testing.T, s *sshtest.Server, d *Dialer, _ *Target) {
		through(t, s, d, sshtest.Options{Forward: true, User: "somebody"})
	}},
}

func knownName(s *sshtest.Server) string { return pinNames("", "127.0.0.1", s.Port(), false)[0] }

// locked puts the right key in a file with a passphrase.
func locked(t *testing.T, s *sshtest.Server, d *Dialer, _ *Target) {
	file, signer := sshtest.WriteKey(t, t.TempDir(), "locked", "secret")
	s.Authorized = append(s.Authorized, signer.PublicKey())
	d.Identities = []string{file}
}

// through puts a bastion before a server.
func through(t *testing.T, s *sshtest.Server, d *Dialer, o sshtest.Options) *sshtest.Server {
	t.Helper()
	key, err := os.ReadFile(s.ClientKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(key)
	if err != nil {
		t.Fatal(err)
	}
	o.Authorized = append(o.Authorized, public)
	b := sshtest.Start(t, o)
	d.Jump = append(d.Jump, Target{User: "jump", Host: "127.0.0.1", Port: b.Port()})
	return b
}

// What goes wrong is said in words: the step, the host, the keys and what to try next.
func TestFailures(t *testing.T) {
	var all strings.Builder
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			s := sshtest.Start(t, f.server)
			d, to := dialer(t, s), target(s)
			if f.server.HangAt != "" {
				limits := map[sshtest.Step]*time.Duration{
					sshtest.AtVersion: &d.Limits.Version, sshtest.AtKeyExchange: &d.Limits.KeyExchange,
					sshtest.AtAuthenticate: &d.Limits.Authenticate,
				}
				*limits[f.server.HangAt] = silent
			}
			if f.change != nil {
				f.change(t, s, d, &to)
			}
			_, err := d.Dial(t.Context(), to)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no Error", err)
			}
			if e.Temporary() != f.again {
				t.Errorf("tried again: %v", e.Temporary())
			}
			fmt.Fprintf(&all, "== %s\nerror: %v\nhint: %s\n", f.name, e, e.Hint())
		})
	}
	got := all.String()
	for _, c := range []struct{ pattern, with string }{
		{`SHA256:[A-Za-z0-9+/]{43}`, "SHA256:…"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`\[127\.0\.0\.1\]:\d+`, "[127.0.0.1]:PORT"},
		{`port \d+`, "port PORT"},
		{`/\S*/([a-z_0-9.]+)`, "/…/$1"},
		{`lookup sentry.invalid.*`, "lookup sentry.invalid …"},
		{`read tcp .*: connection reset by peer|EOF|write tcp .*: broken pipe|write tcp .*reset by peer`, "EOF"},
	} {
		got = regexp.MustCompile(c.pattern).ReplaceAllString(got, c.with)
	}
	const golden = "testdata/failures.txt"
	if *update {
		writeFile(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("other words than in %s (-update writes them):\n%s", golden, got)
	}
}

// A machine that boots is waited for, and each attempt is told.
func TestPatience(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{DropAt: sshtest.AtVersion, DropFirst: 3})
	d := dialer(t, s)
	d.Patience, d.backoff = time.Minute, time.Millisecond
	var retries []string
	d.Progress = func(e Event) {
		if e.Err != nil {
			retries = append(retries, e.String())
		}
	}
	connect(t, d, target(s))
	if len(retries) != 3 || s.Accepted() != 4 {
		t.Errorf("%d connections, told of %q", s.Accepted(), retries)
	}
	if want := "attempt 1: greet deploy@" + s.Addr + ": it closed the connection"; !strings.HasPrefix(retries[0], want) {
		t.Errorf("told %q, want %q…", retries[0], want)
	}
}

func TestPatienceEnds(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{DropAt: sshtest.AtVersion})
	d := dialer(t, s)
	d.Patience, d.backoff = 50*time.Millisecond, time.Millisecond
	_, err := d.Dial(t.Context(), target(s))
	if err == nil || !regexp.MustCompile(`tried \d+ times`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}

// Who is refused does not knock again: servers ban for that.
func TestNoSecondLoginAfterNo(t *testing.T) {
	for name, o := range map[string]sshtest.Options{
		"authentication": {User: "somebody"},
		"disconnected":   {DropAt: sshtest.AtAuthenticate},
	} {
		s := sshtest.Start(t, o)
		d := dialer(t, s)
		d.Patience, d.backoff = time.Minute, time.Millisecond
		if _, err := d.Dial(t.Context(), target(s)); err == nil || s.Accepted() != 1 {
			t.Errorf("%s: %d connections, %v", name, s.Accepted(), err)
		}
	}
}

func TestPause(t *testing.T) {
	for attempt, want := range map[int][2]time.Duration{
		1:   {750 * time.Millisecond, 1250 * time.Millisecond},
		2:   {1500 * time.Millisecond, 2500 * time.Millisecond},
		3:   {3 * time.Second, 5 * time.Second},
		9:   {11250 * time.Millisecond, 18750 * time.Millisecond},
		500: {11250 * time.Millisecond, 18750 * time.Millisecond},
	} {
		if low, high := pause(0, attempt, 0), pause(0, attempt, 1); low != want[0] || high != want[1] {
			t.Errorf("attempt %d: %s to %s, want %s to %s", attempt, low, high, want[0], want[1])
		}
	}
}

// The context ends a login at each step at once, also while a person or an agent is asked.
func TestCancel(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	for _, step := range []Step{StepVersion, StepKeyExchange, StepHostKey, StepAuthenticate} {
		t.Run(string(step), func(t *testing.T) {
			s := sshtest.Start(t, sshtest.Options{HangAt: sshtest.Step(step)})
			d := dialer(t, s)
			if step == StepHostKey {
				d.OnFirstContact = func(context.Context, Contact) error { <-never; return nil }
			}
			ctx, cancel := context.WithCancel(t.Context())
			d.Progress = func(e Event) {
				if e.Step == step {
					cancel()
				}
			}
			if _, err := d.Dial(ctx, target(s)); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("between attempts", func(t *testing.T) {
		s := sshtest.Start(t, sshtest.Options{DropAt: sshtest.AtVersion})
		d := dialer(t, s)
		d.Patience, d.backoff = time.Hour, time.Hour/2
		ctx, cancel := context.WithCancel(t.Context())
		d.Progress = func(e Event) {
			if e.Wait > 0 {
				cancel()
			}
		}
		if _, err := d.Dial(ctx, target(s)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// An agent that takes the connection and says nothing is passed over.
func TestSilentAgent(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	d.Agent = filepath.Join(shortDir(t), "a")
	l, err := net.Listen("unix", d.Agent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d.Limits.Agent = silent
	connect(t, d, target(s))
}

// shortDir is for sockets, whose names must be short.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "pe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveAgent is an agent with keys.
func serveAgent(t *testing.T, keys ...agent.AddedKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(shortDir(t), "a")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				agent.ServeAgent(ring, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wait.Wait()
	})
	return socket
}

func readKey(t *testing.T, path string) any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The keys are offered in the order of ssh: what is named first, and IdentitiesOnly keeps the rest of the agent out.
func TestOfferedKeys(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	dir := t.TempDir()
	held, _ := sshtest.WriteKey(t, dir, "held", "")
	file, _ := sshtest.WriteKey(t, dir, "file", "")
	public, _ := sshtest.WriteKey(t, dir, "public", "")
	socket := serveAgent(t, agent.AddedKey{PrivateKey: readKey(t, held), Comment: "held"},
		agent.AddedKey{PrivateKey: readKey(t, public), Comment: "public"})
	os.Remove(public) // the agent alone has it
	for name, test := range map[string]struct {
		config string
		want   string
	}{
		"none named":      {"", "agent, \"held\"; agent, \"public\""},
		"file":            {"IdentityFile " + file, "file F; agent, \"held\"; agent, \"public\""},
		"only":            {"IdentitiesOnly yes\nIdentityFile " + file, "file F"},
		"only, of agent":  {"IdentitiesOnly yes\nIdentityFile " + public, "agent, \"public\""},
		"only, by .pub":   {"IdentitiesOnly yes\nIdentityFile " + public + ".pub", "agent, \"public\""},
		"in both":         {"IdentityFile " + file + "\nIdentityFile " + held, "agent, \"held\"; file F; agent, \"public\""},
		"no agent":        {"IdentityAgent none\nIdentityFile " + file, "file F"},
		"agent by config": {"IdentityAgent " + socket, "agent, \"held\"; agent, \"public\""},
	} {
		t.Run(name, func(t *testing.T) {
			d := dialer(t, s)
			d.Identities, d.Agent = nil, ""
			t.Setenv("SSH_AUTH_SOCK", socket)
			writeFile(t, d.ConfigFile, test.config+"\n")
			_, err := d.Dial(t.Context(), target(s))
			var auth *AuthError
			if !errors.As(err, &auth) {
				t.Fatal(err)
			}
			var from []string
			for _, o := range auth.Offered {
				o = strings.TrimSuffix(o[strings.Index(o, "(")+1:], ")")
				from = append(from, strings.ReplaceAll(o, file, "F"))
			}
			if got := strings.Join(from, "; "); got != test.want {
				t.Errorf("offered %s, want %s", got, test.want)
			}
		})
	}
}

func TestAgentLogsIn(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	d.Agent = serveAgent(t, agent.AddedKey{PrivateKey: readKey(t, s.ClientKey)})
	d.Identities = nil
	connect(t, d, target(s))
}

// The passphrase is asked for when a server wants the key, and once for all servers.
func TestPassphrase(t *testing.T) {
	file, signer := sshtest.WriteKey(t, t.TempDir(), "locked", "secret")
	wanting := sshtest.Start(t, sshtest.Options{Authorized: []ssh.PublicKey{signer.PublicKey()}})
	another := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, another)
	d.Identities = []string{file, another.ClientKey}
	var asked int
	d.Prompt = func(_ context.Context, f string) ([]byte, error) {
		if asked++; f != file {
			t.Errorf("asked for %s", f)
		}
		if asked == 1 {
			return []byte("typo"), nil
		}
		return []byte("secret"), nil
	}
	connect(t, d, target(another))
	if asked != 0 {
		t.Error("asked although the server does not want this key")
	}
	connect(t, d, target(wanting))
	connect(t, d, target(wanting))
	if asked != 2 {
		t.Errorf("asked %d times, want once wrong and once right", asked)
	}
}

// A key is pinned at the first contact, under the host's name and its address, and asked about no more.
func TestFirstContact(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	var contacts []Contact
	d.OnFirstContact = func(_ context.Context, c Contact) error { contacts = append(contacts, c); return nil }
	to := target(s)
	to.Name = "s1"
	for range 2 {
		connect(t, d, to)
	}
	want := Contact{Target: to, Address: s.Addr, KeyType: "ssh-ed25519", Fingerprint: ssh.FingerprintSHA256(s.HostKey())}
	if len(contacts) != 1 || contacts[0] != want {
		t.Errorf("asked about %+v, want once %+v", contacts, want)
	}
	data, err := os.ReadFile(d.Pins)
	if want := "s1," + knownName(s) + " " + string(ssh.MarshalAuthorizedKey(s.HostKey())); err != nil || string(data) != want {
		t.Errorf("pinned %q, %v, want %q", data, err, want)
	}
}

// Many at once ask about a host once.
func TestFirstContactOfMany(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	asked := 0
	d.OnFirstContact = func(context.Context, Contact) error { asked++; return nil }
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			c, err := d.Dial(t.Context(), target(s))
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wait.Wait()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// What the user's known_hosts says counts, under the name that the config gives.
func TestUsersKnownHosts(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	for name, test := range map[string]struct{ config, known string }{
		"address":   {"", knownName(s)},
		"alias":     {"HostKeyAlias web.example.com", "web.example.com"},
		"elsewhere": {"UserKnownHostsFile ~/.ssh/others", knownName(s)},
	} {
		t.Run(name, func(t *testing.T) {
			d := dialer(t, s)
			d.OnFirstContact = nil
			writeFile(t, d.ConfigFile, test.config+"\n")
			file := map[bool]string{true: "others", false: "known_hosts"}[name == "elsewhere"]
			writeFile(t, d.sshDir(file), test.known+" "+string(ssh.MarshalAuthorizedKey(s.HostKey())))
			connect(t, d, target(s))
			if _, err := os.Stat(d.Pins); err == nil {
				t.Error("pinned once more")
			}
		})
	}
}

// A server with keys of several types is asked for the one that is pinned; if it has lost that, its key changed.
func TestHostKeyOfPinnedType(t *testing.T) {
	ed, ec, r := sshtest.NewKey(t), ecdsaKey(t), rsaKey(t)
	for name, pinned := range map[string]ssh.Signer{"ed25519": ed, "ecdsa": ec, "rsa": r} {
		s := sshtest.Start(t, sshtest.Options{HostKeys: []ssh.Signer{ed, ec, r}})
		d := dialer(t, s)
		d.OnFirstContact = nil
		if err := pin(d.Pins, []string{knownName(s)}, pinned.PublicKey()); err != nil {
			t.Fatal(err)
		}
		if c, err := d.Dial(t.Context(), target(s)); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			c.Close()
		}
	}
	s := sshtest.Start(t, sshtest.Options{HostKeys: []ssh.Signer{ed}})
	d := dialer(t, s)
	if err := pin(d.Pins, []string{knownName(s)}, ec.PublicKey()); err != nil {
		t.Fatal(err)
	}
	_, err := d.Dial(t.Context(), target(s))
	var changed *ChangedKeyError
	if !errors.As(err, &changed) || changed.File != d.Pins || changed.Line != 1 {
		t.Errorf("%v", err)
	}
}

// A changed key stops a login before any key of ours is offered, and nothing is pinned.
func TestChangedKey(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	to := target(s)
	to.Name = "s1"
	if err := pin(d.Pins, []string{"s1", "192.0.2.1"}, sshtest.NewKey(t).PublicKey()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(d.Pins)
	d.Progress = func(e Event) {
		if e.Step == StepAuthenticate {
			t.Error("went on to log in")
		}
	}
	if _, err := d.Dial(t.Context(), to); err == nil {
		t.Fatal("accepted a changed key of the name s1 at another address")
	}
	if after, _ := os.ReadFile(d.Pins); !bytes.Equal(before, after) {
		t.Errorf("the pins changed to %s", after)
	}
	if _, err := Forget(d.Pins, "s1"); err != nil {
		t.Fatal(err)
	}
	d.Progress = nil
	connect(t, d, to)
}

// Two bastions in a row, from the config.
func TestBastions(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	first, second := through(t, s, d, sshtest.Options{Forward: true}), through(t, s, d, sshtest.Options{Forward: true})
	d.Jump = nil
	writeFile(t, d.ConfigFile, fmt.Sprintf("Host web\n  HostName 127.0.0.1\n  Port %d\n  ProxyJump a,jump@127.0.0.1:%d\nHost a\n  HostName 127.0.0.1\n  Port %d\n",
		s.Port(), second.Port(), first.Port()))
	var out bytes.Buffer
	c := connect(t, d, Target{Host: "web"})
	if err := c.Run(t.Context(), Command{Args: []string{"echo", "through"}, Stdout: &out}); err != nil || out.String() != "through\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	for name, hop := range map[string]*sshtest.Server{"first": first, "second": second, "server": s} {
		if hop.Accepted() != 1 {
			t.Errorf("%s has %d connections", name, hop.Accepted())
		}
	}
}
