package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// Taken is the configuration of the last run with what the state knows, each part with its id: whoever plans it without a
// state takes over what there is, and makes nothing. Without imports nothing is bought yet. [Workspace.Recover] comes before it.
func (w *Workspace) Taken(ctx context.Context, wanted tofu.Spec) (tofu.Spec, error) {
	known, err := w.readState(ctx)
	if err != nil || len(known) == 0 {
		return wanted, err
	}
	if left := known.deposed(); len(left) > 0 {
		return tofu.Spec{}, &Deposed{left}
	}
	spec, err := w.applied(wanted)
	if err != nil {
		return tofu.Spec{}, err
	}
	spec.Keep, spec.Backend, spec.AdminCIDRs = nil, nil, wanted.AdminCIDRs
	hosts := map[string]bool{}
	at := func(address string) string { return known[address] }
	for _, address := range slices.Sorted(maps.Keys(known)) {
		spec.Keep = union(spec.Keep, []string{cloudOf(address)})
		hosts[hostOf(address)] = true
		spec.Imports = append(spec.Imports, tofu.Import{To: address, ID: importID(address, known[address], spec.Hosts[hostOf(address)], at)})
	}
	maps.DeleteFunc(spec.Hosts, func(name string, _ tofu.Host) bool { return !hosts[name] })
	return spec, nil
}

// Deposed says that the state has what was replaced and not destroyed. No configuration can take that over, so who goes on
// without the state would pay for what nothing knows.
type Deposed struct{ What []string }

// Error implements error.
func (e *Deposed) Error() string {
	return "what was replaced is still there, and nothing but this state knows it: " + strings.Join(e.What, "; ")
}

// Hint says what to do.
func (e *Deposed) Hint() string {
	return "run 'pressenter apply', which destroys it, or delete it in the cloud's console and run 'pressenter apply' to have it forgotten; then eject again"
}

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
	files["README.md"] = []byte(readme(spec))
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

// readme says what is in an ejected folder, and what is not.
func readme(spec tofu.Spec) string {
	bought := "Nothing was bought: a plan makes everything. Before that, `terraform.tfvars.json` needs your own key in `ssh_keys` and 12 hexadecimal digits of your own in `id`."
	if n := len(spec.Imports); n > 0 {
		bought = fmt.Sprintf("The machines are there: the first plan has to say %d to import and 0 to add. If it adds anything, do not apply it: that is bought a second time.", n)
	}
	return fmt.Sprintf(`# The machines of %s
`+"`export`"+` your clouds' credentials, then run `+"`tofu init`"+` and `+"`tofu plan`"+`, or the same with terraform. Commit `+"`.terraform.lock.hcl`"+`.
%s
Hosts are in `+"`terraform.tfvars.json`"+`. A changed key, image or first boot never replaces a machine; read each plan for what it destroys.
Stop a node before its machine is replaced, and take `+"`protected`"+` off in one apply before a machine is destroyed in the next.
There is no state here: your first apply writes one. It has no key of yours in it, but some clouds put a machine's first root password there: encrypt it.
`, spec.Deployment, bought)
}
