// Package vmlab runs one command of a test in a small virtual machine of its own, on Debian's own kernel: with
// WireGuard, netem and packet filters, whatever the kernel of this computer lacks, and with a clock of its own.
//
// The machine is emulated (qemu with TCG), so it needs no root and no /dev/kvm, and nothing timed in it means anything.
// Its only file system is made of busybox, the kernel's modules and the files of the job. It has no network but its own
// loopback. Only Linux on x86-64 can run it, with qemu-system-x86, busybox-static, and apt for the kernel.
package vmlab

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// VM is a kernel that is ready to run. It may run several jobs at once, each in a machine of its own.
type VM struct {
	kernel  string
	modules shelf
}

// Job is one command in a new machine.
type Job struct {
	// Files go into the machine: absolute paths there by paths of files here. A dynamically linked program brings its
	// libraries along. Go test binaries are best built with CGO_ENABLED=0.
	Files map[string]string
	// Programs are programs of this computer to put there as well, by name, as ip and nft. Busybox is there always.
	Programs []string
	// Args is the command, found in PATH, which is as usual. It runs as root in /tmp, with no standard input.
	Args []string
	// Env is added to the command's environment.
	Env map[string]string
	// Modules are loaded besides the ones for WireGuard, veth, bridges, dummy, TUN, netem and nftables.
	Modules []string
	// Clock is when the machine boots; now if it is zero.
	Clock time.Time
	// Out gets what the command writes to its standard output and error, as it comes; nil for nobody.
	Out io.Writer
	// Timeout is for all of it, boot included; two minutes if it is zero.
	Timeout time.Duration
}

// Result is what became of a job.
type Result struct {
	// Code is the command's exit code as a shell has it: 126 or 127 if it could not run, 128+n after signal n. It is -1
	// where there is none.
	Code  int
	Boot  time.Duration // from the start of the machine to the start of the command
	Total time.Duration // all of Run
}

// Why reports what keeps machines from running here, or "".
func Why() string {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "test machines run only on Linux on x86-64"
	}
	for _, need := range [][2]string{
		{"qemu-system-x86_64", "qemu-system-x86"}, {"busybox", "busybox-static"}, {"apt-get", "apt"}, {"dpkg-deb", "dpkg"},
	} {
		if _, err := exec.LookPath(need[0]); err != nil {
			return fmt.Sprintf("test machines need %s; on Debian: apt-get install %s", need[0], need[1])
		}
	}
	return ""
}

// Skip skips a test where no machine can run.
func Skip(tb testing.TB) {
	tb.Helper()
	if why := Why(); why != "" {
		tb.Skip(why)
	}
}
