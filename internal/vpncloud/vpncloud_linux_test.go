package vpncloud

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
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

func TestMesh(t *testing.T) {
	internet := newInternet(t)
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
		began := time.Now()
		b.runsAnew(func() {
			if err := syscall.Kill(b.must(order{Do: "state"}).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		})
		allReach(a, b, c)
		fmt.Printf("figure vpncloud_killed_s %.1f s\n", time.Since(began).Seconds())
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
	internet := newInternet(t)
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
	internet := newInternet(t)
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
	if _, err := os.Stat(filepath.Join(b.config.Dir, configFile)); !os.IsNotExist(err) {
		t.Errorf("the private key is still there: %v", err)
	}
	if out, err := b.Command(t.Context(), "ip", "link", "show", b.config.Interface).CombinedOutput(); err == nil {
		t.Errorf("the interface is still there: %s", out)
	}
}

// TestAllRestart kills everything at once, twice, as a power cut does.
func TestAllRestart(t *testing.T) {
	internet := newInternet(t)
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
	skipShort(t)
	internet := newInternet(t)
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
	internet := newInternet(t)
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
	skipShort(t)
	internet := newInternet(t)
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
const rounds = 2

// strangerKey is the key of a member that never comes.
func strangerKey(t *testing.T) tunnel.Key {
	t.Helper()
	public, err := PublicKey(newSeed(t))
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// TestCounters waits for the statistics, which the program writes once a minute.
func TestCounters(t *testing.T) {
	skipShort(t)
	internet := newInternet(t)
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	meet(t, a, b)
	allReach(a, b)
	memory, err := filepath.Glob("/dev/shm/pressenter-vpncloud-*")
	if more, err2 := filepath.Glob("/run/pressenter-vpncloud-*"); err != nil || err2 != nil || len(memory)+len(more) == 0 {
		t.Skip("no file system in memory")
	}
	eventually(t, "bytes are counted", func() bool {
		states := a.must(order{Do: "state"}).States
		return states[0].Received > 0 && states[0].Sent > 0
	})
}

// TestExitCodes has the real program end in all the ways that it knows.
func TestExitCodes(t *testing.T) {
	program := realProgram(t)
	bare := netlab.New(t).Namespace("bare") // with nothing but loopback
	key := Text(newSeed(t))
	for _, c := range []struct {
		name, config, flag, want string
		code                     int
	}{
		{"no key", "listen: '0'\n", "-q", "vpncloud ended by itself, without an error code; it said: Either password", 0},
		{"no configuration", "listen: [\n", "-q", "vpncloud gave up; it said: Config file is neither version 2 nor version 1", codeFatal},
		{"no default route", "listen: '0'\ncrypto: {private-key: " + key + "}\n", "-q", noDefaultRoute, codePanic},
		{"short key", "listen: '0'\ncrypto: {private-key: z}\n", "-q", "vpncloud panicked; it said: thread 'main'", codePanic},
		{"usage", "", "--nonsense", "vpncloud did not understand how it was called", codeUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, configFile), []byte(c.config+"port-forwarding: false\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := bare.Command(t.Context(), program, "--config", configFile, c.flag)
			cmd.Dir = dir
			out, _ := cmd.CombinedOutput() // its error is the code
			got := explain(process.Exit{Code: cmd.ProcessState.ExitCode()}, strings.Split(string(out), "\n"))
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.HasPrefix(got, c.want) {
				t.Errorf("code %d is %q, want %d and %q; it said\n%s", code, got, c.code, c.want, out)
			}
		})
	}
}

// TestNoDefaultRoute takes the route away, which the program does not survive, and gives it back.
func TestNoDefaultRoute(t *testing.T) {
	internet := newInternet(t)
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	route := func(args ...string) {
		t.Helper()
		if out, err := b.Command(t.Context(), "ip", append([]string{"route"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	route("del", "default")
	meet(t, a, b)
	eventually(t, "b says why", func() bool { return b.must(order{Do: "state"}).Reason == noDefaultRoute })
	if pid := b.must(order{Do: "state"}).PID; pid != 0 {
		t.Errorf("process %d runs", pid)
	}
	route("add", "default", "via", b.Address.Prev().String())
	allReach(a, b)
	if why := b.must(order{Do: "state"}).Reason; why != "" {
		t.Errorf("b still says %q", why)
	}
}

// TestUnusablePeer leaves out a key that the program would not start with, and says so.
func TestUnusablePeer(t *testing.T) {
	internet := newInternet(t)
	a, b := newHost(t, internet, "a"), newHost(t, internet, "b")
	b.must(order{Do: "peers", Peers: b.peers(a, b)})
	got := a.tell(order{Do: "peers", Peers: append(a.peers(a, b), tunnel.Peer{Key: tunnel.Key{31: 1}})})
	if !strings.Contains(got.Error, errLeadingZero.Error()) {
		t.Errorf("error %q", got.Error)
	}
	allReach(a, b)
}

// TestOddPrograms has programs that do what vpncloud must not.
func TestOddPrograms(t *testing.T) {
	const version = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo VpnCloud v2.3.0; exit; fi\n"
	internet := newInternet(t)
	for _, c := range []struct{ name, script, want string }{
		{"misreads", "echo 'ERROR - Failed to read config file: x'\nexec sleep 1000\n", "vpncloud was ended by a signal: killed; it said: Failed to read config file: x"},
		{"ends", "exit 0\n", "vpncloud ended by itself, without an error code"},
		{"does not end", "trap '' TERM\nprintf 'vpn_started\\t\\t\\n' >&3\nwhile :; do sleep 0.1; done\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := attach(t, internet, "a")
			a.config.Binary = filepath.Join(t.TempDir(), "vpncloud")
			if err := os.WriteFile(a.config.Binary, []byte(version+c.script), 0o700); err != nil {
				t.Fatal(err)
			}
			a.start()
			b, d := strangerKey(t), strangerKey(t)
			a.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: b}, {Key: d}}})
			if c.want != "" {
				eventually(t, "its reason", func() bool { return a.must(order{Do: "state"}).Reason == c.want })
			} else {
				eventually(t, "it runs", func() bool { return a.must(order{Do: "state"}).PID != 0 })
			}
			old := a.must(order{Do: "state"}).PID
			a.must(order{Do: "peers", Peers: []tunnel.Peer{{Key: b}}})
			if pid := a.must(order{Do: "state"}).PID; old != 0 && pid == old {
				t.Error("it still runs with a key that was removed")
			}
			a.must(order{Do: "close"})
			if pid := a.must(order{Do: "state"}).PID; pid != 0 {
				t.Errorf("process %d runs after Close", pid)
			}
		})
	}
}

// TestOpenRefuses names what is wrong before anything is touched.
func TestOpenRefuses(t *testing.T) {
	good := Config{
		Dir: t.TempDir(), Interface: "mesh0", Seed: newSeed(t), Address: netip.MustParseAddr("fd00:44::1"), Network: network,
	}
	notVpncloud := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(notVpncloud, []byte("#!/bin/sh\necho VpnCloud v1.4.0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"interface name":  func(c *Config) { c.Interface = "a/b" },
		"no folder":       func(c *Config) { c.Dir = "" },
		"first byte is 0": func(c *Config) { c.Seed[0] = 0 },
		"is not IPv6":     func(c *Config) { c.Address = netip.MustParseAddr("10.0.0.1") },
		"does not hold":   func(c *Config) { c.Network = netip.MustParsePrefix("fd00:45::/48") },
		"is not vpncloud": func(c *Config) { c.Binary = notVpncloud },
		Install:           func(c *Config) { c.Binary = filepath.Join(c.Dir, "missing") },
	} {
		c := good
		change(&c)
		d, err := Open(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, d, err)
		}
	}
}
