package vmlab

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNewest(t *testing.T) {
	for _, c := range []struct {
		name, shown string
		want        release
		problem     string
	}{
		{
			name:  "as Debian 12 has it",
			shown: "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nSize: 1\n",
			want:  release{"linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"},
		},
		{
			name:  "with more dependencies and an epoch",
			shown: "Depends: kmod, linux-image-7.0+deb14-cloud-amd64 (= 1:7.0.1-1~b), linux-base\n",
			want:  release{"linux-image-7.0+deb14-cloud-amd64", "1:7.0.1-1~b"},
		},
		{name: "unknown to apt", shown: "", problem: "apt-get update"},
		{name: "without a version", shown: "Depends: linux-image-6.1.0-56-cloud-amd64\n", problem: "apt-get update"},
		{name: "of another field", shown: "Suggests: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n", problem: "apt-get update"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := newest(c.shown)
			if got != c.want || (err != nil) != (c.problem != "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("got %+v, %v; want %+v, %q", got, err, c.want, c.problem)
			}
		})
	}
}

func TestLastUsedKernelIsComplete(t *testing.T) {
	cache := t.TempDir()
	if got := lastUsed(filepath.Join(cache, "none")); got != "" {
		t.Errorf("of no cache: %q", got)
	}
	now := time.Now()
	for name, used := range map[string]time.Time{
		"old": now.Add(-2 * time.Hour), "new": now.Add(-time.Hour), partial + "1": now,
		"ancient": now.Add(-2 * kept), partial + "2": now.Add(-2 * kept),
	} {
		folder := filepath.Join(cache, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(folder, used, used); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := lastUsed(cache), filepath.Join(cache, "new"); got != want {
		t.Errorf("last used: %q, want %q", got, want)
	}
	forget(cache)
	for name, want := range map[string]bool{"old": true, "new": true, partial + "1": true, "ancient": false, partial + "2": false} {
		if _, err := os.Stat(filepath.Join(cache, name)); (err == nil) != want {
			t.Errorf("%s after forgetting: %v, want it kept: %v", name, err, want)
		}
	}
}

// TestPrepareWithoutApt takes what is there, and says what to do where nothing is.
func TestPrepareWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	cache := t.TempDir()
	if _, err := prepare(t.Context(), cache, t.Logf); err == nil {
		t.Error("prepared a machine without a kernel")
	}
	folder := filepath.Join(cache, "6.1.192-2")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "modules.builtin"), []byte("kernel/net/ipv4/udp-tunnel.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	vm, err := prepare(t.Context(), cache, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(folder, "vmlinuz"); vm.kernel != want {
		t.Errorf("kernel %q, want %q", vm.kernel, want)
	}
	if got, want := vm.modules.builtin, []string{"udp_tunnel"}; !slices.Equal(got, want) {
		t.Errorf("builtin %q, want %q", got, want)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := prepare(stopped, cache, t.Logf); err == nil {
		t.Error("prepared a machine for nobody")
	}
}
