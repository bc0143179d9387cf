package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// alone is whether the tests run where there is no network but loopback.
var alone bool

// TestMain lets the test's own binary be the program, and runs the tests where there is no network.
func TestMain(m *testing.M) {
	switch os.Getenv("PRESSENTER_CROC_TEST") {
	case "main":
		main()
		return
	case "alone":
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, "raise loopback:", err)
			os.Exit(1)
		}
		alone = true
	default:
		stock() // building it needs the network
		if exit, ok := runAlone(); ok {
			os.Exit(exit)
		}
	}
	os.Exit(m.Run())
}

// program is a running pressenter-croc.
type program struct {
	*exec.Cmd
	in     io.WriteCloser
	out    bytes.Buffer
	events *bufio.Scanner
}

// start starts the program with a header and what follows it.
func start(t *testing.T, h header, payload string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0], args...)}
	dir := t.TempDir()
	p.Dir, p.Env = dir, []string{"PRESSENTER_CROC_TEST=main", "HOME=" + dir}
	p.Stdout = &p.out
	var err error
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	events, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.events = bufio.NewScanner(events)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	if len(payload) > 0 {
		h.Size = len(payload)
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(p.in, "%s\n%s", b, payload)
	return p
}

// next returns the next line of standard error; the zero report when there is none.
func (p *program) next(t *testing.T) (r report) {
	t.Helper()
	if !p.events.Scan() {
		return report{}
	}
	if err := json.Unmarshal(p.events.Bytes(), &r); err != nil {
		t.Fatalf("standard error: %q", p.events.Text())
	}
	return r
}

// end waits for the program's end and returns what it received or why not.
func (p *program) end(t *testing.T) (string, report) {
	t.Helper()
	last := report{}
	for r := p.next(t); r != (report{}); r = p.next(t) {
		last = r
	}
	err := p.Wait()
	if (err == nil) != (last.Error == "") {
		t.Errorf("the program ended with %v and said %+v", err, last)
	}
	return p.out.String(), last
}

// startRelay starts a relay on loopback.
func startRelay(t *testing.T) string {
	t.Helper()
	r := start(t, header{}, "", "relay", "-listen", "127.0.0.1:0").next(t)
	if r.Event != "listening" {
		t.Fatalf("relay: %+v", r)
	}
	return r.Address
}

func TestPrograms(t *testing.T) {
	relay := startRelay(t)
	code := header{Code: "1234-alpha-bravo-charlie"}
	s := start(t, code, "hello", "send", "-relay", relay)
	if r := s.next(t); r.Event != "waiting" {
		t.Fatalf("send: %+v", r)
	}
	if got, r := start(t, code, "", "receive", "-relay", relay).end(t); got != "hello" || r.Error != "" {
		t.Errorf("received %q, %+v", got, r)
	}
	if _, r := s.end(t); r.Error != "" {
		t.Errorf("send: %+v", r)
	}
	if _, r := start(t, code, "", "receive", "-relay", relay, "-wait", "10ms").end(t); r.Error != "nobody" {
		t.Errorf("receive from nobody: %+v", r)
	}
}

// Whoever wants the result is gone: nothing goes on without him.
func TestEndsWithItsParent(t *testing.T) {
	p := start(t, header{Code: "1234-alpha-bravo-charlie"}, "", "receive", "-relay", startRelay(t))
	if r := p.next(t); r.Event != "waiting" {
		t.Fatalf("receive: %+v", r)
	}
	p.in.Close()
	if got, r := p.end(t); got != "" || r.Error == "" {
		t.Errorf("received %q, %+v", got, r)
	}
}

func TestUsage(t *testing.T) {
	good := `{"code":"1234-alpha-bravo-charlie"}` + "\n"
	for _, c := range []struct{ args, in, want string }{
		{"", "", "command is missing"},
		{"fetch", "", "no command"},
		{"receive", good, "host:port"},
		{"receive -relay host", good, "host:port"},
		{"receive -relay a:1 1234-alpha-bravo-charlie", good, "no flags"},
		{"receive -relay a:1 -max 4194305", good, "-max"},
		{"receive -relay a:1 -wait 25h", good, "-wait"},
		{"receive -relay a:1", "", "header"},
		{"receive -relay a:1", strings.Repeat("x", maxHeader), "header"},
		{"receive -relay a:1", `{"code":"1234-secret-word","x":1}` + "\n", "header"},
		{"receive -relay a:1", `{"code":"short"}` + "\n", "characters"},
		{"receive -relay a:1", `{"code":"1234-alpha-bravo-charlie","size":3}` + "\nabc", "bytes to send"},
		{"send -relay a:1", good, "bytes to send"},
		{"send -relay a:1", `{"code":"1234-alpha-bravo-charlie","size":4194305}` + "\n", "bytes to send"},
		{"send -relay a:1", `{"code":"1234-alpha-bravo-charlie","size":5}` + "\nabc", "to be sent"},
		{"send -relay a:1 -name ../x", good, "name of a file"},
		{"send -relay a:1 -name croc-stdin-x", good, "name of a file"},
	} {
		err := run(t.Context(), strings.Fields(c.args), strings.NewReader(c.in), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "alpha")) {
			t.Errorf("%s: the error holds the code: %v", c.args, err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(`{"code":"1234-alpha-bravo-charlie","password":"x","size":3}` + "\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &job{}
		if j.read(bufio.NewReader(bytes.NewReader(b))) == nil && len(j.payload) != j.header.Size {
			t.Errorf("%d bytes of %d", len(j.payload), j.header.Size)
		}
	})
}

// What of croc would look up names, read our arguments or replace standard error as soon as it is imported, is not.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"github.com/schollz/croc/v10/src/crypt", "github.com/schollz/croc/v10/src/mnemonicode"}
	for p := range strings.Lines(string(out)) {
		if p = strings.TrimSpace(p); strings.Contains(p, "schollz/croc/") && !slices.Contains(allowed, p) {
			t.Errorf("the program imports %s", p)
		}
	}
}
