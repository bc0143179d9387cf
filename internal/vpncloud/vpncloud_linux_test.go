package vpncloud

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// limit is what nothing here ever takes.
const limit = 90 * time.Second

var network = netip.MustParsePrefix("fd00:44::/48")

// realProgram finds the real program, or builds it where there is cargo.
func realProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no vpncloud: %v", err)
	}
	root := filepath.Join(cache, "pressenter", "vpncloud-2.3.0")
	for _, path := range []string{os.Getenv("PRESSENTER_VPNCLOUD"), filepath.Join(root, "bin", "vpncloud"), ""} {
		if path, _, err := find(path); err == nil {
			return path
		}
	}
	if _, err := exec.LookPath("cargo"); err != nil || testing.Short() {
		t.Skip("no vpncloud: it is neither in PATH nor in PRESSENTER_VPNCLOUD, and there is no time or no cargo to build it")
	}
	out, err := exec.Command("cargo", "install", "vpncloud", "--version", "2.3.0", "--locked", "--root", root).CombinedOutput()
	if err != nil {
		t.Skipf("no vpncloud: %v: %s", err, out)
	}
	return filepath.Join(root, "bin", "vpncloud")
}

// childOf finds the vpncloud that a process started; 0 for none.
func childOf(parent int) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if strings.Contains(string(b), "(vpncloud)") && len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

// host is a member in a namespace of its own.
type host struct {
	*netlab.Host
	t      *testing.T
	config Config
	key    tunnel.Key
	port   uint16
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	log    *safeBuffer
}

// safeBuffer collects what a process says.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newHost attaches a host to the internet and starts its supervisor.
func newHost(t *testing.T, internet *netlab.Internet, name string) *host {
	t.Helper()
	path := realProgram(t)
	seed := newSeed(t)
	public, err := PublicKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Host: internet.Host(name), t: t, key: public}
	a := network.Addr().As16()
	a[15] = h.Address.As4()[3]
	a[14] = h.Address.As4()[0]
	h.config = Config{
		Binary: path, Dir: t.TempDir(), Interface: "mesh0", Seed: seed, Address: netip.AddrFrom16(a), Network: network,
	}
	h.start()
	return h
}

// start starts the supervisor and opens.
func (h *host) start() {
	h.t.Helper()
	h.launch()
	h.must(order{Do: "open", Config: h.config})
	h.port = h.must(order{Do: "state"}).Port
}

func (h *host) launch() {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	h.cmd = h.Command(context.Background(), self)
	h.cmd.Env = append(os.Environ(), memberEnv+"=1", "PASSWORD=x", "PRIVATE_KEY=x")
	h.log = &safeBuffer{}
	h.cmd.Stderr = h.log
	log, address := h.log, h.config.Address
	h.t.Cleanup(func() {
		if h.t.Failed() {
			h.t.Logf("log of %v:\n%s", address, log)
		}
	})
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	cmd := h.cmd
	h.t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
}

func (h *host) tell(o order) (a answer) {
	h.t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.in.Write(append(b, '\n')); err != nil {
		h.t.Fatal(err)
	}
	line, err := h.out.ReadBytes('\n')
	if err != nil {
		h.t.Fatal(err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		h.t.Fatal(err)
	}
	return a
}

// must is tell for what has to succeed.
func (h *host) must(o order) answer {
	h.t.Helper()
	a := h.tell(o)
	if a.Error != "" {
		h.t.Fatalf("%s: %s", o.Do, a.Error)
	}
	return a
}

func (h *host) endpoint() netip.AddrPort { return netip.AddrPortFrom(h.Address, h.port) }

// meet makes hosts peers of each other; they know the first one's endpoint only.
func meet(t *testing.T, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		h.must(order{Do: "peers", Peers: h.peers(hosts...)})
	}
}

// peers are hosts as h knows them.
func (h *host) peers(hosts ...*host) (peers []tunnel.Peer) {
	h.t.Helper()
	for i, p := range hosts {
		peer := tunnel.Peer{Key: p.key, Address: p.config.Address}
		if i == 0 {
			peer.Endpoint = netip.AddrPortFrom(p.Address, p.port)
		}
		if p != h {
			peers = append(peers, peer)
		}
	}
	return peers
}

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not in time", what)
		}
	}
}

