package vmlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrGuest is what errors wrap that the machine itself is to blame for: its kernel panicked or refused a module, or it
// ended without telling the command's exit code. The text ends with what the kernel said last.
var ErrGuest = errors.New("test machine failed")

const (
	timeout = 2 * time.Minute
	memory  = "1024"
	cpus    = "2"
	tail    = 200 // lines of the kernel that are kept: a panic has dozens
)

// commandLine makes the kernel quiet, and end the machine when it is in trouble instead of waiting for somebody.
const commandLine = "console=ttyS0 loglevel=4 panic=-1 oops=panic mitigations=off nokaslr random.trust_cpu=on"

// Run boots a machine, runs the job's command in it and returns once both have ended. A command that fails is a Result
// with its code and no error. Errors are [ErrGuest], the context's own, [context.DeadlineExceeded] after job.Timeout, or
// what keeps the machine from starting. Whatever happens, neither processes nor files are left.
func (vm *VM) Run(ctx context.Context, job Job) (Result, error) {
	began := time.Now()
	if job.Timeout == 0 {
		job.Timeout = timeout
	}
	ctx, cancel := context.WithTimeout(ctx, job.Timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "pressenter-vm-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	im, err := imageOf(job, vm.modules)
	if err != nil {
		return Result{}, fmt.Errorf("make image: %w", err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := im.write(initrd); err != nil {
		return Result{}, fmt.Errorf("make image: %w", err)
	}
	m := &machine{out: job.Out, began: time.Now(), code: -1}
	if m.out == nil {
		m.out = io.Discard
	}
	err = m.run(exec.CommandContext(ctx, "qemu-system-x86_64", arguments(vm.kernel, initrd, job.Clock)...))
	r := Result{Code: m.code, Boot: m.boot, Total: time.Since(began)}
	if ctx.Err() != nil && m.code < 0 {
		return r, fmt.Errorf("test machine after %v: %w%s", r.Total.Round(time.Millisecond), ctx.Err(), m.said())
	}
	return r, err
}

func arguments(kernel, initrd string, clock time.Time) []string {
	args := []string{
		"-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", cpus, "-m", memory,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", commandLine,
	}
	for i := range lines {
		fd := strconv.Itoa(3 + i) // as exec.Cmd numbers its extra files
		args = append(args, "-chardev", "file,id=line"+fd+",path=/dev/fd/"+fd, "-serial", "chardev:line"+fd)
	}
	if !clock.IsZero() {
		args = append(args, "-rtc", "base="+clock.UTC().Format("2006-01-02T15:04:05"))
	}
	return args
}

// The machine's serial lines.
const (
	consoleLine = iota // the kernel's messages
	outputLine         // the command's output
	reportLine         // what init.sh reports: refused MODULE, ready, exit CODE
	lines
)

// machine is one that runs.
type machine struct {
	out     io.Writer
	began   time.Time
	boot    time.Duration
	code    int // -1 until it is known
	refused []string
	console []string
}

// run starts qemu and reads its lines until it has ended.
func (m *machine) run(qemu *exec.Cmd) error {
	runtime.LockOSThread() // endWithUs goes by the thread that starts the process
	defer runtime.UnlockOSThread()
	var complaints strings.Builder
	qemu.Stderr = &complaints
	qemu.WaitDelay = 5 * time.Second
	endWithUs(qemu)
	var ends [lines]*os.File
	for i := range ends {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		ends[i], qemu.ExtraFiles = r, append(qemu.ExtraFiles, w)
	}
	if err := qemu.Start(); err != nil {
		return fmt.Errorf("start qemu: %w", err)
	}
	for _, w := range qemu.ExtraFiles {
		w.Close()
	}
	var readers sync.WaitGroup
	var outErr error
	readers.Go(func() { m.readConsole(ends[consoleLine]) })
	readers.Go(func() { m.readReports(ends[reportLine]) })
	readers.Go(func() { _, outErr = io.Copy(m.out, ends[outputLine]); _, _ = io.Copy(io.Discard, ends[outputLine]) })
	err := qemu.Wait()
	readers.Wait()
	switch {
	case err != nil:
		return fmt.Errorf("run qemu: %w: %s", err, strings.TrimSpace(complaints.String()))
	case len(m.refused) > 0:
		return fmt.Errorf("%w: its kernel refused %s%s", ErrGuest, strings.Join(m.refused, ", "), m.said())
	case m.code < 0:
		return fmt.Errorf("%w: it ended without an exit code%s", ErrGuest, m.said())
	case outErr != nil:
		return fmt.Errorf("write output of test machine: %w", outErr)
	}
	return nil
}

func (m *machine) readConsole(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		m.console = append(m.console, s.Text())
		m.console = m.console[max(0, len(m.console)-tail):]
	}
	_, _ = io.Copy(io.Discard, r) // after a line too long for the scanner: qemu must not wait for us
}

func (m *machine) readReports(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		switch word, rest, _ := strings.Cut(s.Text(), " "); word {
		case "ready":
			m.boot = time.Since(m.began)
		case "refused":
			m.refused = append(m.refused, rest)
		case "exit":
			if code, err := strconv.Atoi(rest); err == nil {
				m.code = code
			}
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// said is what the kernel said last, for the end of an error.
func (m *machine) said() string {
	if len(m.console) == 0 {
		return ""
	}
	return "\n" + strings.Join(m.console, "\n")
}
