package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/roster"
)

// A program of the mesh's driver is taken only if it is what was said and runs; the mesh process gets it and where others
// look for the host, and with another driver none.
func TestMeshProgram(t *testing.T) {
	r := newValidator(t)
	path := filepath.Join(t.TempDir(), "vpncloud")
	write := func(text string) string {
		must(t, os.WriteFile(path, []byte(text), 0o755))
		sum, err := atomicfile.SHA256(path)
		must(t, err)
		return sum
	}
	r.host.Enrollment.Listen.Machine = true
	req := r.host.Enrollment
	req.MeshDriver, req.Listen.Mesh = roster.MeshVpnCloud, ":51820"
	refused := func(sum, why string) {
		t.Helper()
		req.MeshProgram, req.MeshProgramHash = path, sum
		if _, err := r.Folder.adapt(r.host, req); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("want %q, have %v", why, err)
		}
	}
	refused(write("#!/bin/sh\necho hello\n"), "is not vpncloud 2")
	sum := write("#!/bin/sh\necho VpnCloud v2.3.0\n")
	refused(strings.Repeat("0", 64), "has SHA-256 "+sum)

	req.MeshProgram, req.MeshProgramHash = path, sum
	h, err := r.Folder.adapt(r.host, req)
	must(t, err)
	if h.Enrolled.MeshProgram != sum || h.Enrolled.MeshDriver != roster.MeshVpnCloud || len(h.Enrolled.MeshKey) != 32 {
		t.Errorf("enrolled: %+v", h.Enrolled)
	}
	place := func(h *host) roster.Mesh {
		return roster.Mesh{Key: roster.Key(h.Enrolled.MeshKey), TLS: roster.Key(h.Enrolled.MeshTLS), Endpoint: "192.0.2.7:51820"}
	}
	wanted := func(h *host) facts {
		n := *r.head
		n.MeshDriver = h.Enrollment.MeshDriver
		n.Members = append([]roster.Member(nil), n.Members...)
		for i, m := range n.Members {
			if m.Identity == roster.Key(h.Enrolled.Identity) {
				n.Members[i].Mesh = place(h)
			}
		}
		return facts{host: h, state: roster.State{Effective: &n}}
	}
	spec, any := meshWanted(wanted(h))
	if !any || spec.Program != path || spec.Public != "192.0.2.7:51820" || spec.Interface == "" || spec.Backend != "" {
		t.Errorf("spec %+v, %v", spec, any)
	}

	back := req
	back.MeshDriver, back.MeshProgram, back.MeshProgramHash = roster.MeshWireGuard, "", ""
	h, err = r.Folder.adapt(h, back)
	must(t, err)
	if spec, any = meshWanted(wanted(h)); !any || spec.Program != "" || spec.Public != "" || h.Enrolled.MeshProgram != "" {
		t.Errorf("with WireGuard again: spec %+v, %v, enrolled %+v", spec, any, h.Enrolled)
	}
	bad := req
	bad.MeshProgram = "vpncloud"
	if err := bad.Valid(); err == nil || !strings.Contains(err.Error(), "mesh program") {
		t.Errorf("a path that is not absolute: %v", err)
	}
}
