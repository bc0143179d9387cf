package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
)

// global holds the flags that every command has.
type global struct {
	file   string
	state  string
	daemon string
	// unasked: machines are bought without asking the clouds first.
	unasked bool
	// looked: what may be there was looked for in the clouds' consoles.
	looked bool
}

// load reads the config.
func (g *global) load() (*config.Deployment, error) {
	f, err := os.Open(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(usageError{fmt.Errorf("there is no config %q here", g.file)}, "run 'pressenter up' in an empty folder, or 'pressenter init'")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read config %q: %w", g.file, err)
	}
	return config.Parse(g.file, src)
}

// dir is the deployment's state folder.
func (g *global) dir() (deployment.Dir, error) {
	path := g.state
	if path == "" {
		path = filepath.Join(filepath.Dir(g.file), ".pressenter")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real // one deployment has one name, whichever way one came
	}
	return deployment.Dir(abs), nil
}

// session prepares a session on the deployment. Nothing is locked or read yet.
func (g *global) session() (*apply.Session, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	return g.sessionFor(*c)
}

func (g *global) sessionFor(c config.Deployment) (*apply.Session, error) {
	dir, err := g.dir()
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	hosts, servers := hostsOf(c.Name, dir, exe)
	return &apply.Session{
		Config: c, Dir: dir, Daemon: g.findDaemon(c, exe), Provider: hosts, Servers: servers, PublicOf: servers.PublicOf, SeenFrom: servers.SeenFrom, Who: who(), Build: build(),
		Cloud:      apply.Cloud{Tool: os.Getenv("PRESSENTER_TOFU"), Environment: strings.Fields(os.Getenv("PRESSENTER_TOFU_ENVIRONMENT")), Unasked: g.unasked, Looked: g.looked},
		Passphrase: askPassphrase,
	}, nil
}

// findDaemon looks for the chain's program: where the flag or the config says, beside this program, in PATH.
func (g *global) findDaemon(c config.Deployment, exe string) string {
	if g.daemon != "" {
		return absolute(g.daemon)
	}
	if !c.Chain.BuiltIn() {
		path := c.Chain.Binary
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(g.file), path)
		}
		return absolute(path)
	}
	beside := filepath.Join(filepath.Dir(exe), plan.BuiltIn.Daemon)
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	if path, err := exec.LookPath(plan.BuiltIn.Daemon); err == nil {
		return absolute(path)
	}
	return beside
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// who names the person and process that holds a lock.
func who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "this computer"
	}
	folder, err := os.Getwd()
	if err != nil {
		folder = "?"
	}
	return fmt.Sprintf("%s@%s (process %d in %s)", name, hostname, os.Getpid(), folder)
}

// askPassphrase is asked for when a keyring is protected. Practice keyrings are not.
func askPassphrase() ([]byte, error) {
	return readSecret("Passphrase of the operator keyring: ")
}
