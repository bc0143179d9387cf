package croc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/croc"
)

// What the tests hand to themselves: where they run, what was built, and why something could not be.
const (
	aloneEnv = "PRESSENTER_CROC_ALONE"
	binEnv   = "PRESSENTER_CROC_TEST_BIN"
	stockEnv = "PRESSENTER_CROC_TEST_STOCK"
)

const code = "4321-alpha-bravo-charlie"

// alone is whether the tests run where there is no network but loopback.
var alone = os.Getenv(aloneEnv) != ""

func TestMain(m *testing.M) {
	if alone {
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, "raise loopback:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "pressenter-croc-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	build(binEnv, dir, "pressenter-croc", "go", "build", "-C", "../../croc", "-o", filepath.Join(dir, "pressenter-croc"))
	if cache, err := os.UserCacheDir(); err == nil { // as in croc/stock_test.go
		build(stockEnv, filepath.Join(cache, "pressenter", "croc", "v10.7.0"), "croc", "go", "install", "github.com/schollz/croc/v10@v10.7.0")
	}
	exit, ok := runAlone()
	if !ok {
		exit = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(exit)
}

// build runs a command that builds a program into dir unless it is there, and tells the tests where it is.
func build(env, dir, name string, command ...string) {
	bin := filepath.Join(dir, name)
	if _, err := os.Stat(bin); err != nil {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			os.Setenv(env, "cannot be built here: "+err.Error()+": "+string(out))
			return
		}
	}
	os.Setenv(env, bin)
}

// built returns a program that build made.
func built(t *testing.T, env string) string {
	t.Helper()
	bin := os.Getenv(env)
	if !filepath.IsAbs(bin) {
		t.Skipf("%s: %s", env, bin)
	}
	if env == stockEnv && !alone {
		t.Skip("croc would use the network: this computer lets nobody make a network namespace")
	}
	return bin
}

// newRelay starts a relay on loopback and returns a carrier that uses it.
func newRelay(t *testing.T) croc.Carrier {
	t.Helper()
	c := croc.Carrier{Bin: built(t, binEnv), Password: "of the relay", Wait: time.Minute}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- c.ServeRelay(ctx, "127.0.0.1:0", func(a string) { ready <- a })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case c.Relay = <-ready:
	case err := <-done:
		done <- err
		t.Fatal("the relay ended: ", err)
	}
	return c
}

// transfer carries a payload from one carrier to another.
func transfer(t *testing.T, from, to croc.Carrier, payload []byte, limit int) (got []byte, sendErr, receiveErr error) {
	t.Helper()
	waits, sent := make(chan struct{}), make(chan error, 1)
	from.Waiting = func() { close(waits) }
	if from.CrocBin != "" {
		close(waits)
	}
	go func() { sent <- from.Send(t.Context(), code, payload) }()
	<-waits
	got, receiveErr = to.Receive(t.Context(), code, limit)
	return got, <-sent, receiveErr
}

func TestTransfer(t *testing.T) {
	ours := newRelay(t)
	stock := ours
	if os.Getenv(stockEnv) != "" && alone {
		stock.CrocBin = built(t, stockEnv)
	}
	small := make([]byte, 50_000)
	rand.Read(small) // what is sealed is no text
	large := bytes.Repeat([]byte("0123456789abcdef"), croc.MaxPayload/16)
	for _, c := range []struct {
		name     string
		from, to croc.Carrier
		payload  []byte
	}{
		{"ours", ours, ours, small},
		{"ours, large", ours, ours, large},
		{"to croc", ours, stock, small},
		{"from croc", stock, ours, small},
		{"croc to croc", stock, stock, small},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.name, "croc") && stock.CrocBin == "" {
				t.Skip("no croc here, or no way to keep it from the network")
			}
			began := time.Now()
			got, sendErr, receiveErr := transfer(t, c.from, c.to, c.payload, len(c.payload))
			if sendErr != nil || receiveErr != nil || !bytes.Equal(got, c.payload) {
				t.Errorf("received %d bytes of %d; %v; %v", len(got), len(c.payload), sendErr, receiveErr)
			}
			t.Logf("%d bytes in %v", len(got), time.Since(began).Round(time.Millisecond))
		})
	}
}

func wantError(t *testing.T, who string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", who, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "alpha") || strings.Contains(err.Error(), "of the relay")) {
		t.Errorf("%s: the error holds a secret: %v", who, err)
	}
}

func TestFailures(t *testing.T) {
	c := newRelay(t)
	short := c
	short.Wait = 20 * time.Millisecond
	_, err := short.Receive(t.Context(), code, 10)
	wantError(t, "receive from nobody", err, croc.ErrNobody)
	wantError(t, "send to nobody", short.Send(t.Context(), code, []byte("x")), croc.ErrNobody)

	_, sendErr, receiveErr := transfer(t, c, c, []byte("too much"), 3)
	wantError(t, "send too much", sendErr, croc.ErrRefused)
	wantError(t, "receive too much", receiveErr, croc.ErrTooBig)

	bad := c
	bad.Password = "another"
	_, err = bad.Receive(t.Context(), code, 10)
	wantError(t, "another password", err, croc.ErrRelay)
	bad.Relay = "127.0.0.1:1"
	_, err = bad.Receive(t.Context(), code, 10)
	wantError(t, "no relay", err, croc.ErrRelay)

	other := c
	other.Waiting = nil
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the operator went away")
	other.Waiting = func() { cancel(why) }
	_, err = other.Receive(ctx, code, 10)
	wantError(t, "cancelled", err, why)

	for _, n := range []int{0, croc.MaxPayload + 1} {
		if c.Send(t.Context(), code, make([]byte, n)) == nil {
			t.Errorf("%d bytes are sent", n)
		}
		if _, err := c.Receive(t.Context(), code, n); err == nil {
			t.Errorf("%d bytes are received", n)
		}
	}
}

