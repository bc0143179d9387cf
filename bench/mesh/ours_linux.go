package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// The profiles of a mesh process, in the words of Go's runtime, whatever this machine's memory would make it choose.
var (
	defaultProfile = []string{"GOGC=100"}
	smallProfile   = []string{"GOMEMLIMIT=100MiB", "GOGC=200"} // as package meshrun sets them
)

// ours is a mesh of two sentries, each with its real process; env is for these.
func ours(r *rig, lab *netlab.Lab, dir, program, name string, env ...string) *contest {
	t := newContest(r, lab, name)
	public, admin, err := ed25519.GenerateKey(rand.Reader)
	r.must(err)
	list := roster.New("bench", []roster.Admin{{Name: "bench", Key: roster.KeyOf(public), Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "bench-1"})
	list.MeshDriver = roster.MeshWireGuard
	folder := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%s%d", name, i)) }
	for i, e := range t.ends {
		identity, _, err := ed25519.GenerateKey(rand.Reader) // the private half is the agent's, and there is none
		r.must(err)
		r.must(os.MkdirAll(folder(i), 0o700))
		keys, err := meshrun.BearKeys(folder(i), roster.MeshWireGuard)
		r.must(err)
		list.Members = append(list.Members, roster.Member{
			Name: fmt.Sprintf("s%d", i), Role: roster.RoleSentry, Identity: roster.KeyOf(identity), Since: 1,
			Mesh: roster.Mesh{Key: keys.Tunnel, TLS: keys.TLS, Endpoint: netip.AddrPortFrom(e.outside, wireGuardPort).String()},
		})
	}
	signed, err := roster.Sign(list, admin)
	r.must(err)
	for i, e := range t.ends {
		kept, err := rosterdir.Open(filepath.Join(folder(i), meshrun.Folder, "rosters"))
		r.must(err)
		r.must(kept.Learn([]roster.Envelope{signed}))
		self := list.Members[i].Identity
		r.must(meshrun.WriteSpec(folder(i), meshrun.Spec{
			Deployment: list.DeploymentID(), Identity: self, Driver: roster.MeshWireGuard, Backend: "tun",
			Interface: interfaceName(), Listen: fmt.Sprintf(":%d", wireGuardPort),
		}))
		cmd := e.command(program, "mesh", "run", "--host", folder(i))
		cmd.Env = append(os.Environ(), env...)
		e.start(r, cmd)
		e.inside = roster.MeshAddress(list.DeploymentID(), self)
	}
	return t
}
