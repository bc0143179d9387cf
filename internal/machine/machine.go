// Package machine makes a server into one that an agent can keep: folders and units. It runs there, as root, and
// everything in it may be done again: it changes what is not as it should be and nothing else.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/health"
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
	// Program is the absolute path of the program that the units run.
	Program string `json:"program"`
	// Deployment, Host and Role are whose machine it is.
	Deployment string `json:"deployment"`
	Host       string `json:"host"`
	Role       string `json:"role"`
	// SSH are the TCP ports at which whoever keeps the machine reaches it.
	SSH []uint16 `json:"ssh,omitempty"`
	// Open are other TCP ports that strangers may connect to, and Tunnel the UDP port of the mesh; 0: none is known.
	Open   []uint16 `json:"open,omitempty"`
	Tunnel uint16   `json:"tunnel,omitempty"`
}

// Left is what a machine holds that may be needed once it is gone.
type Left struct {
	SignState []byte `json:"sign_state,omitempty"` // consensus_state.json, of a validator
	Backup    []byte `json:"backup,omitempty"`     // the consensus key, sealed to the operator
}

// Report says what was found and changed.
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

// AgentUnit is the systemd unit of the agent.
const AgentUnit = "pressenter-agent.service"

const units = "/etc/systemd/system"

// Setup makes this machine what spec says. The agent runs when it returns.
func Setup(ctx context.Context, spec Spec) (Report, error) {
	var r Report
	if os.Getuid() != 0 {
		return r, errors.New("set up machine: only root can")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return r, errors.New("set up machine: systemd does not run here, and nothing else is supported")
	}
	if err := os.MkdirAll(Folder, 0o700); err != nil {
		return r, fmt.Errorf("set up machine: %w", err)
	}
	changed, err := place(filepath.Join(units, AgentUnit), agentUnit(spec))
	if err != nil {
		return r, fmt.Errorf("set up machine: %w", err)
	}
	if err := point(spec.Program); err != nil {
		return r, fmt.Errorf("set up machine: %w", err)
	}
	steps := [][]string{{"enable", "--now", AgentUnit}}
	if changed {
		r.Changed = append(r.Changed, AgentUnit)
		steps = [][]string{{"daemon-reload"}, {"enable", AgentUnit}, {"restart", AgentUnit}}
	}
	for _, args := range steps {
		if err := systemctl(ctx, args...); err != nil {
			return r, fmt.Errorf("set up machine: %w", err)
		}
	}
	if err := harden(ctx, spec, &r); err != nil {
		return r, fmt.Errorf("set up machine: %w", err)
	}
	return r, nil
}

// StopAgent ends the agent and keeps it from coming back at the next boot.
func StopAgent(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(units, AgentUnit)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return systemctl(ctx, "disable", "--now", AgentUnit)
}

// Remove takes away what Setup made. Nothing of the host may run any more.
func Remove(ctx context.Context) error {
	if err := StopAgent(ctx); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(units, AgentUnit)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := soften(ctx); err != nil {
		return err
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(Folder), os.RemoveAll(Programs))
}

// agentUnit is the unit of the agent. The processes that it starts outlive it.
func agentUnit(spec Spec) string {
	return fmt.Sprintf(`[Unit]
Description=pressenter agent: keeps this host as the roster wants it
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=%s agent --host %s
Restart=always
RestartSec=1
KillMode=process
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`, spec.Program, Folder)
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
	return os.Rename(tmp, Current)
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

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
