package vpncloud

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck says of programs that cannot run why, and what to do.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"itself":         {"#!/bin/sh\necho VpnCloud v2.3.0\n", ""},
		"version 1":      {"#!/bin/sh\necho VpnCloud v1.4.0\n", "is not vpncloud 2"},
		"something else": {"#!/bin/sh\necho hello\n", "is not vpncloud 2"},
		"newer library":  {"#!/bin/sh\necho \"libc.so.6: version \\`GLIBC_2.99' not found\" >&2\nexit 1\n", "older than the one that it is built for; build a static one"},
		"fails":          {"#!/bin/sh\necho no luck >&2\nexit 1\n", "no luck"},
		"no interpreter": {"#!/nowhere/ld.so\n", "has not the C library"},
		"no program":     {"\x7fELF", "another processor"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vpncloud")
			if err := os.WriteFile(path, []byte(c.content), 0o755); err != nil {
				t.Fatal(err)
			}
			err := Check(path, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("want %q, have %v", c.want, err)
			}
		})
	}
}
