package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// serveAgent lets k answer on its socket until the test ends.
func serveAgent(t *testing.T, k *keeper) *api.Client {
	t.Helper()
	l, err := api.ListenIn(string(k.Folder), api.SocketName)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, k.handler()) }()
	c := api.Dial("validator", string(k.Folder))
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return c
}

func code(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestLock(t *testing.T) {
	k := newKeeper(t)
	c := serveAgent(t, k)
	release, err := c.Lock(t.Context(), "alice")
	must(t, err)
	other := api.Dial("validator", string(k.Folder))
	defer other.Close()
	_, err = other.Lock(t.Context(), "bob")
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != "locked" || refused.Lock == nil || refused.Lock.Holder != "alice" || refused.Lock.Since.IsZero() {
		t.Fatalf("second lock: %v", err)
	}
	if _, err := other.Status(t.Context()); err != nil {
		t.Errorf("a lock keeps questions away: %v", err)
	}
	release()
	lockSoon(t, other)
}

// lockSoon takes the lock once the agent has noticed that its holder is gone.
func lockSoon(t *testing.T, c *api.Client) {
	t.Helper()
	for t.Context().Err() == nil {
		release, err := c.Lock(t.Context(), "bob")
		if err == nil {
			release()
			return
		}
		if code(err) != "locked" {
			t.Fatal(err)
		}
	}
}

// The lock of a client that is killed ends with its connection, however it had asked.
func TestLockEndsWithConnection(t *testing.T) {
	for name, request := range map[string]string{
		"with a length": "POST /v1/lock HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n{\"holder\":\"alice\"}",
		"in chunks":     "POST /v1/lock HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{\"holder\":\"alice\"}\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			c := serveAgent(t, k)
			conn, err := net.Dial("unix", k.Folder.path(api.SocketName))
			must(t, err)
			_, err = io.WriteString(conn, request)
			must(t, err)
			b := make([]byte, 12)
			_, err = io.ReadFull(conn, b)
			must(t, err)
			if string(b) != "HTTP/1.1 200" {
				t.Fatalf("answer %q", b)
			}
			if _, err := c.Lock(t.Context(), "bob"); code(err) != "locked" {
				t.Fatalf("second lock: %v", err)
			}
			must(t, conn.Close())
			lockSoon(t, c)
		})
	}
}

func TestRequestsAreHeldToTheirForm(t *testing.T) {
	k := newKeeper(t)
	serveAgent(t, k)
	raw := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", k.Folder.path(api.SocketName))
	}}}
	defer raw.CloseIdleConnections()
	for name, tt := range map[string]struct {
		method, path, body string
		want               int
	}{
		"unknown field":    {"PUT", api.PathIntent, `{"stopped":true,"sotpped":true}`, 400},
		"of an enrolment":  {"POST", api.PathEnroll, `{"name":"v","share":"x"}`, 400},
		"of a key":         {"PUT", api.PathKey, `{"key":"AAAA","signed_until":9}`, 400},
		"of arming":        {"POST", api.PathArm, `{"by":"me","not_before":9}`, 400},
		"of rosters":       {"PUT", api.PathRoster, `{"envelopes":[],"newest":false,"quickly":true}`, 200},
		"of a lock":        {"POST", api.PathLock, `{"holder":"me","why":"to look"}`, 200},
		"no JSON":          {"PUT", api.PathIntent, `stopped`, 400},
		"wrong type":       {"PUT", api.PathIntent, `{"stopped":"yes"}`, 400},
		"two values":       {"PUT", api.PathIntent, `{"stopped":true}{"stopped":false}`, 400},
		"nothing":          {"PUT", api.PathIntent, ``, 400},
		"null":             {"PUT", api.PathIntent, `null`, 400},
		"no such path":     {"GET", "/v1/secrets", "", 404},
		"wrong method":     {"DELETE", api.PathKey, "", 405},
		"bad envelope":     {"PUT", api.PathRoster, `{"envelopes":["AAAA"]}`, 400},
		"log of the disk":  {"GET", api.PathLogs + "?log=../../etc/passwd&lines=1", "", 400},
		"negative lines":   {"GET", api.PathLogs + "?log=node&lines=-1", "", 400},
		"endless body":     {"PUT", api.PathIntent, `{"by":"` + strings.Repeat("x", api.MaxRequest) + `"}`, 400},
		"endless lock":     {"POST", api.PathLock, `{"holder":"` + strings.Repeat("x", 5000) + `"}`, 400},
		"key without host": {"PUT", api.PathKey, `{"key":"AAAA"}`, 409},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://agent"+tt.path, strings.NewReader(tt.body))
		must(t, err)
		res, err := raw.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tt.want)
		}
	}
	if i := k.Folder.loadIntent(); i.Stopped || i.By != "" {
		t.Errorf("an intent was recorded: %+v", i)
	}
}

