package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// Runner starts and stops a host's supervisor. Child processes are one way, systemd units another; nothing
// else in the agent knows how things run on its host.
type Runner interface {
	// Start starts the supervisor. It outlives the agent.
	Start() error
	// Stop ends the supervisor and the daemon, or the daemon alone when its supervisor is gone, and returns once
	// nothing runs any more.
	Stop(ctx context.Context) error
	// Up says whether something of the node, and of the mesh, runs or is about to. With an error that cannot be told,
	// which is no proof that nothing does.
	Up() (node, mesh bool, err error)
	// Supervisor and Daemon say what runs as far as that can be seen, also when another agent started it.
	Supervisor() (process.Identity, bool)
	Daemon() (process.Identity, bool)
	// StartMesh starts the mesh process, which outlives the agent too, and gives it a moment to answer. StopMesh ends it and returns once it is gone.
	StartMesh() error
	StopMesh(ctx context.Context) error
	Mesh() (process.Identity, bool)
	// Overruled says in words why node and mesh must not be started, because a person stopped them with the host's own
	// means; "" where none did. With an error that is known, and could not be kept for the next agent. Allow forgets it.
	Overruled() (node, mesh string, err error)
	Allow() error
}

// runnerOf is how things run on a host: as its set-up noted.
func runnerOf(f Folder, exe string) (Runner, error) {
	noted, err := machine.Load(string(f))
	if err != nil {
		return nil, err
	}
	if noted.Units == nil {
		return &children{folder: f, exe: exe}, nil
	}
	return newUnits(f)
}

// stopGrace is how long a supervisor may take to stop its daemon: longer than the daemon's own grace period.
const stopGrace = 50 * time.Second

// children runs the supervisor as a process of its own session, so that it goes on when the agent is killed.
type children struct {
	folder Folder
	exe    string // this program

	mu       sync.Mutex
	searched time.Time // when no daemon was last found by searching
	unsure   error     // why that search may have missed one
}

// Start implements Runner.
func (c *children) Start() error {
	return c.start("supervisor", c.Supervisor, "node", "run")
}

// StartMesh implements Runner. It waits until the process answers, which is soon: it then has to be told the rosters.
func (c *children) StartMesh() error {
	if err := c.start("mesh", c.Mesh, "mesh", "run"); err != nil {
		return err
	}
	return awaitMesh(c.folder)
}

// awaitMesh gives a mesh process that was just started a moment to answer.
func awaitMesh(f Folder) error {
	client, err := f.dialMesh()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), meshTimeout)
	defer cancel()
	for {
		if _, err := client.Mesh(ctx); err == nil || ctx.Err() != nil {
			return nil // one that takes longer is told at a later turn
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Overruled implements Runner: on a host whose processes are children, who stops one asks the agent to.
func (c *children) Overruled() (node, mesh string, err error) { return "", "", nil }

// Allow implements Runner.
func (c *children) Allow() error { return nil }

// StopMesh implements Runner.
func (c *children) StopMesh(ctx context.Context) error {
	id, up := c.Mesh()
	if !up {
		return nil
	}
	if err := process.Terminate(ctx, id, meshGrace); err != nil {
		return fmt.Errorf("stop mesh: %w", err)
	}
	return nil
}

// Mesh implements Runner.
func (c *children) Mesh() (process.Identity, bool) { return holder(c.folder.path(meshrun.LockFile)) }

// meshGrace is how long the mesh process may take to end.
const meshGrace = 5 * time.Second

// start runs a part of this program, and waits until it can be seen: a stop in between would take nothing for an answer.
func (c *children) start(name string, running func() (process.Identity, bool), args ...string) error {
	log, err := c.folder.Log(name)
	if err != nil {
		return err
	}
	child, err := process.StartDetached(process.Spec{
		Path: c.exe, Args: append(args, "--host", string(c.folder)), Dir: string(c.folder),
		Env: []string{"HOME=" + string(c.folder), "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, LogPath: log,
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	deadline := time.Now().Add(startWait)
	for child.Alive() && time.Now().Before(deadline) {
		if id, up := running(); up && id == child {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	if child.Alive() {
		_ = child.Kill()
		return fmt.Errorf("start %s: it did not take its lock in %v", name, startWait)
	}
	return nil // it ended by itself; its log says why
}

// startWait bounds how long a new process may take until it holds its lock.
const startWait = 10 * time.Second

// Stop implements Runner. Where it cannot be told whether something runs, that is an error: what follows a stop may
// remove the folder.
func (c *children) Stop(ctx context.Context) error {
	for range 3 { // a supervisor that was just starting may appear after the first look
		id, up := c.Supervisor()
		if !up {
			var err error
			id, err = c.find()
			if errors.Is(err, process.ErrGone) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("stop node: %w", err)
			}
		}
		if err := process.Terminate(ctx, id, stopGrace); err != nil {
			return fmt.Errorf("stop node: %w", err)
		}
	}
	if id, err := c.find(); !errors.Is(err, process.ErrGone) {
		return fmt.Errorf("stop node: %v still runs: %w", id, err)
	}
	return nil
}

// Supervisor implements Runner.
func (c *children) Supervisor() (process.Identity, bool) {
	return holder(c.folder.path(supervisor.SupervisorLock))
}

// searchEvery is how often a daemon that nobody noted is searched for among all processes, which is dear.
const searchEvery = 15 * time.Second

// Daemon implements Runner. A daemon that nobody noted is found within searchEvery; it is found at once when it
// matters, before a start, by the supervisor.
func (c *children) Daemon() (process.Identity, bool) {
	if id, up := holder(c.folder.path(supervisor.HomeLock)); up {
		if sup, ok := c.Supervisor(); !ok || sup != id { // a supervisor about to start a daemon holds the home itself
			return id, true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.searched) < searchEvery {
		return process.Identity{}, false
	}
	id, err := c.find()
	if c.unsure = nil; err != nil {
		c.searched = time.Now()
		if !errors.Is(err, process.ErrGone) {
			c.unsure = err
		}
	}
	return id, err == nil
}

// Up implements Runner.
func (c *children) Up() (node, mesh bool, err error) {
	_, supervised := c.Supervisor()
	_, runs := c.Daemon()
	_, mesh = c.Mesh()
	if supervised || runs {
		return true, mesh, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return false, mesh, c.unsure
}

// find searches for a daemon that runs in the folder; the error is process.ErrGone when there is none.
func (c *children) find() (process.Identity, error) {
	path := c.folder.path(supervisor.HomeLock)
	if h, err := process.ReadHolder(path); err == nil && h.Process.Alive() && !locked(path) {
		return process.Identity{}, process.ErrGone // of the folder that this one was copied from
	}
	return supervisor.Daemon(string(c.folder))
}

// holder is who holds a lock. What the file says counts only while the lock is held: the files of a copied folder name
// the processes of its original.
func holder(lock string) (process.Identity, bool) {
	h, err := process.ReadHolder(lock)
	if err != nil || h.Process.IsZero() || !h.Process.Alive() || !locked(lock) {
		return process.Identity{}, false
	}
	return h.Process, true
}

// locked says whether anybody holds the lock on the file at path. It is asked only where the file names a live process,
// so that this look can be in the way of somebody who takes the lock in a copied folder at most.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

var errGone = errors.New("the host's folder is gone")
