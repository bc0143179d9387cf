// Package machine makes a server into one that an agent can keep: users, folders and units. It runs there, as root, and
// everything in it may be done again: it changes what is not as it should be and nothing else. An agent calls it too, to
// keep the machine so.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// Folder is where all of a host is on a machine; Programs is where the versions of this program lie side by side, each in
// a folder named by its content.
const (
	Folder   = "/var/lib/pressenter"
	Programs = "/opt/pressenter"
	// Current is the program that the agent's unit runs, by a link that changes with it.
	Current = Programs + "/current"
)

// Spec is what a machine should be.
type Spec struct {
	// Program is the absolute path of the program that the agent's unit runs.
	Program string `json:"program"`
	// Mesh and Node are those of the other units. Empty leaves each with what it has; in the beginning that is Program.
	Mesh string `json:"mesh,omitempty"`
	Node string `json:"node,omitempty"`
	// Deployment, Host and Role are whose machine it is.
	Deployment string `json:"deployment"`
	Host       string `json:"host"`
	Role       string `json:"role"`
	// SSH are the TCP ports at which whoever keeps the machine reaches it.
	SSH []uint16 `json:"ssh,omitempty"`
	// Open are other TCP ports that strangers may connect to, and Tunnel the UDP port of the mesh; 0: none is known.
	Open   []uint16 `json:"open,omitempty"`
	Tunnel uint16   `json:"tunnel,omitempty"`
	// Volume is the device of the data volume, a path below /dev that may hold *; empty: there is none.
	Volume string `json:"volume,omitempty"`
	// VolumeGB is how large it has to be; 0: that is not known.
	VolumeGB int `json:"volume_gb,omitempty"`
	// Patience is how long a new agent may take until it answers; 0 is a default.
	Patience time.Duration `json:"patience,omitempty"`
}

// Whose is whose machine somebody takes it for who wants it stopped or removed.
type Whose struct {
	Deployment string `json:"deployment"`
	Host       string `json:"host"`
}

// Left is what a machine holds that may be needed once it is gone.
type Left struct {
	SignState []byte `json:"sign_state,omitempty"` // consensus_state.json, of a validator
	Backup    []byte `json:"backup,omitempty"`     // the consensus key, sealed to the operator
}

// Report says what was changed.
type Report struct {
	Changed []string `json:"changed"`
	// Findings are what could not be made as it should be, and does not keep a host from working.
	Findings []health.Finding `json:"findings,omitempty"`
	// Trial: what was changed has to be confirmed by a new connection within [TrialLimit], or is taken back.
	Trial bool `json:"trial,omitempty"`
}

func (r *Report) note(format string, args ...any) {
	r.Changed = append(r.Changed, fmt.Sprintf(format, args...))
}

// Setup makes this machine what spec says. The agent runs and answers when it returns; if it was another program and the
// new one does not answer, the former runs again.
func Setup(ctx context.Context, spec Spec) (Report, error) {
	r := Report{Changed: []string{}}
	err := func() error {
		if err := able(); err != nil {
			return err
		}
		if err := makeUsers(ctx, &r); err != nil {
			return err
		}
		if err := makeFolders(&r); err != nil {
			return err
		}
		if err := keepVolume(ctx, spec, &r); err != nil {
			return err
		}
		lock, err := process.WaitLock(ctx, lockFile)
		if err != nil {
			return err
		}
		defer lock.Close()
		if err := makeUnits(ctx, spec, &r); err != nil {
			return err
		}
		return harden(ctx, spec, &r)
	}()
	if err != nil {
		return r, fmt.Errorf("set up machine: %w", err)
	}
	return r, nil
}

// MakeRoom makes users and folders of a machine, and nothing else: a host can be put there.
func MakeRoom(ctx context.Context) error {
	if err := able(); err != nil {
		return err
	}
	r := Report{}
	return errors.Join(makeUsers(ctx, &r), makeFolders(&r))
}

// able says what this needs and does not find.
func able() error {
	if os.Getuid() != 0 {
		return errors.New("only root can")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return errors.New("systemd does not run here, and nothing else is supported")
	}
	return systemd.Unified()
}

// lockFile is locked by whoever changes the machine, so that nobody repairs what somebody else is about to change.
const lockFile = Folder + "/agent/setup.lock"

// StopAgent ends the agent and keeps it from coming back at the next boot.
func StopAgent(ctx context.Context) error {
	units, err := systemd.Show(ctx, AgentUnit)
	if err != nil || units[0].Load == "not-found" {
		return err
	}
	return errors.Join(systemd.Disable(ctx, AgentUnit), systemd.Stop(ctx, AgentUnit))
}

// Remove takes away what Setup made, but for the users: their numbers are not to become somebody else's. Nothing of the
// host may run any more.
func Remove(ctx context.Context) error {
	if err := errors.Join(StopAgent(ctx), disarm(ctx)); err != nil {
		return err
	}
	for _, name := range []string{AgentUnit, MeshUnit, NodeUnit} {
		if err := os.Remove(unitFile(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := soften(ctx); err != nil {
		return err
	}
	if err := systemd.Reload(ctx); err != nil {
		return err
	}
	return errors.Join(dropFilters(ctx), os.RemoveAll(Folder), os.RemoveAll(Programs))
}

// point lets Current lead to a program.
func point(program string) error {
	if to, err := os.Readlink(Current); err == nil && to == program {
		return nil
	}
	tmp := Current + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(program, tmp); err != nil {
		return err
	}
	return atomicfile.Rename(tmp, Current)
}

// place writes a file of root's that everybody may read, unless it is there and says the same.
func place(path, text string) (changed bool, err error) {
	if same(path, text) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	return true, atomicfile.Write(path, []byte(text), 0o644)
}

// same says whether a file is as place would make it.
func same(path, text string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o644 || info.Size() != int64(len(text)) {
		return false
	}
	b, err := os.ReadFile(path)
	return err == nil && string(b) == text
}
