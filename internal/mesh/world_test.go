package mesh

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

// deployment makes rosters.
type deployment struct {
	admin ed25519.PrivateKey
	id    roster.Hash
	head  *roster.Roster
	envs  []roster.Envelope
}

// newDeployment returns one with validators and sentries, the first relays of which relay.
func newDeployment(t testing.TB, validators, sentries, relays int) *deployment {
	t.Helper()
	admin := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	d := &deployment{admin: admin}
	r := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(admin.Public().(ed25519.PublicKey)), Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "hub-1"})
	r.MeshDriver = roster.MeshWireGuard
	for i := range validators {
		r.Members = append(r.Members, newMember(roster.RoleValidator, i, 1))
	}
	for i := range sentries {
		m := newMember(roster.RoleSentry, i, 1)
		if i < relays {
			m.Mesh.Relay = netip.AddrPortFrom(underlayOf(m.Name).Addr(), 443).String()
		}
		r.Members = append(r.Members, m)
	}
	d.add(t, r)
	d.id = r.Hash()
	return d
}

func newMember(role roster.Role, i int, since uint64) roster.Member {
	m := roster.Member{Role: role, Name: fmt.Sprintf("%c%d", role[0], i), Since: since}
	m.Identity = keyOf("identity", m.Name)
	m.Mesh.Key, m.Mesh.TLS = keyOf("tunnel", m.Name), keyOf("tls", m.Name)
	if role == roster.RoleSentry {
		m.Mesh.Endpoint = underlayOf(m.Name).String()
	}
	return m
}

// underlayOf is where a host starts.
func underlayOf(name string) netip.AddrPort {
	k := keyOf("underlay", name)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, k[0], k[1], k[2]}), 51820)
}

func (d *deployment) add(t testing.TB, r *roster.Roster) roster.Envelope {
	t.Helper()
	e, err := roster.Sign(r, d.admin)
	if err != nil {
		t.Fatal(err)
	}
	d.head, d.envs = r, append(d.envs, e)
	return e
}

// next adds a generation.
func (d *deployment) next(t testing.TB, change func(*roster.Roster)) roster.Envelope {
	t.Helper()
	r := roster.Next(d.head)
	change(r)
	return d.add(t, r)
}

// memory keeps rosters as rosterdir.Store does, but for the disk.
type memory struct {
	mu  sync.Mutex
	log *roster.Log
}

func newMemory(root roster.Hash, envs ...roster.Envelope) *memory {
	m := &memory{log: roster.NewLog(root)}
	if _, err := m.log.AddAll(envs); err != nil {
		panic(err)
	}
	return m
}

func (m *memory) State() roster.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.State()
}

func (m *memory) Envelopes() []roster.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Envelopes()
}

func (m *memory) Missing(have ...roster.Hash) []roster.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Missing(have...)
}

func (m *memory) Has(hashes ...roster.Hash) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Has(hashes...)
}

func (m *memory) Learn(envs []roster.Envelope) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.log.AddAll(envs)
	return err
}

// keptRosters are rosters that a test looks into.
type keptRosters interface {
	Rosters
	Envelopes() []roster.Envelope
}

// host is one member's mesh on its fake tunnel.
type host struct {
	*Mesh
	name    string
	tunnel  *fakeTunnel
	store   keptRosters
	relays  *fakeRelays
	changed int
	stop    context.CancelFunc
	done    chan struct{}
}

// lab is a whole mesh in virtual time.
type lab struct {
	testing.TB
	d     *deployment
	net   *internet
	hosts map[string]*host
	byID  map[roster.Key]*fakeTunnel
	start time.Time
}

func newLab(t testing.TB, d *deployment) *lab {
	l := &lab{TB: t, d: d, net: newInternet(), hosts: map[string]*host{}, byID: map[roster.Key]*fakeTunnel{}, start: time.Now()}
	t.Cleanup(l.stopAll)
	for _, m := range d.head.Members {
		l.addHost(m, newMemory(d.id, d.envs...))
	}
	return l
}

