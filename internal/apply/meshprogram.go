package apply

import (
	"context"
	"fmt"
	"os"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

// stagedMeshProgram is the program that the mesh's driver was staged with. Like the chain's program it stays the same when
// somebody builds another: that would interrupt every link.
func (s *Session) stagedMeshProgram() deployment.Program {
	p := s.own.inventory.MeshProgram
	if s.want.Own.MeshDriver != roster.MeshVpnCloud || p.SHA256 == "" {
		return deployment.Program{}
	}
	if _, err := os.Stat(storePath(s.Dir, p.SHA256, p.Name)); err != nil {
		return deployment.Program{}
	}
	return p
}

// findMeshProgram finds the program that the mesh's driver runs where none was staged. A plan needs it, a look does not.
func (s *Session) findMeshProgram() error {
	if s.want.Own.MeshDriver != roster.MeshVpnCloud || s.want.Own.MeshProgram.SHA256 != "" {
		return nil
	}
	path, _, err := vpncloud.Find()
	if err != nil {
		return &plan.Refusal{
			Why:  fmt.Sprintf("the mesh's driver is vpncloud, and no such program is here to bring to the servers: %v", err),
			Next: "put vpncloud into PATH on this computer, or use mesh.driver: " + roster.MeshWireGuard,
		}
	}
	sum, err := atomicfile.SHA256(path)
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	s.meshSource, s.want.Own.MeshProgram = path, deployment.Program{Name: "vpncloud", SHA256: sum}
	return nil
}

// bringMeshProgram brings the program that the mesh's driver runs to a host, and returns where it lies there; "" where
// there is none.
func (s *Session) bringMeshProgram(ctx context.Context, side *sideState, h deployment.Host) (string, error) {
	p := s.wanted(side).MeshProgram
	if p.SHA256 == "" {
		return "", nil
	}
	d := deployment.Daemon{Name: p.Name, Path: s.meshSource, SHA256: p.SHA256}
	if s.meshSource != "" {
		s.staging.Lock()
		_, err := stage(s.Dir, d)
		s.staging.Unlock()
		if err != nil {
			return "", err
		}
	}
	return s.Provider.Stage(ctx, h, d, storePath(s.Dir, d.SHA256, d.Name))
}
