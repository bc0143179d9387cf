package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func script(t *testing.T, body string) Command {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "fakeddaemon")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return Command{Binary: path, Home: filepath.Join(dir, "home")}
}

func TestRun(t *testing.T) {
	c := script(t, `echo "$@"; echo noise >&2`)
	out, err := c.Run(t.Context(), "keys", "add", "me")
	if want := "keys add me --home " + c.Home + "\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

// Ctrl-C in a terminal signals everybody in the foreground's process group. A daemon that died of it before we know of the
// interruption would look as if it had failed.
func TestTerminalsSignalsPassBy(t *testing.T) {
	out, err := script(t, "ps -o pgid= -p $$").Run(t.Context())
	if group := strings.TrimSpace(string(out)); err != nil || group == "" || group == strconv.Itoa(syscall.Getpgrp()) {
		t.Errorf("it runs in our process group %q, %v", group, err)
	}
}

// A daemon gets nothing of what the operator has in his environment.
func TestEnvironmentIsBare(t *testing.T) {
	t.Setenv("AGE_PASSPHRASE", "hunter2")
	t.Setenv("PRACTICED_HOME", "/elsewhere")
	c := script(t, "env")
	out, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		switch name, value, _ := strings.Cut(l, "="); name {
		case "HOME":
			if value != c.Home {
				t.Errorf("HOME is %q", value)
			}
		case "PATH", "TMPDIR", "LC_ALL", "PWD", "SHLVL", "_", "OLDPWD":
		default:
			t.Errorf("the daemon sees %q", l)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct{ body, want, not string }{
		"last lines":    {"for i in 1 2 3 4 5 6 7 8; do echo line$i >&2; done; exit 3", "line4; line5; line6; line7; line8", "line3"},
		"cobra's usage": {"echo 'Error: no such account' >&2; for i in 1 2 3 4 5 6; do echo usage >&2; done; exit 1", "no such account", "usage"},
		"silent":        {"exit 2", "exit status 2", ":  "},
		"too much":      {"head -c 70000000 /dev/zero", "", "\x00"},
	} {
		_, err := script(t, tt.body).Run(t.Context(), "genesis", "gentx", "--pubkey", "SECRET")
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.not) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), "fakeddaemon genesis gentx") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Command{Binary: "/nowhere/d"}).Run(t.Context(), "init"); err == nil {
		t.Error("a daemon that is not there ran")
	}
}

// A command that is given up ends, also when a process that it left behind keeps its output open, and says why: how it
// was killed explains nothing.
func TestGivenUp(t *testing.T) {
	c := script(t, "sleep 30 &\n: > \"$3.ready\"\nwait\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.Run(ctx, "start"); done <- err }()
	for ready := false; !ready; {
		_, err := os.Stat(c.Home + ".ready")
		ready = err == nil
	}
	why := errors.New("somebody pressed Ctrl-C")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Error(err)
	}
}
