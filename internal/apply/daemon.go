package apply

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
)

// NoDaemon says that the chain's program cannot be used, and what to do.
type NoDaemon struct{ Why, Next string }

// Error implements error.
func (e *NoDaemon) Error() string { return e.Why }

// stagedOrFound is the daemon that the deployment was made with or, before there is one, the one that was found. A
// program that is rebuilt later changes nothing: another daemon is an upgrade, and asked for as such.
func (s *Session) stagedOrFound() (deployment.Daemon, error) {
	for _, side := range []*sideState{s.own, s.world} {
		d := side.inventory.Daemon
		if d.SHA256 == "" {
			continue
		}
		if _, err := os.Stat(storePath(s.Dir, d.SHA256, d.Name)); err == nil {
			return d, nil
		}
	}
	return inspectDaemon(s.Config, s.Daemon)
}

// inspectDaemon looks at the chain's program before anything is made with it.
func inspectDaemon(c config.Deployment, path string) (deployment.Daemon, error) {
	next := "build it with 'make chain', or name it with --daemon"
	if !c.Chain.BuiltIn() {
		next = "set chain.binary to the daemon's executable on this computer"
	}
	if path == "" {
		return deployment.Daemon{}, &NoDaemon{"the chain's program was not found", next}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return deployment.Daemon{}, &NoDaemon{fmt.Sprintf("the chain's program %q does not exist", path), next}
	case err != nil:
		return deployment.Daemon{}, err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return deployment.Daemon{}, &NoDaemon{fmt.Sprintf("the chain's program %q is not executable", path), "chmod +x it, or " + next}
	}
	if err := architecture(path); err != nil {
		return deployment.Daemon{}, &NoDaemon{fmt.Sprintf("the chain's program %q cannot run here: %v", path, err), next}
	}
	sum, err := atomicfile.SHA256(path)
	if err != nil {
		return deployment.Daemon{}, fmt.Errorf("read the chain's program: %w", err)
	}
	name := c.Chain.Daemon
	if c.Chain.BuiltIn() {
		name = "practiced"
	}
	return deployment.Daemon{Name: name, Path: path, SHA256: sum}, nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// architecture compares the program's machine with ours, where both are known. Scripts pass.
func architecture(path string) error {
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var magic [4]byte
	if n, err := io.ReadFull(f, magic[:]); err != nil {
		return fmt.Errorf("it has only %d bytes", n)
	}
	switch {
	case string(magic[:2]) == "#!":
		return nil
	case string(magic[:]) != elf.ELFMAG:
		return errors.New("it is not a program of Linux")
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	if want, known := machines[runtime.GOARCH]; known && e.Machine != want {
		return fmt.Errorf("it is for %v, this computer is %s", e.Machine, runtime.GOARCH)
	}
	return nil
}

// storePath is where a daemon lies by content.
func storePath(d deployment.Dir, sum, name string) string {
	return filepath.Join(d.Store(), sum, name)
}

// stage copies the daemon into the deployment's store, whole or not at all.
func stage(d deployment.Dir, from deployment.Daemon) (to string, err error) {
	to = storePath(d, from.SHA256, from.Name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	err = atomicfile.Copy(from.Path, to, from.SHA256, 0o700)
	if other := (*atomicfile.Differs)(nil); errors.As(err, &other) {
		return "", fmt.Errorf("%q changed while it was copied", from.Path)
	}
	return to, err
}