// A newer client is told that it is newer where passing over what it says would not be safe.
func TestOlderAgentSaysSo(t *testing.T) {
	k := newKeeper(t)
	k.Build = "this one"
	c := serveAgent(t, k)
	st, err := c.Status(t.Context())
	if err != nil || st.Agent.Build != "this one" {
		t.Errorf("%+v, %v", st.Agent, err)
	}
	var in api.Intent
	err = decodeKnown([]byte(`{"stopped":false,"silent":true}`), &in)
	var p *problem
	if !errors.As(err, &p) || p.Code != "older" || !strings.Contains(p.Problem.Error, `"silent"`) || p.Hint == "" {
		t.Errorf("%v", err)
	}
	if err := decodeKnown([]byte(`{"stopped":true}`), &in); err != nil || !in.Stopped {
		t.Errorf("%+v, %v", in, err)
	}
}

// A status is answered while the host is being changed, which can take as long as a daemon takes to stop.
func TestStatusDoesNotWait(t *testing.T) {
	r := newValidator(t)
	c := serveAgent(t, r.keeper)
	r.changing.Lock()
	defer r.changing.Unlock()
	s, err := c.Status(t.Context())
	must(t, err)
	if s.GenesisHash != r.head.Chain.GenesisSHA256.String() || s.Signing.State != signing.Armed {
		t.Errorf("%+v", s)
	}
}

func TestPublish(t *testing.T) {
	r := newValidator(t)
	c := serveAgent(t, r.keeper)
	r.learned = false
	a, b := roster.Next(r.head), roster.Next(r.head)
	b.Chain.MinGasPrice = "7uprac"
	after := roster.Next(b)
	ea, eb, eafter := roster.EncodeEnvelope(r.sign(t, a)), roster.EncodeEnvelope(r.sign(t, b)), roster.EncodeEnvelope(r.sign(t, after))

	if _, err := c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{eafter}, Newest: true}); code(err) != "conflict" && code(err) != "missing-parents" {
		t.Errorf("parents are missing: %v", err)
	}
	if r.learned {
		t.Error("a refused roster is the newest")
	}
	st, err := c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{ea}, Newest: true})
	must(t, err)
	if st.Generation != a.Generation || !st.Learned || st.Applied == a.Hash().String() {
		t.Errorf("%+v", st)
	}
	if _, err := c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{eb}, Newest: true}); code(err) != "conflict" {
		t.Errorf("second: %v", err)
	}
	if _, err := c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{eafter}, Evidence: true}); code(err) != "missing-parents" {
		t.Errorf("orphan: %v", err)
	}
	st, err = c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{eafter, eb}, Evidence: true})
	must(t, err)
	if !st.Fork || len(st.Heads) != 2 {
		t.Errorf("%+v", st)
	}
	reply, err := c.Rosters(t.Context())
	if err != nil || len(reply.Envelopes) != 5 {
		t.Errorf("%d envelopes, %v", len(reply.Envelopes), err)
	}
	// A removed admin's roster, or a forged one, changes nothing.
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	forged, err := roster.Sign(roster.Next(a), stranger)
	must(t, err)
	if _, err := c.Publish(t.Context(), api.PublishRequest{Envelopes: [][]byte{roster.EncodeEnvelope(forged)}, Evidence: true}); code(err) != "invalid" {
		t.Errorf("forged: %v", err)
	}
}

func TestGenesisIsForEver(t *testing.T) {
	k := newKeeper(t)
	c := serveAgent(t, k)
	if err := c.InstallGenesis(t.Context(), []byte("{}")); code(err) != "not-enrolled" {
		t.Errorf("not enrolled: %v", err)
	}
	r := newValidator(t)
	must(t, os.Remove(r.Folder.genesis()))
	c = serveAgent(t, r.keeper)
	if err := c.InstallGenesis(t.Context(), []byte("another")); code(err) != "conflict" {
		t.Errorf("not the roster's: %v", err)
	}
	must(t, c.InstallGenesis(t.Context(), []byte(testGenesis)))
	must(t, c.InstallGenesis(t.Context(), []byte(testGenesis)))
	if err := c.InstallGenesis(t.Context(), []byte("another")); code(err) != "conflict" {
		t.Errorf("another: %v", err)
	}
	if b, err := os.ReadFile(r.Folder.genesis()); err != nil || string(b) != testGenesis {
		t.Errorf("%q, %v", b, err)
	}
}

func TestIntentIsDurable(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	c := serveAgent(t, r.keeper)
	_, err := c.SetIntent(t.Context(), api.Intent{Stopped: true, By: "me"})
	must(t, err)
	if r.applied != "" {
		t.Error("it says that it follows before it looked")
	}
	if i := r.Folder.loadIntent(); !i.Stopped || i.By != "me" || i.Since.IsZero() {
		t.Errorf("%+v", i)
	}
	s, err := c.Status(t.Context())
	must(t, err)
	if !s.Intent.Stopped {
		t.Errorf("%+v", s.Intent)
	}
}

