package vmlab

import (
	"os/exec"
	"syscall"
)

// endWithUs has the kernel kill a process once the thread that started it has ended, and so when a test is killed.
func endWithUs(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
