// Package remote supplies hosts that are servers, reached over SSH. What the provider of this computer does with folders
// and processes, it does with this program pushed to the server and called there.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/ssh"
)

// Provider supplies the hosts. It may be used by many goroutines at once.
type Provider struct {
	Exe    string // this program
	Dialer *ssh.Dialer
	// Bought reaches machines that were bought, Fresh those that may just be booting for the first time.
	Bought, Fresh *ssh.Dialer
	// Deployment is the name of the deployment whose hosts they are.
	Deployment string
	// Found is told what is not as it should be of a server and does not keep it from being a host, if not nil. It may be
	// called by several goroutines at once.
	Found func(host string, found []health.Finding)

	mu    sync.Mutex
	lines map[string]*line // by the host's address
	sum   string           // SHA-256 of this program
}

// line is the one connection to a server, made when it is needed and again when it broke.
type line struct {
	mu     sync.Mutex
	client *ssh.Client
}

// dial returns the connection to a host.
func (p *Provider) dial(ctx context.Context, h deployment.Host) (*ssh.Client, error) {
	if h.Bought() {
		return p.dialBy(ctx, p.Bought, h)
	}
	return p.dialBy(ctx, p.Dialer, h)
}

func (p *Provider) dialBy(ctx context.Context, d *ssh.Dialer, h deployment.Host) (*ssh.Client, error) {
	target, err := ssh.ParseTarget(h.Address)
	if err != nil {
		return nil, err
	}
	target.Name = h.Machine()
	p.mu.Lock()
	if p.lines == nil {
		p.lines = map[string]*line{}
	}
	l := p.lines[h.Address]
	if l == nil {
		l = &line{}
		p.lines[h.Address] = l
	}
	p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		select {
		case <-l.client.Lost():
		default:
			return l.client, nil
		}
	}
	l.client, err = d.Dial(ctx, target)
	return l.client, err
}

// Close ends every connection.
func (p *Provider) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if l.client != nil {
			_ = l.client.Close()
		}
	}
	p.lines = nil
}

// PublicOf is where an SSH destination leads, without port.
func (p *Provider) PublicOf(address string) (string, error) {
	target, err := ssh.ParseTarget(address)
	if err != nil {
		return "", err
	}
	return p.Dialer.HostOf(target)
}

// program is where this program lies on servers; another build lies elsewhere.
func (p *Provider) program() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sum == "" {
		sum, err := atomicfile.SHA256(p.Exe)
		if err != nil {
			return "", fmt.Errorf("read this program: %w", err)
		}
		p.sum = sum
	}
	return path.Join(machine.Programs, p.sum[:16], "pressenter"), nil
}

// Create brings this program to the server.
func (p *Provider) Create(ctx context.Context, h deployment.Host) error {
	d := p.Dialer
	if h.Bought() {
		d = p.Fresh
	}
	c, err := p.dialBy(ctx, d, h)
	if err != nil {
		return fmt.Errorf("create host %q: %w", h.Name, err)
	}
	if err := p.preflight(ctx, c, h); err != nil {
		return fmt.Errorf("create host %q: %w", h.Name, err)
	}
	to, err := p.program()
	if err != nil {
		return err
	}
	if err := push(ctx, c, p.Exe, p.sum, to); err != nil {
		return fmt.Errorf("create host %q: bring this program there: %w", h.Name, err)
	}
	return nil
}

// suits says why this program cannot run on a server, before it is pushed there.
func (p *Provider) suits(ctx context.Context, c *ssh.Client) error {
	var out bytes.Buffer
	if err := c.Run(ctx, ssh.Command{Args: []string{"uname", "-sm"}, Stdout: &out}); err != nil {
		return err
	}
	return fits(p.Exe, strings.TrimSpace(out.String()))
}

func push(ctx context.Context, c *ssh.Client, from, sum, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return c.Push(ctx, ssh.File{Source: f, Size: info.Size(), SHA256: sum, Path: to, Mode: 0o755, Sudo: true})
}

