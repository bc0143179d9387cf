package supervisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

func TestDiagnose(t *testing.T) {
	one := process.Exit{Code: 1}
	for _, tt := range []struct {
		exit   process.Exit
		output string
		code   string
		words  string // part of the message
		retry  retry
	}{
		{one, `11:00AM ERR UPGRADE "v2-rc" NEEDED at height: 30: {} module=x/upgrade`, codeUpgrade, `"v2-rc"`, retryOnChange},
		{one, `{"level":"error","message":"UPGRADE \"v3\" NEEDED at height: 30"}`, codeUpgrade, `"v3"`, retryOnChange},
		{one, "panic: BINARY UPDATED BEFORE TRIGGER! UPGRADE \"v2\"", "binary-too-new", "not reached", retryOnChange},
		{one, "wrong app version 0, upgrade handler is missing for v2 upgrade plan", "binary-too-old", "v2", retryOnChange},
		{one, "failed to apply block: halt per configuration height 20 time 0", "halt-height", "halt", retryOnChange},
		{one, `panic: Failed to start consensus state: found signature from the same key`, "recent-signature", "waits", retrySoon},
		{one, "Error: can't get pubkey: send: endpoint connection timed out", "signer-absent", "signer", retrySoon},
		{one, "Error: failed to listen on 127.0.0.1:1: listen tcp 127.0.0.1:26657: bind: address already in use", codePort, "127.0.0.1:26657", retryBackoff},
		{one, "panic: write /x/data/cs.wal/wal: no space left on device", "disk-full", "full", retryBackoff},
		{one, "Error: resource temporarily unavailable", "database-locked", "open", retryBackoff},
		{one, "panic: state.AppHash does not match AppHash after replay. Got X, expected Y", "wrong-app-hash", "network's", retryBackoff},
		{one, "Error: error during handshake: wrong Block.Header.AppHash.  Expected A, got B", "wrong-app-hash", "network's", retryBackoff},
		{one, "Error: genesis doc hash in db does not match loaded genesis doc", "wrong-genesis", "genesis", retryBackoff},
		{one, "panic: invalid chain-id on InitChain; expected: a, got: b", "wrong-genesis", "genesis", retryBackoff},
		{one, "\nunknown flag: --colour", "wrong-flag", "unknown flag: --colour", retryBackoff},
		{process.Exit{Code: 2}, "panic: open /x/config/genesis.json: no such file or directory", "wrong-genesis", "missing", retryBackoff},
		{one, "\x1b[36merr=\x1b[0m\"failed to apply block; error halt per configuration height 83 time 0\"", "halt-height", "halt", retryOnChange},
		{one, "failed to start ConsensusReactor: found signature from the same key", "recent-signature", "waits", retrySoon},
		{one, "While parsing config: toml: array is incomplete", "bad-config", "array is incomplete", retryBackoff},
		{one, "failed to initialize database: resource temporarily unavailable", "database-locked", "open", retryBackoff},
		{one, "Usage:\n...\nError: unknown flag: --colour", "wrong-flag", "unknown flag: --colour", retryBackoff},
		{process.Exit{Code: 2}, "I[x] ok\npanic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:\nmain.main()", "panic", "index out of range", retryBackoff},
		{process.Exit{Code: -1, Signal: "killed"}, "INF ok", "killed", "SIGKILL", retryBackoff},
		{process.Exit{Code: 3}, "INF one\n\x1b[31mERR\x1b[0m it broke\nERR it really broke\nINF bye\n", "exited", "it really broke", retryBackoff},
		{process.Exit{Code: 3}, "", "exited", "exit code 3", retryBackoff},
		{process.Exit{Code: -1}, "bye", "exited", "nobody saw", retryBackoff},
	} {
		got := diagnose(tt.exit, []byte(tt.output))
		if got.finding.Code != tt.code || !strings.Contains(got.finding.Message, tt.words) || got.retry != tt.retry {
			t.Errorf("%q: got %+v, want %s with %q, retry %d", tt.output, got, tt.code, tt.words, tt.retry)
		}
		if got.finding.Next == "" || got.finding.Severity == "" {
			t.Errorf("%q: no severity or no next step: %+v", tt.output, got)
		}
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add([]byte(`ERR UPGRADE "v2" NEEDED`))
	f.Add([]byte("panic: %s %d \x1b[31m\xff"))
	f.Add([]byte("listen tcp 1.2.3.4:5: bind: address already in use"))
	f.Fuzz(func(t *testing.T, output []byte) {
		d := diagnose(process.Exit{Code: 1}, output)
		if len(d.finding.Message) > 4*maxWords || strings.ContainsAny(d.finding.Message, "\n\x1b\x00") {
			t.Errorf("%q", d.finding.Message)
		}
		portOwner(d.detail)
	})
}

func TestPortOwner(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if got := portOwner(l.Addr().String()); runtime.GOOS == "linux" && !strings.Contains(got, fmt.Sprint(os.Getpid())) {
		t.Errorf("owner %q, want us", got)
	}
	if got := portOwner("nonsense"); got != "" {
		t.Errorf("owner %q", got)
	}
}

func TestPreflight(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, code string }{
		{self, ""},
		{write("script", 0o700, []byte("#!/bin/sh\n")), ""},
		{filepath.Join(dir, "none"), "binary-missing"},
		{dir, "binary-not-executable"},
		{write("plain", 0o600, nil), "binary-not-executable"},
		{write("s390x", 0o700, elfHeader(22)), "wrong-architecture"},
	} {
		code := ""
		if d := preflight(tt.path); d != nil {
			code = d.finding.Code
			if d.retry != retryOnChange {
				t.Errorf("%s: would be tried again and again", tt.path)
			}
		}
		if code != tt.code {
			t.Errorf("%s: got %q, want %q", tt.path, code, tt.code)
		}
	}
}

