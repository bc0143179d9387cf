package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/remote"
	"github.com/pressenter/pressenter/internal/ssh"
)

// hostsOf supplies the hosts of a deployment, on this computer and on servers.
func hostsOf(name string, dir deployment.Dir, exe string) (apply.ByPlace, *remote.Provider) {
	bought := func(patience time.Duration) *ssh.Dialer {
		d := dialer(dir)
		d.ConfigFile, d.Agent, d.Identities, d.Patience = ssh.NoFile, ssh.NoFile, []string{apply.SSHKey(dir)}, patience
		return d
	}
	servers := &remote.Provider{
		Exe: exe, Deployment: name, Dialer: dialer(dir), Bought: bought(0), Fresh: bought(firstBoot), Found: tellFound(os.Stderr),
	}
	return apply.ByPlace{Here: local.Provider{Exe: exe}, Machines: servers}, servers
}

// firstBoot is how long a new machine may take until it lets its operator in.
const firstBoot = 5 * time.Minute

// dialer reaches servers as their operator does, and pins their host keys.
func dialer(dir deployment.Dir) *ssh.Dialer {
	return &ssh.Dialer{
		Pins: filepath.Join(dir.Operator(), "known_hosts"),
		OnFirstContact: func(_ context.Context, c ssh.Contact) error {
			if err := os.MkdirAll(dir.Operator(), 0o700); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "first contact with %s at %s: its host key %s %s is pinned from now on\n", c.Target, c.Address, c.KeyType, c.Fingerprint)
			return nil
		},
		Prompt: func(_ context.Context, file string) ([]byte, error) {
			return readSecret(fmt.Sprintf("Passphrase of the SSH key %s: ", file))
		},
	}
}

// tellFound says what was found of servers, each once.
func tellFound(w io.Writer) func(host string, found []health.Finding) {
	var mu sync.Mutex
	told := map[string]bool{}
	return func(host string, found []health.Finding) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range found {
			text := fmt.Sprintf("%s: %s: %s\n", f.Severity, host, f.Message)
			if f.Next != "" {
				text += fmt.Sprintf("  → %s\n", f.Next)
			}
			if !told[text] {
				told[text] = true
				fmt.Fprint(w, text)
			}
		}
	}
}
