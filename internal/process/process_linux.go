package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of times in /proc/PID/stat. The kernel shows 100 to user space on every architecture Go runs on.
const clockTick = time.Second / 100

// Fields of /proc/PID/stat after the command's name, which is in parentheses and may hold anything.
const (
	statState = 0
	statGroup = 2
	statUtime = 11
	statStime = 12
	statStart = 19
	statRSS   = 21
)

func lookup(pid int) (id Identity, zombie bool, err error) {
	fields, err := stat(pid)
	if err != nil {
		return Identity{}, false, err
	}
	boot, err := bootID()
	if err != nil {
		return Identity{}, false, err
	}
	state := fields[statState]
	id = Identity{PID: pid, Start: fields[statStart], Boot: boot}
	return id, state == "Z" || state == "X", nil
}

// bootID does not change while we live.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
})

func stat(pid int) ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, fmt.Errorf("look up process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("look up process %d: %w", pid, err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= statRSS {
		return nil, fmt.Errorf("look up process %d: the kernel's answer is too short: %q", pid, b)
	}
	return fields, nil
}

// signal goes through a pidfd: from the moment it is open it means one process, so the check that follows holds for the
// signal too. Kernels before 5.3 have none; there the check and the signal are two steps.
func (id Identity) signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	case err != nil:
		fd = -1
	default:
		defer func() { _ = unix.Close(fd) }()
	}
	if !id.Alive() {
		return ErrGone
	}
	if fd >= 0 {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	} else {
		err = unix.Kill(id.PID, sig)
	}
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// Usage reads what the process takes.
func (id Identity) Usage() (Usage, error) {
	fields, err := stat(id.PID)
	if err != nil {
		return Usage{}, err
	}
	if fields[statStart] != id.Start {
		return Usage{}, fmt.Errorf("look up process %d: %w", id.PID, ErrGone)
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(fields[i], 10, 64) // the kernel's own numbers
		return n
	}
	return Usage{
		RSS: number(statRSS) * uint64(os.Getpagesize()),
		CPU: time.Duration(number(statUtime)+number(statStime)) * clockTick,
	}, nil
}

// Executable is the file that the process runs, which may have been replaced or removed at its old path.
func (id Identity) Executable() (os.FileInfo, error) {
	if !id.Alive() {
		return nil, fmt.Errorf("look up process %d: %w", id.PID, ErrGone)
	}
	info, err := os.Stat("/proc/" + strconv.Itoa(id.PID) + "/exe")
	if err != nil {
		return nil, fmt.Errorf("look up executable of process %d: %w", id.PID, err)
	}
	return info, nil
}

// Args is the command line of the process.
func (id Identity) Args() ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/cmdline")
	if err != nil {
		return nil, fmt.Errorf("read command line of process %d: %w", id.PID, err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}
