package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/process"
)

// What a process of ours is.
const (
	agents      = "agent"
	supervisors = "supervisor"
	daemons     = "daemon"
	meshes      = "mesh"
	strangers   = "?"
)

// running is a process that has to do with a folder.
type running struct {
	process.Identity
	args []string
}

// String is for messages.
func (r running) String() string { return fmt.Sprintf("%d %s", r.PID, strings.Join(r.args, " ")) }

// kind says what the process is, by its command line.
func (r running) kind() string {
	switch {
	case len(r.args) > 1 && r.args[1] == "agent":
		return agents
	case len(r.args) > 2 && r.args[1] == "node" && r.args[2] == "run":
		return supervisors
	case len(r.args) > 2 && r.args[1] == "mesh" && r.args[2] == "run":
		return meshes
	case len(r.args) > 1 && r.args[1] == "start" && strings.Contains(r.args[0], "cosmovisor"):
		return daemons
	}
	return strangers
}

// host is the host's folder, by the command line.
func (r running) host() string {
	for i, a := range r.args[:max(0, len(r.args)-1)] {
		switch a {
		case "--host":
			return r.args[i+1]
		case "--home":
			return filepath.Dir(r.args[i+1])
		}
	}
	return ""
}

// under finds every process that runs a file in dir, works in it or is told of it.
func under(dir string) []running {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []running
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		id, err := process.Of(pid)
		if err != nil {
			continue
		}
		args, err := id.Args()
		if err != nil || !concerns(pid, args, dir) || !id.Alive() {
			continue
		}
		out = append(out, running{id, args})
	}
	return out
}

func concerns(pid int, args []string, dir string) bool {
	seen := slices.Clone(args)
	for _, link := range []string{"cwd", "exe"} {
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link)); err == nil {
			seen = append(seen, target)
		}
	}
	return slices.ContainsFunc(seen, func(s string) bool {
		s = strings.TrimSuffix(s, " (deleted)")
		return s == dir || strings.HasPrefix(s, dir+"/")
	})
}

// killUnder kills every process that has to do with dir until none is left for a while, those first that start others.
// It returns what it could not end.
func killUnder(dir string) []running {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	quiet := 0
	for {
		left := under(dir)
		if quiet++; len(left) > 0 {
			quiet = 0
		}
		if quiet == 3 || ctx.Err() != nil {
			return left
		}
		for _, kind := range []string{strangers, agents, meshes, supervisors, daemons} {
			for _, r := range left {
				if r.kind() == kind {
					_ = r.Kill()
				}
			}
		}
		<-tick.C
	}
}

// killed kills a process and waits until it is gone.
func killed(id process.Identity) error {
	if err := id.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return id.Wait(ctx)
}

// unmountUnder gives back file systems that a test mounted.
func unmountUnder(dir string) {
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			_ = exec.Command("umount", f[1]).Run()
		}
	}
}
