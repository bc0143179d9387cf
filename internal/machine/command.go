package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// systemPath is where the system's own programs are. A service's own PATH often lacks some.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// output runs one of the system's programs and returns what it prints. Nothing of it is in the language of the machine,
// and nothing may be asked.
func output(ctx context.Context, args ...string) (string, error) {
	path, err := program(args[0])
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Env = []string{"PATH=" + systemPath, "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	cmd.WaitDelay = time.Second
	var said, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // which says more than that it was killed
		}
		return said.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, lastLines(complaint.String()))
	}
	return said.String(), nil
}

// program finds one of the system's programs.
func program(name string) (string, error) {
	for dir := range strings.SplitSeq(systemPath, ":") {
		if info, err := os.Stat(dir + "/" + name); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("there is no program %s on this machine: %w", name, os.ErrNotExist)
}

// lastLines is the end of what a program complained of, on one line.
func lastLines(s string) string {
	const most = 600
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = "… " + s[len(s)-most:]
	}
	return s
}

// activeUnit returns the first of units that runs; empty if none does.
func activeUnit(ctx context.Context, units ...string) string {
	said, _ := output(ctx, append([]string{"systemctl", "is-active"}, units...)...) // its exit code is of all of them
	for i, state := range strings.Fields(said) {
		if (state == "active" || state == "reloading") && i < len(units) {
			return units[i]
		}
	}
	return ""
}
