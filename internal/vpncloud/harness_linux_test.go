package vpncloud

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// limit is what nothing here ever takes.
const limit = 3 * time.Minute

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
		if path, _, err := find(path, nil); err == nil {
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

// newInternet lets the test run beside others: they mostly wait.
func newInternet(t *testing.T) *netlab.Internet {
	t.Helper()
	netlab.Skip(t)
	t.Parallel()
	return netlab.New(t).Internet()
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("waits for the timers of the real program")
	}
}

// newHost attaches a host to the internet and starts its supervisor.
func newHost(t *testing.T, internet *netlab.Internet, name string) *host {
	t.Helper()
	h := attach(t, internet, name)
	h.start()
	return h
}

func attach(t *testing.T, internet *netlab.Internet, name string) *host {
	t.Helper()
	path := realProgram(t)
	seed := newSeed(t)
	public, err := PublicKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() { // of members that were killed
		if memory, err := memoryFolder(dir); err == nil {
			_ = os.RemoveAll(memory)
		}
	})
	h := &host{Host: internet.Host(name), t: t, key: public}
	a := network.Addr().As16()
	a[15] = h.Address.As4()[3]
	a[14] = h.Address.As4()[0]
	h.config = Config{
		Binary: path, Dir: dir, Interface: "mesh0", Seed: seed, Address: netip.AddrFrom16(a), Network: network,
	}
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
		if strings.Contains(log.String(), "DATA RACE") {
			h.t.Error("the member found a race")
		}
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
