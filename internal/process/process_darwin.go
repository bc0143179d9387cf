package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const zombieState = 5 // SZOMB of sys/proc.h

func lookup(pid int) (id Identity, zombie bool, err error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) || err == nil && int(k.Proc.P_pid) != pid {
		return Identity{}, false, fmt.Errorf("look up process %d: %w", pid, ErrGone) // EIO is the answer for no such process
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("look up process %d: %w", pid, err)
	}
	t := k.Proc.P_starttime // wall clock to the microsecond: no boot id is needed beside it
	id = Identity{PID: pid, Start: fmt.Sprintf("%d.%06d", t.Sec, t.Usec)}
	return id, k.Proc.P_stat == zombieState, nil
}

// signal checks and then signals; there is nothing on this system that makes the two one.
func (id Identity) signal(sig syscall.Signal) error {
	if !id.Alive() {
		return ErrGone
	}
	err := syscall.Kill(id.PID, sig)
	if errors.Is(err, syscall.ESRCH) {
		return ErrGone
	}
	return err
}

// Usage is not read on this system.
func (id Identity) Usage() (Usage, error) {
	return Usage{}, fmt.Errorf("read usage of process %d: %w", id.PID, errors.ErrUnsupported)
}

// Executable is the file at the path that the process was started from.
func (id Identity) Executable() (os.FileInfo, error) {
	path, _, err := id.arguments()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look up executable of process %d: %w", id.PID, err)
	}
	return info, nil
}

// Args is the command line of the process.
func (id Identity) Args() ([]string, error) {
	_, args, err := id.arguments()
	return args, err
}

// arguments reads argc, the executable's path, padding, and the arguments, each ended by a zero byte.
func (id Identity) arguments() (path string, args []string, err error) {
	b, err := unix.SysctlRaw("kern.procargs2", id.PID)
	if err != nil {
		return "", nil, fmt.Errorf("read command line of process %d: %w", id.PID, err)
	}
	if len(b) < 4 {
		return "", nil, fmt.Errorf("read command line of process %d: the kernel's answer is too short", id.PID)
	}
	argc := int(binary.NativeEndian.Uint32(b))
	exe, rest, _ := bytes.Cut(b[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	for range argc {
		arg, more, found := bytes.Cut(rest, []byte{0})
		if !found {
			break
		}
		args, rest = append(args, string(arg)), more
	}
	return string(exe), args, nil
}