func TestWrongCode(t *testing.T) {
	c := newRelay(t)
	waits, sent := make(chan struct{}), make(chan error, 1)
	from := c
	from.Waiting = func() { close(waits) }
	go func() { sent <- from.Send(t.Context(), code, []byte("secret")) }()
	<-waits
	_, err := c.Receive(t.Context(), "4321-alpha-bravo-delta", 10)
	wantError(t, "receiver", err, croc.ErrWrongCode)
	wantError(t, "sender", <-sent, croc.ErrWrongCode)
}

func TestNewCode(t *testing.T) {
	c := croc.Carrier{Bin: built(t, binEnv)}
	got, err := c.NewCode(t.Context())
	if err != nil || !regexp.MustCompile(`^[0-9]{4}-[a-z]+-[a-z]+-[a-z]+$`).MatchString(got) {
		t.Errorf("code %q, %v", got, err)
	}
}

// fake makes a program of a shell script.
func fake(t *testing.T, script string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "croc")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}

// No argument holds a secret, and the child knows nothing of our environment.
func TestSecretsAreNoArguments(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("CROC_RELAY", "127.0.0.1:1")
	record := filepath.Join(t.TempDir(), "record")
	c := croc.Carrier{Bin: fake(t, `(echo "$@"; env; pwd; ls -A) >`+record), Relay: "127.0.0.1:2", Password: "of the relay"}
	if err := c.Send(t.Context(), code, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		b, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"alpha", "of the relay", "payload", "PROXY", "CROC_RELAY"} {
			for line := range strings.Lines(string(b)) {
				if strings.Contains(line, secret) && !strings.HasPrefix(line, "CROC_SECRET=") && !strings.HasPrefix(line, "CROC_PASS=") {
					t.Errorf("the child was given %q", line)
				}
			}
		}
	}
	check()
	c.CrocBin = fake(t, `[ "$1" = --version ] && { echo croc version v10.7.0; exit; }; (echo "$@"; env; pwd; ls -A) >`+record)
	if err := c.Send(t.Context(), code, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestCheckCroc(t *testing.T) {
	for says, want := range map[string]string{
		"croc version 10.7.0":       "",
		"croc version v10.12.1-dev": "",
		"croc version v11.2.5":      "croc v11.2.5, whose protocol v10 cannot talk to",
		"croc version v10.6.9":      "too old",
		"croc version v9.6.17":      "too old",
		"hello":                     "does not say a version",
	} {
		err := croc.CheckCroc(t.Context(), fake(t, "echo "+says))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, croc.ErrVersion)) {
			t.Errorf("%q: %v, want %q", says, err, want)
		}
	}
	if err := croc.CheckCroc(t.Context(), fake(t, "exit 3")); err == nil {
		t.Error("a program that fails is taken for croc")
	}
	c := croc.Carrier{CrocBin: fake(t, "echo croc version v11.2.5"), Relay: "127.0.0.1:1"}
	_, err := c.Receive(t.Context(), code, 10)
	wantError(t, "receive with croc v11", err, croc.ErrVersion)
}

// A croc that does not keep limits is held to them.
func TestStockLimits(t *testing.T) {
	version := `[ "$1" = --version ] && { echo croc version v10.7.0; exit; }; `
	c := croc.Carrier{Relay: "127.0.0.1:1", Wait: time.Minute}
	c.CrocBin = fake(t, version+`exec yes`)
	_, err := c.Receive(t.Context(), code, 1000)
	wantError(t, "endless text", err, croc.ErrTooBig)
	c.CrocBin = fake(t, version+`exit 0`)
	_, err = c.Receive(t.Context(), code, 1000)
	wantError(t, "nothing", err, croc.ErrPeerLeft)
	c.CrocBin = fake(t, version+`trap "" XFSZ; head -c 1000000 /dev/zero >file; wc -c <file`)
	got, err := c.Receive(t.Context(), code, 1000)
	if n := strings.TrimSpace(string(got)); err != nil || len(n) > 6 {
		t.Errorf("a file of %s bytes was written, %v", n, err)
	}
	c.CrocBin = fake(t, version+`exec sleep 100`)
	c.Wait = 50 * time.Millisecond
	_, err = c.Receive(t.Context(), code, 1000)
	wantError(t, "nobody", err, croc.ErrNobody)
	for words, want := range map[string]error{
		"cipher: message authentication failed": croc.ErrWrongCode,
		"could not connect to 1.2.3.4":          croc.ErrRelay,
		"peer error: refusing files":            croc.ErrRefused,
		"write tcp: broken pipe":                croc.ErrPeerLeft,
	} {
		c.Wait, c.CrocBin = time.Minute, fake(t, version+`echo "`+words+`" "$CROC_SECRET" >&2; exit 1`)
		wantError(t, words, c.Send(t.Context(), code, []byte("x")), want)
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := croc.Carrier{Relay: "127.0.0.1:1"}.Send(t.Context(), code, []byte("x"))
	if !errors.Is(err, croc.ErrMissing) || !strings.Contains(err.Error(), "make croc") {
		t.Errorf("without the program: %v", err)
	}
}
