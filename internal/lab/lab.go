// Package lab makes bare servers for tests, benchmarks and people: Debian with systemd and sshd, a disk and an address
// each, as they come from a cloud or a rack. It needs root on Linux. A host boots in about a second.
//
// A host is systemd as the first process of its own namespaces, on an overlay file system over a shared image that
// debootstrap makes once. There is no container engine. With one, a host would see this computer's control groups
// (on many test machines version 1, which no supported Debian boots with), start slower, and outlive its owner: an
// engine keeps containers of a test that was killed, and would itself have to be installed, started, shared and ended.
// So made, the kernel ends every host with the process that started it, however that ends; what stays of a killed one
// (a bridge, empty control groups, disks) goes when the next lab starts.
//
// What is not as on a real server: the kernel is this computer's, with its modules; the clock cannot be set; kernel
// parameters other than the network's are read-only; limits on memory, processors and tasks hold only where this
// computer has those controllers in control groups version 2; resource limits end at this computer's own. There is no
// udev, and no way out but to the lab: apt and name resolution go through the process that owns the lab.
package lab

// TB is what a lab needs of whoever it works for; testing.TB has it.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Skip(args ...any)
}

// Skip skips a test, with the reason, where labs cannot be made.
func Skip(tb TB) {
	tb.Helper()
	if why := Why(); why != "" {
		tb.Skip("no lab: " + why)
	}
}

// Suites that hosts can run: Debian 12 and 13. The first is the default.
const (
	Bookworm = "bookworm"
	Trixie   = "trixie"
)

// Password is what the user "admin" of a host has, for sudo with [SudoPassword].
const Password = "bare-metal"

// Login is who may come in by SSH, and what that user may do.
type Login int

// The ways that servers are handed over.
const (
	Root         Login = iota // root
	Sudo                      // admin, who needs no password for sudo
	SudoPassword              // admin, who needs [Password] for sudo
	NoSudo                    // admin, who may not use sudo
)

// Options say what a lab starts with.
type Options struct {
	Hosts int    // how many, named h1, h2, ...; more can be added
	Suite string // what they run; Bookworm if empty
	Login Login
	// Disk limits what a host can write, in bytes; 0 for no limit but this computer's. It is for tests of full disks: a
	// limited disk is a file system of its own in a file, and slower.
	Disk int64
}

// Service is one that a lab can take away from a host, see [Host.Block].
type Service string

// Services that hosts have or need.
const (
	SSH Service = "ssh" // to the host, those that are connected included
	DNS Service = "dns" // names, from the host
	APT Service = "apt" // Debian's mirror, from the host
)
