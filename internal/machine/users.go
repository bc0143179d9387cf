package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pressenter/pressenter/internal/process"
)

// The users of a machine. The agent is root.
const (
	NodeUser = "pressenter-node" // the chain's daemon and its supervisor
	MeshUser = "pressenter-mesh" // the mesh process
)

const sysusersFile = "/etc/sysusers.d/pressenter.conf"

// sysusers says who they are in the way of systemd-sysusers(8): no password, no shell, no home of their own.
const sysusers = `# Made by pressenter; 'host setup' puts it back.
u ` + NodeUser + ` - "pressenter chain daemon" / /usr/sbin/nologin
u ` + MeshUser + ` - "pressenter mesh process" / /usr/sbin/nologin
`

// makeUsers makes those users that are not there.
func makeUsers(ctx context.Context, r *Report) error {
	changed, err := place(sysusersFile, sysusers)
	if err != nil {
		return err
	}
	if changed {
		r.note("%s", sysusersFile)
	}
	var missing []string
	for _, name := range []string{NodeUser, MeshUser} {
		if _, err := user.Lookup(name); errors.As(err, new(user.UnknownUserError)) {
			missing = append(missing, name)
		} else if err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "systemd-sysusers", sysusersFile).CombinedOutput(); err != nil {
		return fmt.Errorf("make users %s: %w: %s", strings.Join(missing, ", "), err, strings.TrimSpace(string(out)))
	}
	for _, name := range missing {
		r.note("user %s", name)
	}
	return nil
}

// Owner is whose a folder in [Folder] is, by its name there.
func Owner(name string) (process.User, error) {
	for _, f := range folders {
		if f.path == filepath.Join(Folder, name) {
			return lookUp(f.owner)
		}
	}
	return process.User{}, fmt.Errorf("%q is no folder of a machine", name)
}

// lookUp is one of the system's users by name.
func lookUp(name string) (process.User, error) {
	if name == "root" {
		return process.User{}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return process.User{}, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return process.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return process.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	if uid == 0 {
		return process.User{}, fmt.Errorf("user %q is root under another name: remove it", name)
	}
	return process.User{UID: uint32(uid), GID: uint32(gid)}, nil
}
