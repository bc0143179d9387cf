package doctor

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// askTimeout bounds what one host is waited for.
const askTimeout = 5 * time.Second

// sides looks at the deployment and, where there is one, at the practice network's other validators.
func (t Target) sides(ctx context.Context, f *Facts) {
	for _, d := range []deployment.Dir{t.Dir, t.Dir.World()} {
		if _, err := os.Stat(d.Operator()); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s := Side{World: d != t.Dir, Practice: t.Practice, Name: filepath.Base(string(d))}
		inv, err := d.LoadInventory()
		if err != nil {
			s.Err = err.Error()
			f.Sides = append(f.Sides, s)
			continue
		}
		if inv.Deployment != "" {
			s.Name = inv.Deployment
		}
		k := t.operator(d, &s)
		f.Sides = append(f.Sides, s)
		f.Invited = append(f.Invited, invited(d, inv)...)
		for _, h := range t.hosts(ctx, d, s, inv, k) {
			if slices.ContainsFunc(f.Hosts, func(o Host) bool { return o.Name == h.Name }) {
				h.Name = s.Name + "/" + h.Name // names differ within a deployment only
			}
			f.Hosts = append(f.Hosts, h)
		}
		if k != nil {
			k.Wipe()
		}
	}
}

// invited are the sentries of the roster that are on no host of ours.
func invited(d deployment.Dir, inv deployment.Inventory) []Invited {
	store, err := d.Rosters()
	if err != nil || store.State().Effective == nil {
		return nil // what is wrong with the rosters is told of the operator's own files
	}
	var out []Invited
	for _, m := range store.State().Effective.Members {
		if _, ours := inv.Host(m.Name); m.Role == roster.RoleSentry && !ours {
			out = append(out, Invited{m.Name, m.NodeID, m.Endpoint})
		}
	}
	return out
}

// operator looks at the operator's own files. The keyring is returned open if that needs nobody's passphrase.
func (t Target) operator(d deployment.Dir, s *Side) *keyring.Keyring {
	store, err := d.Rosters()
	if err != nil {
		s.Err = err.Error()
		return nil
	}
	state := store.State()
	s.Fork = state.Fork
	for _, h := range state.Heads {
		s.Heads = append(s.Heads, h.String())
	}
	if state.Effective != nil {
		s.Generation = state.Effective.Generation
		if state.Effective.MeshDriver != "" {
			s.Mesh, s.Driver = roster.MeshNetwork(store.ID()), state.Effective.MeshDriver
		}
	}
	s.Modes = t.modes(d, []string{
		".", "operator", "operator/backups", "operator/rosters", "operator/" + keyring.ProtectedFile, "operator/" + keyring.UnprotectedFile,
		"operator/inventory.json",
	})
	s.Keyring.Path = filepath.Join(d.Operator(), keyring.ProtectedFile)
	protected, err := keyring.Protected(d.Operator())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if s.Keyring.Present = err == nil; err != nil {
		s.Keyring.Err = err.Error()
		return nil
	}
	if s.Keyring.Protected = protected; protected {
		return nil
	}
	s.Keyring.Path = filepath.Join(d.Operator(), keyring.UnprotectedFile)
	k, err := keyring.Open(d.Operator(), nil)
	if err != nil {
		s.Keyring.Err = err.Error()
		return nil
	}
	return k
}

// hosts looks at every host of one side.
func (t Target) hosts(ctx context.Context, d deployment.Dir, s Side, inv deployment.Inventory, k *keyring.Keyring) []Host {
	out := make([]Host, len(inv.Hosts))
	var g errgroup.Group
	for i, dh := range inv.Hosts {
		g.Go(func() error {
			h := Host{Host: dh, World: s.World, Practice: s.Practice, Met: t.met(ctx, dh)}
			there, err := t.Provider.Exists(ctx, dh)
			h.Exists = there || err != nil // whoever cannot be asked is not gone
			if h.Exists {
				t.host(ctx, d, &h)
			}
			out[i] = h
			return nil
		})
	}
	_ = g.Wait() // hosts keep what went wrong
	for i := range out {
		if out[i].Key() {
			out[i].Backup = backupOf(d, out[i], k)
		}
	}
	return out
}

// met is where the world meets a host's node, or would. Of a server that has a name, that is each of its addresses: one that
// is to be hidden must be at none of them.
func (t Target) met(ctx context.Context, h deployment.Host) []string {
	if !h.OnMachine() {
		return []string{h.Listen.P2P}
	}
	name, err := h.Public, error(nil)
	if name == "" && t.PublicOf != nil {
		name, err = t.PublicOf(h.Address)
	}
	if name == "" || err != nil {
		return nil
	}
	port := strconv.Itoa(node.Port(h.Listen.P2P))
	if _, err := netip.ParseAddr(name); err == nil || h.Role != roster.RoleValidator {
		return []string{net.JoinHostPort(name, port)}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil
	}
	var out []string
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return out
}