// reaches waits until a datagram of h comes back from another member, and returns how long that took.
func (h *host) reaches(to netip.Addr) time.Duration {
	h.t.Helper()
	began := time.Now()
	eventually(h.t, fmt.Sprintf("reach %v from %v", to, h.config.Address), func() bool { return h.pings(to) })
	return time.Since(began)
}

// pings says whether a datagram comes back within half a second.
func (h *host) pings(to netip.Addr) bool {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	p, err := h.Ping(ctx, netip.AddrPortFrom(to, echoPort), netlab.PingOptions{Every: time.Second, Grace: 500 * time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
	return p.Sent() > 0 && p.Lost() == 0
}

func allReach(hosts ...*host) {
	for _, a := range hosts {
		for _, b := range hosts {
			if a != b {
				a.t.Helper()
				a.reaches(b.config.Address)
			}
		}
	}
}

func TestMesh(t *testing.T) {
	internet := netlab.New(t).Internet()
	a, b, c := newHost(t, internet, "a"), newHost(t, internet, "b"), newHost(t, internet, "c")
	meet(t, a, b, c)
	allReach(a, b, c) // b and c know of each other through a
	for _, from := range []*host{a, b, c} {
		for _, to := range []*host{a, b, c} {
			if from == to {
				continue
			}
			said := from.must(order{Do: "dial", Address: to.config.Address}).Said
			if got, err := netip.ParseAddrPort(said); err != nil || got.Addr() != from.config.Address {
				t.Errorf("%v was taken for %q", from.config.Address, said)
			}
		}
	}
	state := a.must(order{Do: "state"})
	if state.Backend != "vpncloud 2.3.0" || state.Reason != "" || state.MTU < minMTU || state.MTU > maxMTU {
		t.Errorf("state %+v", state)
	}
	for _, s := range state.States {
		if s.Handshake.IsZero() || !s.Endpoint.IsValid() {
			t.Errorf("peer %+v", s)
		}
		if s.Key == b.key && s.Endpoint.Addr() != b.Address {
			t.Errorf("b is at %v, want %v", s.Endpoint, b.Address)
		}
	}
	checkSecrets(t, a)
	t.Run("segment", func(t *testing.T) {
		a.must(order{Do: "segment", Address: b.config.Address, Packet: 1300})
		out, err := a.Command(t.Context(), "ip", "-6", "route", "show", b.config.Address.String()).Output()
		if err != nil || !strings.Contains(string(out), "advmss 1240") {
			t.Errorf("route %q, %v", out, err)
		}
		a.must(order{Do: "segment", Address: b.config.Address})
		out, err = a.Command(t.Context(), "ip", "-6", "route", "show", b.config.Address.String()).Output()
		if err != nil || strings.Contains(string(out), "advmss") {
			t.Errorf("route %q, %v", out, err)
		}
	})
	t.Run("killed child", func(t *testing.T) {
		b.runsAnew(func() {
			if err := syscall.Kill(b.must(order{Do: "state"}).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		})
		fmt.Printf("figure vpncloud_killed_s %.1f s\n", b.reaches(a.config.Address).Seconds())
		allReach(a, b, c)
	})
	t.Run("revoked", func(t *testing.T) {
		for _, pair := range [][2]*host{{a, b}, {b, a}} {
			h, other := pair[0], pair[1]
			began := time.Now()
			h.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: other.key, Address: other.config.Address, Endpoint: other.endpoint()}}})
			fmt.Printf("figure vpncloud_cut_off_s %.1f s\n", time.Since(began).Seconds())
			if h.pings(c.config.Address) {
				t.Errorf("the revoked member still answers")
			}
		}
		fmt.Printf("figure vpncloud_revoke_gap_s %.1f s\n", a.reaches(b.config.Address).Seconds())
		allReach(a, b)
		if c.pings(a.config.Address) || c.pings(b.config.Address) {
			t.Error("the revoked member still reaches others")
		}
		heard := len(a.must(order{Do: "state"}).Heard)
		c.must(order{Do: "endpoint", Key: a.key, Endpoint: a.endpoint()})
		if c.pings(a.config.Address) || len(a.must(order{Do: "state"}).Heard) != heard {
			t.Error("the revoked member came back")
		}
	})
}