// Stage brings the chain's program to the host, and returns where it lies there.
func (p *Provider) Stage(ctx context.Context, h deployment.Host, d deployment.Daemon, from string) (string, error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return "", err
	}
	if err := p.suits(ctx, c); err != nil {
		return "", err
	}
	to := path.Join(machine.Folder, "store", d.SHA256, d.Name)
	if err := push(ctx, c, from, d.SHA256, to); err != nil {
		return "", fmt.Errorf("bring %s to host %q: %w", d.Name, h.Name, err)
	}
	return to, nil
}

// agentWait bounds how long an agent may take until it answers.
const agentWait = 20 * time.Second

// StartAgent sets the machine up with this program, and waits until its agent answers. Doing it again changes nothing.
func (p *Provider) StartAgent(ctx context.Context, h deployment.Host) error {
	if err := p.Create(ctx, h); err != nil { // another build's may be there
		return err
	}
	program, err := p.program()
	if err != nil {
		return err
	}
	report, err := call[machine.Report](ctx, p, h, program, "setup", p.spec(h, program))
	if err != nil {
		return fmt.Errorf("set up machine %q: %w", h.Name, err)
	}
	p.tell(h.Name, report.Findings)
	if report.Trial {
		if err := p.confirm(ctx, h, program); err != nil {
			return fmt.Errorf("set up machine %q: %w", h.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	c := p.Client(h)
	defer c.Close()
	if err := c.Await(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("start agent of %q: it does not answer (%w); see 'journalctl -u %s' there", h.Name, err, machine.AgentUnit)
	}
	return nil
}

// RestartAgent replaces the host's agent by one of this program. Nothing else of the host is touched.
func (p *Provider) RestartAgent(ctx context.Context, h deployment.Host) error {
	return p.StartAgent(ctx, h)
}

// StopAgent ends the host's agent and, with nobody left to look after it, the mesh process. The node goes on.
func (p *Provider) StopAgent(ctx context.Context, h deployment.Host) error {
	_, err := call[struct{}](ctx, p, h, machine.Current, "stop-agent", p.owner(h))
	return err
}

// Client asks the host's agent.
func (p *Provider) Client(h deployment.Host) *api.Client {
	return api.DialThrough(h.Name, func(ctx context.Context) (net.Conn, error) {
		c, err := p.dial(ctx, h)
		if err != nil {
			return nil, err
		}
		return c.Stream(ctx, []string{machine.Current, "host", "dial"}, true)
	})
}

// inspectTimeout bounds a look at a host without its agent.
const inspectTimeout = 10 * time.Second

// Inspect says what runs on a host whose agent does not answer.
func (p *Provider) Inspect(ctx context.Context, h deployment.Host) (api.HostStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	return call[api.HostStatus](ctx, p, h, machine.Current, "inspect", struct{}{})
}

// Exists says whether the server was set up. An error says that it cannot be told.
func (p *Provider) Exists(ctx context.Context, h deployment.Host) (bool, error) {
	if h.Address == "" {
		return false, nil // not bought yet
	}
	c, err := p.dial(ctx, h)
	if err != nil {
		return false, err
	}
	// A word and not an exit status, which sudo and a broken disk have too.
	script := `for p; do if [ -e "$p" ] || [ -L "$p" ]; then echo there; exit; fi; done; echo gone`
	var out bytes.Buffer
	err = c.Run(ctx, ssh.Command{
		Args: []string{"sh", "-c", script, "exists", machine.Current, path.Join(machine.Folder, "agent")}, Stdout: &out, Sudo: true,
	})
	if err != nil {
		return false, err
	}
	switch word := strings.TrimSpace(out.String()); word {
	case "there":
		return true, nil
	case "gone":
		return false, nil
	default:
		return false, fmt.Errorf("ask %q whether it was set up: it says %q", h.Name, word)
	}
}

// owner is whom a machine has to belong to.
func (p *Provider) owner(h deployment.Host) machine.Whose {
	return machine.Whose{Deployment: p.Deployment, Host: h.Name}
}

// Destroy ends everything on the host, proves that nothing runs any more, and removes what was put there. What a
// validator cannot do without is brought to keep first: the sealed backup of its key, and its sign state.
func (p *Provider) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	left, err := call[machine.Left](ctx, p, h, machine.Current, "stop", p.owner(h))
	if err != nil {
		return fmt.Errorf("destroy host %q: %w; nothing was removed", h.Name, err)
	}
	if keep != "" && h.Role != roster.RoleSentry && len(left.SignState)+len(left.Backup) > 0 { // whatever a sentry says that it has
		if err := keepSigning(keep, left); err != nil {
			return fmt.Errorf("destroy host %q: keep its sign state: %w; nothing was removed", h.Name, err)
		}
	}
	if _, err := call[struct{}](ctx, p, h, machine.Current, "remove", p.owner(h)); err != nil {
		return fmt.Errorf("destroy host %q: %w", h.Name, err)
	}
	_, err = p.Forget(h) // a cloud gives the address to somebody else, and a name is used again
	return err
}

// keepSigning writes what is left of a validator into a folder. What an earlier host of the name left is of another key, or
// an older state: it stays where it is, and the new one goes beside it. The state is written last, and makes it whole; a key
// that never signed has none.
func keepSigning(folder string, left machine.Left) error {
	const backup, state = "consensus-key.age", "consensus_state.json"
	for n, base := 1, folder; ; n++ {
		if n > 1 {
			folder = fmt.Sprintf("%s.%d", base, n)
		}
		err := os.MkdirAll(folder, 0o700)
		if err == nil && len(left.Backup) > 0 {
			err = keepFile(filepath.Join(folder, backup), left.Backup)
		}
		if err == nil && len(left.SignState) > 0 {
			err = keepFile(filepath.Join(folder, state), left.SignState)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// keepFile writes a file that is not there yet, or holds just that.
func keepFile(path string, b []byte) error {
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, b) {
		return nil
	}
	return atomicfile.WriteNew(path, b, 0o600)
}

// Forget drops the host keys that are pinned for a host, and returns their fingerprints.
func (p *Provider) Forget(h deployment.Host) (fingerprints []string, err error) {
	names := []string{h.Machine()}
	if h.Bought() && h.Public != "" {
		names = append(names, h.Public)
	} else if target, err := ssh.ParseTarget(h.Address); err == nil {
		names = append(names, target.Host)
	}
	for _, name := range names {
		some, err := ssh.Forget(p.Dialer.Pins, name)
		if err != nil {
			return fingerprints, fmt.Errorf("forget the host key of %q: %w", h.Name, err)
		}
		fingerprints = append(fingerprints, some...)
	}
	return fingerprints, nil
}

// capped keeps what a host says, as much of it as an agent may answer.
type capped struct {
	b    []byte
	more bool
}

// Write implements io.Writer. What is too much is read and dropped, so that the command can end.
func (c *capped) Write(b []byte) (int, error) {
	fits := min(len(b), api.MaxResponse-len(c.b))
	c.b, c.more = append(c.b, b[:fits]...), c.more || fits < len(b)
	return len(b), nil
}

// call runs one of the hidden commands of this program on the host: JSON in, JSON out.
func call[Out any](ctx context.Context, p *Provider, h deployment.Host, program, command string, in any) (out Out, err error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return out, err
	}
	b, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	var said capped
	err = c.Run(ctx, ssh.Command{Args: []string{program, "host", command}, Stdin: bytes.NewReader(b), Stdout: &said, Sudo: true})
	if err != nil {
		return out, err
	}
	if said.more {
		return out, fmt.Errorf("'host %s' said more than %d bytes", command, api.MaxResponse)
	}
	if err := json.Unmarshal(said.b, &out); err != nil {
		return out, fmt.Errorf("read what 'host %s' said: %w", command, err)
	}
	health.PlainAll(&out)
	return out, nil
}
