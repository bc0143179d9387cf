package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec says how to start a process. It gets no input, its own session, and nothing of our environment or open files
// beyond what is named here.
type Spec struct {
	Path string   // executable
	Args []string // without the program's name
	Dir  string   // working folder
	Env  []string // the whole environment, KEY=VALUE
	// LogPath gets standard output and error, appended; it is made with mode 0600. Empty discards them.
	LogPath string
	// ExtraFiles become file descriptors 3, 4, ... of the process.
	ExtraFiles []*os.File
}

// Child is a process that we started. It goes on when we end.
type Child struct {
	Identity Identity
	cmd      *exec.Cmd
}

// Exit says how a process ended.
type Exit struct {
	Code   int    `json:"code"`             // -1 when a signal ended it, or when nobody can know
	Signal string `json:"signal,omitempty"` // "killed", "segmentation fault", ...
	Core   bool   `json:"core,omitempty"`
}

// Killed says whether SIGKILL ended the process: the kernel short of memory, or a person.
func (e Exit) Killed() bool { return e.Signal == syscall.SIGKILL.String() }

// String is for logs and people.
func (e Exit) String() string {
	if e.Signal != "" {
		return "ended by signal: " + e.Signal
	}
	if e.Code < 0 {
		return "ended, and nobody saw how"
	}
	return "exit code " + strconv.Itoa(e.Code)
}

// Start starts a process in a session of its own. The caller must call Wait, or it stays a zombie while we live.
func Start(spec Spec) (*Child, error) {
	log, err := openLog(spec.LogPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	closeOnExec()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append([]string{}, spec.Env...) // not nil: that would mean ours
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = spec.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", spec.Path, err)
	}
	// Until Wait, even a process that has already ended keeps its pid.
	id, _, err := lookup(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("start %q: %w", spec.Path, err)
	}
	return &Child{Identity: id, cmd: cmd}, nil
}

// StartDetached starts a process that nobody waits for.
func StartDetached(spec Spec) (Identity, error) {
	child, err := Start(spec)
	if err != nil {
		return Identity{}, err
	}
	go child.Wait() // only so that it is no zombie while we live
	return child.Identity, nil
}

// Wait blocks until the process has ended. It is called once.
func (c *Child) Wait() Exit {
	err := c.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return Exit{Code: -1}
	}
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return Exit{Code: c.cmd.ProcessState.ExitCode()}
	}
	if status.Signaled() {
		return Exit{Code: -1, Signal: status.Signal().String(), Core: status.CoreDump()}
	}
	return Exit{Code: status.ExitStatus()}
}

func openLog(path string) (*os.File, error) {
	if path == "" {
		path = os.DevNull
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

// closeOnExec marks files that we inherited ourselves, so that a process we start does not get them: everything Go opens
// is marked already.
func closeOnExec() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