func (l *lab) addHost(m roster.Member, store keptRosters) *host {
	h := &host{name: m.Name, store: store}
	h.tunnel = l.net.newTunnel(m.Name, m, roster.MeshAddress(l.d.id, m.Identity), underlayOf(m.Name))
	h.relays = &fakeRelays{t: h.tunnel, byID: func(k roster.Key) *fakeTunnel {
		l.net.mu.RLock()
		defer l.net.mu.RUnlock()
		return l.byID[k]
	}}
	l.net.mu.Lock()
	l.byID[m.Identity] = h.tunnel
	l.net.mu.Unlock()
	l.hosts[m.Name] = h
	h.make(m.Identity)
	return h
}

func (h *host) make(id roster.Key) {
	h.Mesh = New(Config{Self: id, Rosters: h.store, Tunnel: h.tunnel, Relays: h.relays, Changed: func() { h.changed++ }})
}

func (h *host) run() {
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.done = cancel, make(chan struct{})
	h.tunnel.down.Store(false)
	go func() {
		defer close(h.done)
		_ = h.Run(ctx)
	}()
}

// halt stops a host as if its power had failed.
func (h *host) halt() {
	if h.stop == nil {
		return
	}
	h.tunnel.down.Store(true)
	h.stop()
	<-h.done
	h.stop = nil
}

// reboot starts a halted host anew: nothing in memory survives.
func (h *host) reboot() {
	h.tunnel.restart()
	h.make(h.c.Self)
	h.run()
}

func (l *lab) runAll() {
	for _, h := range l.sorted() {
		h.run()
	}
}

func (l *lab) stopAll() {
	for _, h := range l.hosts {
		h.halt()
	}
}

func (l *lab) sorted() []*host {
	var out []*host
	for _, h := range l.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	return out
}

// peer is how one host sees another.
func (l *lab) peer(from, to string) api.MeshPeer {
	for _, p := range l.hosts[from].Status().Peers {
		if p.Name == to {
			return p
		}
	}
	return api.MeshPeer{}
}

// within waits until ok, and fails when that takes too long. It returns how long it took.
func (l *lab) within(limit time.Duration, what string, ok func() bool) time.Duration {
	l.Helper()
	begin := time.Now()
	for {
		synctest.Wait()
		if ok() {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			l.Fatalf("%s: not within %s\n%s", what, limit, l.describe())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// describe prints what all hosts say, for failures.
func (l *lab) describe() string {
	s := ""
	for _, h := range l.sorted() {
		if h.stop == nil {
			s += h.name + " is off\n"
			continue
		}
		if len(l.hosts) > 8 {
			h.mu.Lock()
			for _, p := range h.peers {
				if o := l.hosts[p.member.Name]; o != nil && o.stop != nil && p.path.phase != up && len(s) < 4000 {
					s += fmt.Sprintf("%s → %s: %s; partner %v, active %v, heard %s ago, due in %s, %d are lost; %v\n", h.name, o.name, h.why(p, h.now()),
						p.partner, p.path.active, h.now()-p.path.heardAt, p.due-h.now(), h.lost, p.path.history)
					a, b := h.tunnel.peers[o.tunnel.key], o.tunnel.peers[h.tunnel.key]
					s += fmt.Sprintf("    %+v\n    %+v\n", a, b)
				}
			}
			h.mu.Unlock()
			continue
		}
		st := h.Status()
		s += fmt.Sprintf("%s: generation %d fork %v learned %v %v\n", h.name, st.Generation, st.Fork, st.Learned, st.Notes)
		for _, p := range st.Peers {
			s += fmt.Sprintf("  %s %s %s at %s: %s; %v\n", p.Name, p.Path, p.Via, p.Endpoint, p.Why, p.History)
		}
	}
	return s
}

// allUp reports whether each running host has a path to each running peer.
func (l *lab) allUp() bool {
	for _, h := range l.hosts {
		if h.stop == nil {
			continue
		}
		h.mu.Lock()
		for _, p := range h.peers {
			if o := l.hosts[p.member.Name]; o != nil && o.stop != nil && p.path.phase != up {
				h.mu.Unlock()
				return false
			}
		}
		h.mu.Unlock()
	}
	return true
}

// agree reports whether all running hosts have the same heads.
func (l *lab) agree() bool {
	var first *host
	for _, h := range l.hosts {
		if h.stop == nil {
			continue
		}
		if first == nil {
			first = h
		}
		if !slices.Equal(h.heads(), first.heads()) {
			return false
		}
	}
	return true
}

func (h *host) heads() []roster.Hash {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rosters.heads)
}

var errTest = errors.New("a test made this fail")
