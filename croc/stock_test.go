package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// stockVersion is the croc that people have on the other side.
const stockVersion = "v10.7.0"

// stock returns the croc program as its authors make it, built once and kept outside the checkout.
var stock = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "pressenter", "croc", stockVersion)
	bin := filepath.Join(dir, "croc")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	tmp, err := os.MkdirTemp("", "croc")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("go", "install", "github.com/schollz/croc/v10@"+stockVersion)
	cmd.Dir, cmd.Env = tmp, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: strings.TrimSpace(string(out)), Err: err}
	}
	return bin, nil
})

// croc is a running stock croc.
type croc struct {
	*exec.Cmd
	out, log bytes.Buffer
}

// startCroc starts the stock program as a person does, in a folder of its own.
func startCroc(t *testing.T, code string, args ...string) *croc {
	t.Helper()
	if !alone {
		t.Skip("croc would use the network: this computer lets nobody make a network namespace")
	}
	bin, err := stock()
	if err != nil {
		t.Skip("croc cannot be built here:", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	c := &croc{Cmd: exec.CommandContext(ctx, bin, args...)}
	dir := t.TempDir()
	c.Dir, c.Env = dir, []string{"HOME=" + dir, "CROC_SECRET=" + code}
	c.Stdout, c.Stderr = &c.out, &c.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		c.Wait()
	})
	return c
}

// relays are where both sides meet: ours, and the stock one.
func relays(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"our relay": startRelay(t), "croc's relay": startStockRelay(t)}
}

// startStockRelay starts croc's relay on [::1]: told 127.0.0.1, it listens on all addresses.
func startStockRelay(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return "" // no IPv6 here
	}
	first := l.Addr().(*net.TCPAddr).Port
	l.Close()
	ports := []string{}
	for i := range 3 {
		ports = append(ports, strconv.Itoa(first+i))
	}
	startCroc(t, "", "relay", "--host", "::1", "--ports", strings.Join(ports, ","))
	address := net.JoinHostPort("::1", ports[0])
	for t.Context().Err() == nil {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			c.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond) // until it listens
	}
	return ""
}

func TestStockReceiver(t *testing.T) {
	for where, relay := range relays(t) {
		if relay == "" {
			t.Log("skipped", where, ": this computer has no IPv6 loopback")
			continue
		}
		t.Run(where, func(t *testing.T) {
			code := "4321-alpha-bravo-charlie"
			text := strings.Repeat(`{"ids":[]}`, 10_000) // several pieces
			s := start(t, header{Code: code}, text, "send", "-relay", relay)
			if r := s.next(t); r.Event != "waiting" {
				t.Fatalf("send: %+v", r)
			}
			began := time.Now()
			c := startCroc(t, code, "--relay", relay, "--yes")
			if err := c.Wait(); err != nil || c.out.String() != text {
				t.Errorf("croc received %d bytes, want %d; %v; %s", c.out.Len(), len(text), err, c.log.String())
			}
			if _, r := s.end(t); r.Error != "" {
				t.Errorf("send: %+v", r)
			}
			t.Logf("ours to croc: %v", time.Since(began).Round(time.Millisecond))

			s = start(t, header{Code: code}, text, "send", "-relay", relay, "-name", "peers.json")
			if r := s.next(t); r.Event != "waiting" {
				t.Fatalf("send: %+v", r)
			}
			c = startCroc(t, code, "--relay", relay, "--yes")
			if err := c.Wait(); err != nil {
				t.Errorf("croc: %v; %s", err, c.log.String())
			}
			if b, err := os.ReadFile(filepath.Join(c.Dir, "peers.json")); err != nil || string(b) != text {
				t.Errorf("croc's file has %d bytes, want %d: %v", len(b), len(text), err)
			}
		})
	}
}

// Whoever comes first, it works.
func TestStockReceiverRaces(t *testing.T) {
	relay, code := startRelay(t), "4321-alpha-bravo-charlie"
	for range 3 {
		c := startCroc(t, code, "--relay", relay, "--yes")
		s := start(t, header{Code: code}, "hello", "send", "-relay", relay)
		if _, r := s.end(t); r.Error != "" {
			t.Errorf("send: %+v", r)
		}
		if err := c.Wait(); err != nil || c.out.String() != "hello" {
			t.Errorf("croc received %q, %v, %s", c.out.String(), err, c.log.String())
		}
	}
}

func TestStockSender(t *testing.T) {
	for where, relay := range relays(t) {
		if relay == "" {
			t.Log("skipped", where, ": this computer has no IPv6 loopback")
			continue
		}
		t.Run(where, func(t *testing.T) {
			code := "4321-alpha-bravo-charlie"
			text := strings.Repeat(`{"ids":[]}`, 10_000)
			began := time.Now()
			c := startCroc(t, code, "--relay", relay, "--ignore-stdin", "send", "--no-local", "--text", text)
			got, r := start(t, header{Code: code}, "", "receive", "-relay", relay, "-max", "200000").end(t)
			if got != text || r.Error != "" {
				t.Errorf("received %d bytes, want %d: %+v", len(got), len(text), r)
			}
			if err := c.Wait(); err != nil {
				t.Errorf("croc: %v; %s", err, c.log.String())
			}
			t.Logf("croc to ours: %v", time.Since(began).Round(time.Millisecond))

			file := filepath.Join(t.TempDir(), "peers.txt")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			startCroc(t, code, "--relay", relay, "--ignore-stdin", "send", "--no-local", "--no-multi", file)
			if got, r := start(t, header{Code: code}, "", "receive", "-relay", relay, "-max", "200000").end(t); got != text || r.Error != "" {
				t.Errorf("received %d bytes of a file, want %d: %+v", len(got), len(text), r)
			}

			c = startCroc(t, code, "--relay", relay, "--ignore-stdin", "send", "--no-local", "--text", text)
			if _, r := start(t, header{Code: code}, "", "receive", "-relay", relay).end(t); r.Error != "too-big" {
				t.Errorf("received more than is taken: %+v", r)
			}
			if err := c.Wait(); err == nil {
				t.Error("croc was refused and does not know")
			}
			c = startCroc(t, code, "--relay", relay, "--ignore-stdin", "send", "--no-local", "--text", "x")
			if _, r := start(t, header{Code: "4321-alpha-bravo-delta"}, "", "receive", "-relay", relay).end(t); r.Error != "wrong-code" {
				t.Errorf("received with a wrong code: %+v", r)
			}
			if err := c.Wait(); err == nil {
				t.Error("croc was sent a wrong guess and does not know")
			}
		})
	}
}

func TestStockReceiverWithWrongCode(t *testing.T) {
	relay := startRelay(t)
	s := start(t, header{Code: "4321-alpha-bravo-charlie"}, "secret", "send", "-relay", relay)
	if r := s.next(t); r.Event != "waiting" {
		t.Fatalf("send: %+v", r)
	}
	c := startCroc(t, "4321-alpha-bravo-delta", "--relay", relay, "--yes")
	if err := c.Wait(); err == nil || strings.Contains(c.out.String(), "secret") {
		t.Errorf("croc with a wrong code: %v, %q", err, c.out.String())
	}
	if _, r := s.end(t); r.Error != "wrong-code" {
		t.Errorf("send: %+v", r)
	}
}