// elfHeader is an executable for a big-endian machine, without any content.
func elfHeader(machine uint16) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x02\x01")
	binary.BigEndian.PutUint16(b[16:], 2)
	binary.BigEndian.PutUint16(b[18:], machine)
	binary.BigEndian.PutUint32(b[20:], 1)
	binary.BigEndian.PutUint16(b[52:], 64)
	binary.BigEndian.PutUint16(b[54:], 56)
	binary.BigEndian.PutUint16(b[58:], 64)
	return b
}

func TestStartDiagnosis(t *testing.T) {
	for err, code := range map[error]string{
		syscall.ENOEXEC:     "binary-unusable",
		syscall.ENOENT:      "loader-missing",
		fs.ErrPermission:    "binary-not-executable",
		syscall.ENOSPC:      "disk-full",
		errors.New("other"): "start-refused",
	} {
		d := startDiagnosis(fmt.Errorf("start: %w", err))
		if d.finding.Code != code || d.finding.Severity != health.Critical || d.finding.Next == "" {
			t.Errorf("%v: %+v, want %s", err, d, code)
		}
	}
}

func TestReadFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		start, limit int64
		want         string
		next         int64
	}{
		{0, 100, "0123456789", 10},
		{4, 100, "456789", 10},
		{0, 3, "789", 10},
		{10, 5, "", 10},
		{50, 100, "0123456789", 10}, // rotated since
	} {
		got, next := readFrom(path, tt.start, tt.limit)
		if string(got) != tt.want || next != tt.next {
			t.Errorf("from %d, limit %d: %q, %d", tt.start, tt.limit, got, next)
		}
	}
	if got, next := readFrom(path+"x", 3, 3); got != nil || next != 0 {
		t.Errorf("no file: %q, %d", got, next)
	}
}

func TestSpecProblems(t *testing.T) {
	err := WriteSpec(t.TempDir(), Spec{Daemon: "../x", RPC: "tcp://y", Peers: []Peer{{Name: "p"}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"daemon", "rpc", `peer "p"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: says nothing about %s", err, want)
		}
	}
}

func TestSleepsUntil(t *testing.T) {
	want := time.Date(2027, 11, 23, 15, 5, 0, 0, time.UTC)
	for _, said := range []string{
		"\x1b[90m3:06PM\x1b[0m \x1b[32mINF\x1b[0m \x1b[1mGenesis time is in the future. Sleeping until then...\x1b[0m \x1b[36mgenTime=\x1b[0m2027-11-23T15:05:00Z \x1b[36mmodule=\x1b[0mserver\n",
		`{"level":"info","module":"server","genTime":"2027-11-23T15:05:00Z","message":"Genesis time is in the future. Sleeping until then..."}` + "\n",
		`I[2026-11-23|15:06:00.000] Genesis time is in the future. Sleeping until then... module=main genTime=2027-11-23T16:05:00.000+01:00` + "\n",
	} {
		if got := sleepsUntil(ansi.ReplaceAll([]byte("before\n"+said+"after"), nil)); !got.Equal(want) {
			t.Errorf("%v in %q", got, said)
		}
	}
	for _, said := range []string{"", "genTime=2027-11-23T15:05:00Z", "Genesis time is in the future\ngenTime=2027-11-23T15:05:00Z", "Genesis time is in the future genTime=tomorrow and still later"} {
		if got := sleepsUntil([]byte(said)); !got.IsZero() {
			t.Errorf("%v in %q", got, said)
		}
	}
}
