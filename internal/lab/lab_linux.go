package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Lab is a set of hosts on a network of their own with this computer. Its methods may be used from several goroutines.
type Lab struct {
	ID        string       // six hex digits
	Network   netip.Prefix // a /24
	Gateway   string       // this computer, as hosts reach it
	Key       string       // path of the private key that opens every host
	PublicKey string       // the same key's public half, as in authorized_keys
	SSHConfig string       // path of a configuration for ssh -F, which knows every host by its name
	Folder    string       // all that the lab keeps; it ends with the lab

	options Options
	image   string
	groups  string // where this computer has its control groups
	unlock  func()
	door    *gateway

	mu     sync.Mutex
	hosts  []*Host
	last   netip.Addr // the address given out last
	closed bool
}

// New is [Start] for tests: the lab ends with tb, and tb is skipped where there can be none.
func New(tb TB, o Options) *Lab {
	tb.Helper()
	Skip(tb)
	l, err := Start(context.Background(), o)
	if err != nil {
		tb.Fatalf("start lab: %v", err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Errorf("end lab: %v", err)
		}
	})
	return l
}

// Start makes a lab and boots its first hosts, all at once. It first removes what labs of dead owners left behind. The
// first lab of a computer makes the image, which takes a minute or two.
func Start(ctx context.Context, o Options) (l *Lab, err error) {
	if why := Why(); why != "" {
		return nil, fmt.Errorf("no lab: %s", why)
	}
	if o.Suite == "" {
		o.Suite = Bookworm
	}
	l = &Lab{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
			l = nil
		}
	}()
	if err := l.lay(ctx); err != nil {
		return l, err
	}
	for i := range o.Hosts {
		if _, err := l.enter(fmt.Sprintf("h%d", i+1)); err != nil {
			return l, err
		}
	}
	boots, ctx := errgroup.WithContext(ctx)
	for _, h := range l.Hosts() {
		boots.Go(func() error { return h.add(ctx) })
	}
	return l, boots.Wait()
}

// lay makes all of a lab that is not a host.
func (l *Lab) lay(ctx context.Context) error {
	shared, err := cache()
	if err != nil {
		return err
	}
	if l.groups, err = controlGroups(); err != nil {
		return err
	}
	if l.image, err = image(ctx, shared, l.options.Suite); err != nil {
		return err
	}
	// Labs come into being one at a time, so that none sweeps what another is about to make, and no two pick one network.
	unlock, err := lock(ctx, filepath.Join(shared, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := sweep(shared, l.groups); err != nil {
		return fmt.Errorf("sweep old labs: %w", err)
	}
	id := make([]byte, 3)
	_, _ = rand.Read(id) // never fails
	l.ID = hex.EncodeToString(id)
	l.Folder = filepath.Join(shared, "run", l.ID)
	l.unlock, err = lock(ctx, filepath.Join(l.Folder, ownerLock))
	if err != nil {
		return err
	}
	if err := l.makeKey(ctx); err != nil {
		return err
	}
	if l.Network, err = addBridge(bridge(l.ID)); err != nil {
		return err
	}
	l.last = l.Network.Addr().Next()
	l.Gateway = l.last.String()
	l.door, err = openGateway(l.Gateway)
	return err
}

func (l *Lab) makeKey(ctx context.Context) (err error) {
	l.Key = filepath.Join(l.Folder, "id_ed25519")
	l.SSHConfig = filepath.Join(l.Folder, "ssh_config")
	l.PublicKey, err = newKey(ctx, l.Key, "lab-"+l.ID)
	return err
}

// newKey makes a key pair for SSH and returns its public half as known_hosts and authorized_keys have it.
func newKey(ctx context.Context, path, comment string) (string, error) {
	for _, p := range []string{path, path + ".pub"} {
		if err := os.Remove(p); err != nil && !os.IsNotExist(err) {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make SSH key %s: %w: %s", path, err, tail(out))
	}
	b, err := os.ReadFile(path + ".pub")
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(b)), comment)), err
}

// hostName is what can be a host's name and a folder's.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Add boots one more host and returns once sshd answers.
func (l *Lab) Add(ctx context.Context, name string) (*Host, error) {
	h, err := l.enter(name)
	if err != nil {
		return nil, err
	}
	return h, h.add(ctx)
}