// checkSecrets looks for the private key where it must not be, and for addresses in what stays.
func checkSecrets(t *testing.T, h *host) {
	t.Helper()
	pid := strconv.Itoa(h.must(order{Do: "state"}).PID)
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join("/proc", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{Text(h.config.Seed), "PASSWORD", "PRIVATE_KEY"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds %q: %q", file, secret, b)
			}
		}
	}
	entries, err := os.ReadDir(h.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(h.config.Dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		if bytes.Contains(b, []byte("192.0.2.")) || bytes.Contains(b, []byte("198.51.100.")) || bytes.Contains(b, []byte("203.0.113.")) {
			t.Errorf("%s holds an underlay address: %s", e.Name(), b)
		}
	}
	if log := h.log.String(); strings.Contains(log, "198.51.100.") || strings.Contains(log, "203.0.113.") ||
		strings.Contains(log, "192.0.2.") || strings.Contains(log, Text(h.config.Seed)) || !strings.Contains(log, "Added peer (address)") {
		t.Errorf("the log tells too much, or nothing:\n%s", log)
	}
}

// TestSourceProvesNothing shows why [SourceProves] is false: b sends as c, who never ran, and a believes it.
func TestSourceProvesNothing(t *testing.T) {
	internet := netlab.New(t).Internet()
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	meet(t, a, b)
	allReach(a, b)
	forged := a.config.Address.Prev()
	if _, err := b.Command(t.Context(), "ip", "-6", "addr", "add", forged.String()+"/128", "dev", "lo", "nodad").Output(); err != nil {
		t.Fatal(err)
	}
	conn, err := b.ListenPacket("udp6", net.JoinHostPort(forged.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "a hears of c", func() bool {
		if _, err := conn.WriteTo([]byte("from c"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.config.Address, echoPort))); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(a.must(order{Do: "state"}).Heard, forged)
	})
	if SourceProves {
		t.Error("SourceProves is not true")
	}
}

// TestKilledSupervisor ends the supervisor, and later leaves a vpncloud behind as if it had outlived one.
func TestKilledSupervisor(t *testing.T) {
	internet := netlab.New(t).Internet()
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	meet(t, a, b)
	allReach(a, b)
	child, err := process.Of(b.must(order{Do: "state"}).PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = b.cmd.Wait() // it was killed
	eventually(t, "vpncloud ends with its supervisor", func() bool { return !child.Alive() })

	// A vpncloud that did outlive it: it has the lock and the interface.
	lock, err := process.TryLock(filepath.Join(b.config.Dir, lockFile), "test")
	if err != nil {
		t.Fatal(err)
	}
	left := b.Command(t.Context(), b.config.Binary, "--config", configFile)
	left.Dir, left.ExtraFiles = b.config.Dir, []*os.File{lock.File()}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- left.Wait() }()
	if err := lock.Record(process.Holder{Name: "gone", Process: child}); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	b.reaches(a.config.Address)
	b.start()
	meet(t, a, b)
	<-waited
	allReach(a, b)

	// Two of us on one folder there are not.
	second := *b
	second.launch()
	if got := second.tell(order{Do: "open", Config: b.config}); !strings.Contains(got.Error, "held by") {
		t.Errorf("opened twice: %+v", got)
	}
	// Nor two on one interface.
	other := b.config
	other.Dir = t.TempDir()
	if got := second.tell(order{Do: "open", Config: other}); !strings.Contains(got.Error, "in use") {
		t.Errorf("took an interface in use: %+v", got)
	}
	b.must(order{Do: "close"})
	if out, err := b.Command(t.Context(), "ip", "link", "show", b.config.Interface).CombinedOutput(); err == nil {
		t.Errorf("the interface is still there: %s", out)
	}
}