func (t Target) host(ctx context.Context, d deployment.Dir, h *Host) {
	h.Status, h.Agent = t.status(ctx, h.Host)
	if h.OnMachine() {
		return // its ports and files are not of this computer
	}
	for _, p := range []struct{ name, addr string }{{"p2p", h.Listen.P2P}, {"rpc", h.Listen.RPC}} {
		h.Ports = append(h.Ports, portOf(p.name, p.addr, h.Status.Node.SupervisorPID != 0))
	}
	var files []string
	for _, name := range []string{
		".", "agent", "agent/identity.key", "agent/host.json", "signing", "signing/" + signing.KeyFile, "signing/" + signing.StateFile,
		"home", "home/config", "home/config/node_key.json", "home/config/priv_validator_key.json",
	} {
		files = append(files, filepath.Join(h.Folder, name))
	}
	h.Modes = t.modes(d, files)
}

func (t Target) status(ctx context.Context, h deployment.Host) (st api.HostStatus, agent bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := t.Provider.Client(h)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		st, _ = t.Provider.Inspect(ctx, h) // what cannot be told is empty, as of one that is down
		return st, false
	}
	return st, true
}

// portOf looks who has a port. To bind it shows best that it is free; where a node may start at any instant it is dialled
// instead, so that it is never us who are in the way.
func portOf(name, addr string, starting bool) Port {
	p := Port{Name: name, Addr: addr}
	if starting {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if p.Free = errors.Is(err, syscall.ECONNREFUSED); err == nil {
			_ = conn.Close()
		}
	} else {
		p.Free = local.Free(addr)
	}
	if p.Free {
		return p
	}
	var err error
	if p.Holder, p.Who, err = process.Listener(uint16(node.Port(addr))); err != nil {
		p.Err = reason(err)
	}
	return p
}

// modes looks at those of the files that are there. They are named from d on, or absolutely.
func (t Target) modes(d deployment.Dir, files []string) []Mode {
	var out []Mode
	for _, name := range files {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(string(d), name)
		}
		st, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		m := Mode{Path: t.relative(path), Want: 0o600}
		if err != nil {
			m.Err = reason(err)
			out = append(out, m)
			continue
		}
		if m.Got, m.Folder = st.Mode().Perm(), st.IsDir(); m.Folder {
			m.Want = 0o700
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		m.Owned = !ok || int(sys.Uid) == os.Geteuid()
		out = append(out, m)
	}
	return out
}

func (t Target) relative(path string) string {
	if r, err := filepath.Rel(filepath.Dir(string(t.Dir)), path); err == nil && filepath.IsLocal(r) {
		return r
	}
	return path
}

// backupOf looks for the newest backup of a host that holds the key that the host has.
func backupOf(d deployment.Dir, h Host, k *keyring.Keyring) Backup {
	b := Backup{Path: filepath.Join(d.Backups(), h.Name+".key.age")}
	entries, err := os.ReadDir(d.Backups())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Present, b.Err = true, reason(err)
		return b
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), h.Name+".") || !strings.HasSuffix(e.Name(), ".key.age") {
			continue
		}
		path := filepath.Join(d.Backups(), e.Name())
		b.Present = true
		if k == nil {
			continue
		}
		if b.Err = opens(path, h, k); b.Err == "" {
			b.Path, b.Opened = path, true
			return b
		}
	}
	return b
}

// opens says why a backup is of no use, or "".
func opens(path string, h Host, k *keyring.Keyring) string {
	sealed, err := os.ReadFile(path)
	if err != nil {
		return reason(err)
	}
	b, err := k.OpenBackup(sealed)
	if err != nil {
		return err.Error()
	}
	defer b.KeyFile.Wipe()
	want := h.Status.Enrolled.Consensus
	if len(h.Status.Signing.PublicKey) > 0 {
		want = h.Status.Signing.PublicKey
	}
	if b.Host != h.Name || !bytes.Equal(b.PubKey, want) {
		return "it holds another key than the host"
	}
	return ""
}

// lookEvery is how often nodes are asked for their newest block.
const lookEvery = 250 * time.Millisecond

// blocks returns the newest block of every node that answers, and waits until one of them has a new one.
func (t Target) blocks(ctx context.Context, hosts []Host) []Block {
	var up []Host
	var blocks []Block
	for _, h := range hosts {
		if n := h.Status.Node; n.Answers && !n.BlockTime.IsZero() {
			up = append(up, h)
			blocks = append(blocks, Block{Host: h.Name, Height: n.Height, Time: n.BlockTime, Seen: time.Now()})
		}
	}
	if len(up) == 0 || t.Wait == 0 {
		return blocks
	}
	ctx, cancel := context.WithTimeout(ctx, t.Wait)
	defer cancel()
	// The first answers may be as old as all that was looked at since.
	blocks = t.newest(ctx, up, blocks, false)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !slices.ContainsFunc(blocks, func(b Block) bool { return b.Fresh }) {
		select {
		case <-ctx.Done():
			return blocks
		case <-tick.C:
		}
		blocks = t.newest(ctx, up, blocks, true)
	}
	return blocks
}

// newest asks again. Blocks that came since are fresh if the last look was just before.
func (t Target) newest(ctx context.Context, up []Host, old []Block, fresh bool) []Block {
	out := slices.Clone(old)
	var wg sync.WaitGroup
	for i, h := range up {
		wg.Go(func() {
			st, ok := t.status(ctx, h.Host)
			if n := st.Node; ok && n.Answers && n.Height > old[i].Height {
				out[i] = Block{Host: h.Name, Height: n.Height, Time: n.BlockTime, Seen: time.Now(), Fresh: fresh}
			}
		})
	}
	wg.Wait()
	return out
}
