// Package local supplies hosts that are folders on this computer. Each has an agent of its own, as a machine would;
// what differs is only that the agent runs as a process of the user, and the supervisor as one more.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/process"
)

// Provider supplies the hosts.
type Provider struct {
	Exe string // this program
}

// Create makes the host's folder. Doing it again changes nothing.
func (p Provider) Create(_ context.Context, h deployment.Host) error {
	if err := os.MkdirAll(h.Folder, 0o700); err != nil {
		return fmt.Errorf("create host %q: %w", h.Name, err)
	}
	return nil
}

// agentWait bounds how long an agent may take until it answers.
const agentWait = 20 * time.Second

// StartAgent starts the host's agent unless it runs, and waits until it answers.
func (p Provider) StartAgent(ctx context.Context, h deployment.Host) error {
	f := agent.Folder(h.Folder)
	if _, up := agent.AgentOf(f); !up {
		log, err := f.Log("agent")
		if err != nil {
			return err
		}
		_, err = process.StartDetached(process.Spec{
			Path: p.Exe, Args: []string{"agent", "--host", h.Folder}, Dir: h.Folder,
			Env: []string{"HOME=" + h.Folder, "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, LogPath: log,
		})
		if err != nil {
			return fmt.Errorf("start agent of %q: %w", h.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	c := p.Client(h)
	defer c.Close()
	if err := c.Await(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("start agent of %q: it does not answer (%w); see %s", h.Name, err, filepath.Join(h.Folder, "agent.log"))
	}
	return nil
}

// StopAgent ends the host's agent and, with nobody left to look after it, the mesh process. The node goes on.
func (p Provider) StopAgent(ctx context.Context, h deployment.Host) error {
	f := agent.Folder(h.Folder)
	if err := endAgent(ctx, f); err != nil {
		return err
	}
	return agent.StopMesh(ctx, f)
}

// RestartAgent replaces the host's agent by one of this program. Nothing else of the host is touched.
func (p Provider) RestartAgent(ctx context.Context, h deployment.Host) error {
	if err := endAgent(ctx, agent.Folder(h.Folder)); err != nil {
		return fmt.Errorf("restart agent of %q: %w", h.Name, err)
	}
	return p.StartAgent(ctx, h)
}

func endAgent(ctx context.Context, f agent.Folder) error {
	id, up := agent.AgentOf(f)
	if !up {
		return nil
	}
	return process.Terminate(ctx, id, 5*time.Second)
}

// Client asks the host's agent.
func (p Provider) Client(h deployment.Host) *api.Client { return api.Dial(h.Name, h.Folder) }

// Inspect says what runs on a host whose agent does not answer.
func (p Provider) Inspect(_ context.Context, h deployment.Host) (api.HostStatus, error) {
	return agent.Inspect(agent.Folder(h.Folder)), nil
}

// Stage returns the file where it is: the host reads the same disk.
func (p Provider) Stage(_ context.Context, _ deployment.Host, _ deployment.Daemon, from string) (string, error) {
	return from, nil
}

// Exists says whether the host is there.
func (p Provider) Exists(_ context.Context, h deployment.Host) (bool, error) {
	_, err := os.Stat(h.Folder)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Destroy ends everything on the host, proves that nothing runs any more, and removes its folder. What a validator
// cannot do without, the consensus key and its sign state, is moved to keep first; keep == "" destroys it too.
func (p Provider) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	f := agent.Folder(h.Folder)
	if err := p.StopAgent(ctx, h); err != nil {
		return fmt.Errorf("destroy host %q: %w", h.Name, err)
	}
	if err := agent.StopInspected(ctx, f); err != nil {
		return fmt.Errorf("destroy host %q: %w; nothing was removed", h.Name, err)
	}
	if keep != "" {
		if err := keepSigning(f.Signing().Dir, keep); err != nil {
			return fmt.Errorf("destroy host %q: keep its consensus key: %w", h.Name, err)
		}
	}
	return remove(h.Folder)
}

// remove removes a host's folder, what it knows of itself last: as long as anything is left it can be told what it was.
func remove(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "agent" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(folder)
}

func keepSigning(from, to string) error {
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(to); err == nil {
		to += "." + time.Now().UTC().Format("20060102T150405")
	}
	return os.Rename(from, to)
}
