package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/tofu"
)

// Eject writes the configuration of spec to a new or empty folder, for people who run OpenTofu or Terraform themselves: the
// same files that a workspace has, and a README.
func Eject(dir string, spec tofu.Spec) error {
	files, err := tofu.Root(spec)
	if err != nil {
		return fmt.Errorf("eject: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("eject: %w", err)
	}
	if len(there) > 0 {
		return fmt.Errorf("eject: the folder %q is not empty: it has %q", dir, there[0].Name())
	}
	files["README.md"] = []byte(fmt.Sprintf(`# The machines of %s
`+"`export`"+` your clouds' credentials, then run `+"`tofu init`"+` and `+"`tofu plan`"+`, or the same with terraform. Commit `+"`.terraform.lock.hcl`"+`.
Hosts are in `+"`terraform.tfvars.json`"+`. A changed key, image or first boot never replaces a machine; read each plan for what it destroys.
Stop a node before its machine is replaced, and take `+"`protected`"+` off in one apply before a machine is destroyed in the next.
The state is beside this file and has no key of yours in it, but some clouds put a machine's first root password there: encrypt it.
`, spec.Deployment))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("eject: %w", err)
	}
	for name, b := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("eject: %w", err)
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return fmt.Errorf("eject: %w", err)
		}
	}
	return nil
}