// add boots a host that has its place, or gives that up.
func (h *Host) add(ctx context.Context) error {
	if err := h.install(ctx); err != nil {
		return fmt.Errorf("add host %s: %w", h.Name, errors.Join(err, h.Remove()))
	}
	return nil
}

// enter gives a new host its place.
func (l *Lab) enter(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, fmt.Errorf("add host %s: the lab has ended", name)
	case !hostName.MatchString(name):
		return nil, fmt.Errorf("add host %q: want a name of lower-case letters, digits and dashes", name)
	case slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.Name == name }):
		return nil, fmt.Errorf("add host %s: there is one of this name", name)
	case !l.Network.Contains(l.last.Next().Next()): // the last of all is the broadcast address
		return nil, fmt.Errorf("add host %s: %s has no more addresses", name, l.Network)
	}
	l.last = l.last.Next()
	number := int(l.last.As4()[3]) - 1
	user := "admin"
	if l.options.Login == Root {
		user = "root"
	}
	h := &Host{
		Name: name, Address: l.last.String(), User: user, Key: l.Key,
		lab: l, number: number, address: l.last,
		folder: filepath.Join(l.Folder, "hosts", name),
		wire:   fmt.Sprintf("pe%sh%d", l.ID, number),
		group:  filepath.Join(groupOf(l.groups, l.ID), name),
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Hosts are the lab's hosts, running or not.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := slices.Clone(l.hosts) // in the order in which they were ready
	slices.SortFunc(hosts, func(a, b *Host) int {
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name)) // h2 before h10
	})
	return hosts
}

// Host returns a host by its name; nil if there is none.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts() {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// introduce writes what ssh(1) needs to know every host.
func (l *Lab) introduce() error {
	var config, known strings.Builder
	l.mu.Lock()
	defer l.mu.Unlock()
	knownHosts := filepath.Join(l.Folder, "known_hosts")
	for _, h := range l.hosts {
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n"+
			"  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n", h.Name, h.Address, h.User, h.Key, knownHosts)
		if key := h.HostKey(); key != "" {
			fmt.Fprintf(&known, "%s %s\n", h.Address, key)
		}
	}
	return errors.Join(os.WriteFile(l.SSHConfig, []byte(config.String()), 0o600),
		os.WriteFile(knownHosts, []byte(known.String()), 0o600))
}

// Close ends all hosts and removes all that the lab made.
func (l *Lab) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	hosts := slices.Clone(l.hosts)
	l.mu.Unlock()
	if closed || l.unlock == nil {
		return nil
	}
	var all []error
	for _, h := range hosts {
		all = append(all, h.Stop())
	}
	if l.door != nil {
		l.door.close()
	}
	all = append(all, remains{id: l.ID, folder: l.Folder, groups: l.groups}.remove())
	l.unlock()
	return errors.Join(all...)
}

// ownerLock is locked for as long as the lab's owner lives. Unlike its pid, that cannot be somebody else's.
const ownerLock = "lock"

func bridge(id string) string { return "pe-lab-" + id }

func groupOf(groups, id string) string { return filepath.Join(groups, "pressenter-lab-"+id) }

// sweep removes what dead owners left behind. The kernel has ended their hosts already, or is about to.
func sweep(shared, groups string) error {
	folder := filepath.Join(shared, "run")
	entries, err := os.ReadDir(folder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []error
	for _, e := range entries {
		r := remains{id: e.Name(), folder: filepath.Join(folder, e.Name()), groups: groups}
		f, err := os.OpenFile(filepath.Join(r.folder, ownerLock), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			all = append(all, err)
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			all = append(all, r.remove())
		}
		f.Close()
	}
	return errors.Join(all...)
}

// remains are what a lab without running hosts leaves: a bridge, control groups, files.
type remains struct{ id, folder, groups string }

func (r remains) remove() error {
	return errors.Join(unplug(bridge(r.id)), removeGroup(groupOf(r.groups, r.id)), os.RemoveAll(r.folder))
}

// removeGroup removes a control group with all below, once the processes in there are dead.
func removeGroup(path string) error {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return nil
	}
	_ = os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0) // kernels before 5.14 have none
	const patience = 10 * time.Second
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var folders []string
		_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, p)
			}
			return nil
		})
		err = nil
		for _, f := range slices.Backward(folders) {
			if e := os.Remove(f); e != nil && !os.IsNotExist(e) {
				err = e
			}
		}
		if err == nil {
			return nil
		}
	}
	return err
}