func TestRestoreOverTheSocket(t *testing.T) {
	r := newValidator(t)
	c := serveAgent(t, r.keeper)
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	key := keyFile(pub, priv)
	_, err = c.RestoreKey(t.Context(), api.RestoreRequest{Key: bytes.Clone(key)})
	if code(err) != "unsafe" {
		t.Errorf("over a key in use: %v", err)
	}
	if _, err := c.RestoreKey(t.Context(), api.RestoreRequest{Key: key[:80]}); err == nil || strings.Contains(err.Error(), string(key[40:60])) {
		t.Errorf("a torn key: %v", err)
	}
	s, err := c.Arm(t.Context(), api.ArmRequest{By: "me"})
	if err != nil || s.State != signing.Armed {
		t.Errorf("arming what is armed: %+v, %v", s, err)
	}
}

// Of two requests to arm at once, one watches.
func TestOneWatch(t *testing.T) {
	r := newValidator(t)
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	r.next(t, func(n *roster.Roster) { n.Signer.Holder = "" })
	must(t, os.Remove(filepath.Join(r.Folder.Signing().Dir, "arming.json")))
	must(t, r.Folder.Signing().Restore(keyFile(pub, priv), 5, nil))
	ctx, cancel := context.WithCancel(t.Context())
	r.life = ctx
	r.run.daemon = true
	c := serveAgent(t, r.keeper)
	asked := make(chan error, 8)
	for range cap(asked) {
		go func() { _, err := c.Arm(t.Context(), api.ArmRequest{By: "me"}); asked <- err }()
	}
	for range cap(asked) {
		must(t, <-asked)
	}
	cancel()
	r.watches.Wait()
	if st, err := r.Folder.Signing().Load(); err != nil || st.State != signing.Disarmed {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestLogs(t *testing.T) {
	k := newKeeper(t)
	c := serveAgent(t, k)
	path, err := k.Folder.Log("node")
	must(t, err)
	read := func(lines int) string {
		t.Helper()
		body, err := c.Logs(t.Context(), "node", lines, false)
		must(t, err)
		defer body.Close()
		b, err := io.ReadAll(body)
		must(t, err)
		return string(b)
	}
	if got := read(5); got != "" {
		t.Errorf("without a log: %q", got)
	}
	for _, tt := range []struct {
		log   string
		lines int
		want  string
	}{
		{"a\nb\nc\n", 0, ""},
		{"a\nb\nc\n", 1, "c\n"},
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc\n", 3, "a\nb\nc\n"},
		{"a\nb\nc\n", 4, "a\nb\nc\n"},
		{"a\nb", 1, "b"},
		{"a\nb", 2, "a\nb"},
		{"\n\n\n", 2, "\n\n"},
		{"", 3, ""},
		{"x", 1, "x"},
		{"\nx\n", 1, "x\n"},
		{"\nx\n", 9, "\nx\n"},
		{strings.Repeat("y", 3*tailBytes) + "\nend\n", 1, "end\n"},
	} {
		must(t, os.WriteFile(path, []byte(tt.log), 0o600))
		if got := read(tt.lines); got != tt.want {
			t.Errorf("last %d of %.20q: %.40q, want %q", tt.lines, tt.log, got, tt.want)
		}
	}
	if got := read(1 << 30); len(got) > tailBytes {
		t.Errorf("%d bytes", len(got))
	}
}

// Whoever follows a log sees what is added, also after it was cut.
func TestFollowLog(t *testing.T) {
	k := newKeeper(t)
	c := serveAgent(t, k)
	path, err := k.Folder.Log("node")
	must(t, err)
	must(t, os.WriteFile(path, []byte("one\n"), 0o600))
	body, err := c.Logs(t.Context(), "node", 10, true)
	must(t, err)
	defer body.Close()
	expect := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(body, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v; want %q", b, err, want)
		}
	}
	expect("one\n")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("two\n")
	must(t, err)
	expect("two\n")
	must(t, f.Truncate(0))
	_, err = f.WriteString("3\n")
	must(t, err)
	expect("3\n")
}

// A host whose path is longer than a socket's may be is served all the same.
func TestLongPath(t *testing.T) {
	k := newKeeper(t)
	long := Folder(filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 12)))
	must(t, os.MkdirAll(long.path("agent"), 0o700))
	k.Folder = long
	if _, err := serveAgent(t, k).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// A whole agent ends when it is told to, and at once when its folder is gone; then its node ends with it.
func TestRun(t *testing.T) {
	k := newKeeper(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Agent.Run(ctx) }()
	c := api.Dial("x", string(k.Folder))
	defer c.Close()
	for {
		if _, err := c.Status(t.Context()); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := (&Agent{Folder: k.Folder, Logger: k.Logger}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), LockName) {
		t.Errorf("a second agent: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended: %v", err)
	}
}