// TestAllRestart kills everything at once, twice, as a power cut does.
func TestAllRestart(t *testing.T) {
	internet := netlab.New(t).Internet()
	hosts := []*host{newHost(t, internet, "a"), newHost(t, internet, "b"), newHost(t, internet, "c")}
	meet(t, hosts...)
	allReach(hosts...)
	ports := map[*host]uint16{}
	for _, h := range hosts {
		ports[h] = h.endpoint().Port()
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = h.cmd.Wait() // it was killed
	}
	for _, h := range hosts {
		h.start()
		if got := h.endpoint().Port(); got != ports[h] {
			t.Errorf("port %d, was %d", got, ports[h])
		}
	}
	began := time.Now()
	meet(t, hosts...)
	allReach(hosts...)
	fmt.Printf("figure vpncloud_all_restart_s %.1f s\n", time.Since(began).Seconds())
}

// TestAddressChange counts how long a member that moved is away.
func TestAddressChange(t *testing.T) {
	internet := netlab.New(t).Internet()
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	meet(t, a, b)
	allReach(a, b)
	pid := a.must(order{Do: "state"}).PID
	b.Move()
	began := time.Now()
	allReach(a, b)
	fmt.Printf("figure vpncloud_ip_change_s %.1f s\n", time.Since(began).Seconds())
	eventually(t, "a sees where b is", func() bool {
		for _, s := range a.must(order{Do: "state"}).States {
			if s.Key == b.key && s.Endpoint.Addr() == b.Address {
				return true
			}
		}
		return false
	})
	if a.must(order{Do: "state"}).PID != pid {
		t.Error("a's vpncloud was restarted")
	}
}

// TestEndpointChange moves the one whose endpoint is known, and tells the others where it is, without a restart.
func TestEndpointChange(t *testing.T) {
	internet := netlab.New(t).Internet()
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	nowhere := netip.MustParseAddrPort("203.0.113.250:9")
	b.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: a.key, Address: a.config.Address, Endpoint: nowhere}}})
	a.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: b.key, Address: b.config.Address}}})
	var pid int
	eventually(t, "vpncloud runs", func() bool { pid = b.must(order{Do: "state"}).PID; return pid != 0 })
	// Over IPv6, which the program cannot take from its option for peers.
	at := netip.AddrPortFrom(a.Address6, a.endpoint().Port())
	b.must(order{Do: "endpoint", Key: a.key, Endpoint: at})
	fmt.Printf("figure vpncloud_set_endpoint_s %.1f s\n", b.reaches(a.config.Address).Seconds())
	state := b.must(order{Do: "state"})
	if state.PID != pid || state.States[0].Endpoint != at {
		t.Errorf("state %+v, want process %d and endpoint %v", state, pid, at)
	}
}

// TestChangeEverywhere removes a key at all members at once, as a roster does, and counts how long links are away.
func TestChangeEverywhere(t *testing.T) {
	internet := netlab.New(t).Internet()
	hosts := []*host{newHost(t, internet, "a"), newHost(t, internet, "b"), newHost(t, internet, "c")}
	var longest time.Duration
	for range rounds {
		for _, h := range hosts {
			h.runsAnew(func() {
				h.must(order{Do: "peers", Peers: append(h.peers(hosts...), tunnel.Peer{Key: strangerKey(t)})})
			})
		}
		allReach(hosts...)
		began := time.Now()
		var all sync.WaitGroup
		for _, h := range hosts {
			all.Go(func() { h.must(order{Do: "peers", Peers: h.peers(hosts...)}) })
		}
		all.Wait()
		allReach(hosts...)
		longest = max(longest, time.Since(began))
		t.Log(time.Since(began))
	}
	fmt.Printf("figure vpncloud_change_s %.1f s\n", longest.Seconds())
}

// runsAnew waits until what do did has restarted the program.
func (h *host) runsAnew(do func()) {
	h.t.Helper()
	old := h.must(order{Do: "state"}).PID
	do()
	eventually(h.t, "vpncloud is restarted", func() bool {
		pid := h.must(order{Do: "state"}).PID
		return pid != 0 && pid != old
	})
}

// rounds is how often a test repeats what depends on chance.
const rounds = 6

// strangerKey is the key of a member that never comes.
func strangerKey(t *testing.T) tunnel.Key {
	t.Helper()
	public, err := PublicKey(newSeed(t))
	if err != nil {
		t.Fatal(err)
	}
	return public
}
