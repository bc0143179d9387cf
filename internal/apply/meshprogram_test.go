package apply

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/config"
)

// vpnCloudInPath puts something that says it is vpncloud into PATH, alone, and returns its hash.
func vpnCloudInPath(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "vpncloud")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\necho VpnCloud v2.3.0\n#"+more+"\n"), 0o755))
	t.Setenv("PATH", dir)
	sum, err := atomicfile.SHA256(path)
	must(t, err)
	return sum
}

// TestMeshProgram takes a deployment on servers from WireGuard to vpncloud and back: the program is asked for when it is
// first needed, is kept from then on, and is forgotten with the driver.
func TestMeshProgram(t *testing.T) {
	s, _ := up(t)
	path := os.Getenv("PATH")
	given := func() (sums []string) {
		for _, o := range s.Observed().Own.Hosts {
			sums = append(sums, o.Status.Enrolled.MeshProgram)
		}
		slices.Sort(sums)
		return slices.Compact(sums)
	}
	s.Config.Mesh.Driver = config.MeshVpnCloud
	t.Setenv("PATH", t.TempDir())
	refusedPlan(t, s, "no such program is here")
	must(t, s.Look(t.Context())) // a look needs none

	first := vpnCloudInPath(t, "first")
	if words := strings.Join(applies(t, s), "\n"); strings.Count(words, "its keys for vpncloud are born there") != 3 {
		t.Errorf("to vpncloud:\n%s", words)
	}
	vpnCloudInPath(t, "another")
	if words := applies(t, s); len(words) != 0 {
		t.Errorf("another build in PATH: %q", words)
	}
	if got := given(); len(got) != 1 || got[0] != first {
		t.Errorf("hosts have %q, want %s", got, first)
	}
	t.Setenv("PATH", t.TempDir())
	s.Close()
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: s.Provider, Who: "me", PublicOf: s.PublicOf}
	must(t, again.Open())
	t.Cleanup(again.Close)
	s = again
	if words := applies(t, s); len(words) != 0 {
		t.Errorf("another session: %q", words)
	}

	// Somebody's copy is lost: what is in PATH takes its place, and the plan says what that costs.
	must(t, os.RemoveAll(filepath.Join(s.Dir.Store(), first)))
	second := vpnCloudInPath(t, "second")
	if words := strings.Join(applies(t, s), "\n"); strings.Count(words, "it gets vpncloud "+second[:12]) != 3 {
		t.Errorf("with another program:\n%s", words)
	}

	t.Setenv("PATH", path)
	s.Config.Mesh.Driver = config.MeshWireGuard
	applies(t, s)
	if words := applies(t, s); len(words) != 0 || s.own.inventory.MeshProgram.SHA256 != "" {
		t.Errorf("back: %q, the inventory has %+v", words, s.own.inventory.MeshProgram)
	}
	if got := given(); len(got) != 1 || got[0] != "" {
		t.Errorf("hosts still have %q", got)
	}
}
