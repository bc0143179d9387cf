package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Program builds this tree's program as servers run it, once in a process, and returns it. It is called in a folder of the module.
var Program = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pressenter-lab-program-")
	if err != nil {
		return nil, fmt.Errorf("build the program: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	exe := filepath.Join(dir, "pressenter")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, "github.com/pressenter/pressenter/cmd/pressenter")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the program: %w: %s", err, out)
	}
	return os.ReadFile(exe)
})
