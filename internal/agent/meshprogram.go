package agent

import (
	"fmt"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

// checkMeshProgram says why the mesh process could not run the program that it is to be given. The program is asked as
// that process's user.
func (f Folder) checkMeshProgram(r api.EnrollRequest) error {
	if r.MeshProgram == "" {
		return nil
	}
	sum, err := atomicfile.SHA256(r.MeshProgram)
	if err != nil {
		return fmt.Errorf("read the mesh's program: %w", err)
	}
	if sum != r.MeshProgramHash {
		return fmt.Errorf("the mesh's program %q has SHA-256 %s, not %s", r.MeshProgram, sum, r.MeshProgramHash)
	}
	u, err := f.owner(f.path(meshrun.Folder))
	if err != nil {
		return err
	}
	return vpncloud.Check(r.MeshProgram, u.Credential())
}
