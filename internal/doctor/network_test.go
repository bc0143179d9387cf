package doctor_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/doctor"
	"github.com/pressenter/pressenter/internal/hiding"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/supervisor"
)

var (
	e2e   = flag.Bool("e2e", false, "run the tests that start a real network; they take three minutes")
	given = flag.String("daemon", "", "the practice daemon to use instead of building one")
)

// network is a practice network of real programs.
type network struct {
	*testing.T
	program string
	root    string
	dir     deployment.Dir
	local   local.Provider
}

// TestRealNetwork proves that a good network's validator is hidden. Then it spoils the network in three ways, each on a host of
// its own, and the proof must fail for each: a proof that cannot fail proves nothing.
func TestRealNetwork(t *testing.T) {
	switch {
	case !*e2e:
		t.Skip("starts a real network and takes three minutes; run it with: go test ./internal/doctor -run TestRealNetwork -e2e")
	case runtime.GOOS != "linux":
		t.Skip("finds processes in /proc, which only Linux has")
	}
	n := start(t)
	t.Run("good", n.within(func(n *network) {
		facts := n.look()
		for _, c := range doctor.Judge(facts) {
			if c.Verdict == doctor.Critical {
				n.Errorf("a good network is said to be bad: %+v", c)
			}
		}
		checks := n.prove(facts)
		for _, c := range checks {
			if c.Verdict == doctor.Critical || c.Verdict == doctor.Warning && strings.HasPrefix(c.Code, "hid") {
				n.Errorf("a hidden validator is said not to be: %+v", c)
			}
		}
		n.want(checks, doctor.CodeHidden, "validator", doctor.OK)
	}))
	n.spoil()
	t.Run("spoiled", n.within(func(n *network) {
		checks := n.prove(n.look())
		n.want(checks, doctor.CodeHidden, "validator", doctor.Critical)
		// 1: a sentry without private_peer_ids tells strangers.
		n.want(checks, hiding.CodeAnswers, "s1", doctor.Critical)
		// 2: private_peer_ids set later does not clean a book.
		n.want(checks, hiding.CodeBook, "s2", doctor.Critical)
		n.want(checks, hiding.CodeAnswers, "s2", doctor.Critical)
		// 3: a validator with room for strangers takes them in.
		n.want(checks, hiding.CodeKnock, "validator", doctor.Critical)
		n.want(checks, hiding.CodePeers, "validator", doctor.Critical)
		if !slices.ContainsFunc(checks, func(c doctor.Check) bool { return strings.Contains(c.Message, "the stranger that knocked") }) {
			n.Error("no check says that the stranger is one of the validator's peers")
		}
	}))
}

func (n *network) within(f func(*network)) func(*testing.T) {
	return func(t *testing.T) {
		inner := *n
		inner.T = t
		f(&inner)
	}
}

// want demands that one of the checks of that code and subject has the verdict.
func (n *network) want(checks []doctor.Check, code, subject string, v doctor.Verdict) {
	n.Helper()
	var got []doctor.Check
	for _, c := range checks {
		if c.Code == code && c.Subject == subject {
			got = append(got, c)
		}
	}
	i := slices.IndexFunc(got, func(c doctor.Check) bool { return c.Verdict == v })
	if i < 0 {
		n.Errorf("%s of %s: want %s, got %+v", code, subject, v, got)
		return
	}
	n.Logf("%s of %s is %s: %s (%s)", code, subject, v, got[i].Message, got[i].Measurement)
}

func (n *network) look() doctor.Facts {
	n.Helper()
	return doctor.Look(n.Context(), doctor.Target{
		Dir: n.dir, Provider: n.local, Version: n.version(), Daemon: filepath.Join(filepath.Dir(n.program), "practiced"),
		Practice: true, Wait: 10 * time.Second,
	})
}

// version is what the agents say, so that it is the same whatever this test is built as.
func (n *network) version() string {
	n.Helper()
	st, err := n.local.Client(n.host("validator")).Status(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	return st.Agent.Version
}

// prove runs the whole proof.
func (n *network) prove(f doctor.Facts) []doctor.Check {
	n.Helper()
	proven, err := doctor.Proof{Hosts: f.Hosts, Provider: n.local}.Run(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	if proven.Took < hiding.MinPeriod {
		n.Errorf("the proof took %s, shorter than leaks need", proven.Took)
	}
	n.Logf("proof: %s, %+v, %v answered", proven.Took.Round(time.Millisecond), proven.Progress, proven.Asked)
	return doctor.JudgeProof(proven)
}

// start brings a network up, and sees to it that nothing of it is left whatever becomes of the test.
func start(t *testing.T) *network {
	t.Helper()
	bin := t.TempDir()
	n := &network{T: t, program: filepath.Join(bin, "pressenter"), root: t.TempDir()}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	n.run(checkout, "go", "build", "-o", n.program, "./cmd/pressenter")
	if err := os.Symlink(daemonPath(n, checkout), filepath.Join(bin, "practiced")); err != nil {
		t.Fatal(err)
	}
	if n.root, err = filepath.EvalSymlinks(n.root); err != nil {
		t.Fatal(err)
	}
	n.dir, n.local = deployment.Dir(filepath.Join(n.root, ".pressenter")), local.Provider{Exe: n.program}
	t.Cleanup(n.end)
	begun := time.Now()
	n.run(n.root, n.program, "init", "--name", "doctored")
	n.run(n.root, n.program, "up", "--yes")
	t.Logf("network up in %s", time.Since(begun).Round(time.Millisecond))
	return n
}

// daemonPath is the practice daemon, built if need be and kept for as long as the chain's sources are the same.
func daemonPath(n *network, checkout string) string {
	n.Helper()
	if *given != "" {
		path, err := filepath.Abs(*given)
		if err != nil {
			n.Fatal(err)
		}
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		n.Fatal(err)
	}
	chain := filepath.Join(checkout, "chain")
	path := filepath.Join(cache, "pressenter", "daemon", sourcesOf(n, chain), "practiced")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	n.run(chain, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", fresh, "./cmd/practiced")
	if err := os.Rename(fresh, path); err != nil {
		n.Fatal(err)
	}
	return path
}

func (n *network) run(dir, name string, args ...string) string {
	n.Helper()
	c := exec.CommandContext(n.Context(), name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		n.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// end destroys the network, and ends by identity what is left.
func (n *network) end() {
	hosts := n.hosts()
	c := exec.Command(n.program, "destroy", "--name", "doctored", "--delete-keys")
	c.Dir = n.root
	// What is left is found by locks, so the folders must still be there: look before destroying.
	var left []process.Identity
	for _, h := range hosts {
		for _, lock := range []string{"agent.lock", supervisor.SupervisorLock, supervisor.HomeLock} {
			if holder, err := process.ReadHolder(filepath.Join(h.Folder, lock)); err == nil && holder.Process.Alive() {
				left = append(left, holder.Process)
			}
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		n.Logf("destroy: %v\n%s", err, out)
	}
	for _, id := range left {
		if id.Alive() {
			n.Errorf("%s outlived destroy", id)
			if err := process.Terminate(context.Background(), id, 5*time.Second); err != nil {
				n.Error(err)
			}
		}
	}
}

func (n *network) hosts() []deployment.Host {
	n.Helper()
	var all []deployment.Host
	for _, d := range []deployment.Dir{n.dir, n.dir.World()} {
		inv, err := d.LoadInventory()
		if err != nil {
			n.Fatal(err)
		}
		all = append(all, inv.Hosts...)
	}
	return all
}

func (n *network) host(name string) deployment.Host {
	n.Helper()
	hosts := n.hosts()
	i := slices.IndexFunc(hosts, func(h deployment.Host) bool { return h.Name == name })
	if i < 0 {
		n.Fatalf("there is no host %q", name)
	}
	return hosts[i]
}

// spoil makes the three mistakes of which each gives a validator away.
func (n *network) spoil() {
	n.Helper()
	s1, s2, v := n.host("s1"), n.host("s2"), n.host("validator")
	spoiled := []deployment.Host{s1, s2, v}
	for _, h := range spoiled {
		n.hold(h)
		n.down(h)
	}
	n.portTaken(s2)
	n.edit(s1, "private_peer_ids", `""`)
	n.learn(s2, v) // as if private_peer_ids, which stays, had not been there from the first start on
	n.edit(v, "max_num_inbound_peers", "40")
	for _, h := range spoiled {
		n.up(h)
	}
	n.connected()
}

// learn writes a host into the address book of another that is down, beside an entry that the node wrote itself.
func (n *network) learn(of, about deployment.Host) {
	n.Helper()
	path := filepath.Join(of.Folder, "home", "config", "addrbook.json")
	b, err := os.ReadFile(path)
	if err != nil {
		n.Fatal(err)
	}
	var book struct {
		Key   string           `json:"key"`
		Addrs []map[string]any `json:"addrs"`
	}
	if err := json.Unmarshal(b, &book); err != nil || len(book.Addrs) == 0 {
		n.Fatalf("no entry to copy in %s: %v", path, err)
	}
	entry := maps.Clone(book.Addrs[0])
	entry["addr"] = map[string]any{"id": n.nodeID(about), "ip": "127.0.0.1", "port": node.Port(about.Listen.P2P)}
	book.Addrs = append(book.Addrs, entry)
	if b, err = json.Marshal(book); err != nil {
		n.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		n.Fatal(err)
	}
}

// portTaken listens where a node that is down should: doctor must say who does.
func (n *network) portTaken(h deployment.Host) {
	n.Helper()
	l, err := net.Listen("tcp", h.Listen.P2P)
	if err != nil {
		n.Fatal(err)
	}
	checks := doctor.Judge(n.look())
	if err := l.Close(); err != nil {
		n.Error(err)
	}
	n.want(checks, doctor.CodePort, h.Name, doctor.Critical)
	mine := fmt.Sprintf("held by process %d ", os.Getpid())
	if !slices.ContainsFunc(checks, func(c doctor.Check) bool { return strings.HasPrefix(c.Measurement, mine) }) {
		n.Errorf("no check says that the port of %s is %s", h.Name, mine)
	}
}

// hold keeps the agent from mending what the test spoils.
func (n *network) hold(h deployment.Host) {
	n.Helper()
	if _, err := n.local.Client(h).SetIntent(n.Context(), api.Intent{Held: true, By: "a test"}); err != nil {
		n.Fatal(err)
	}
}

// down ends a host's supervisor, which ends its daemon.
func (n *network) down(h deployment.Host) {
	n.Helper()
	for _, lock := range []string{supervisor.SupervisorLock, supervisor.HomeLock} {
		holder, err := process.ReadHolder(filepath.Join(h.Folder, lock))
		if err != nil {
			n.Fatal(err)
		}
		if !holder.Process.Alive() {
			continue
		}
		if err := process.Terminate(n.Context(), holder.Process, time.Minute); err != nil {
			n.Fatal(err)
		}
	}
	if st, err := n.local.Inspect(n.Context(), h); err != nil || st.Node.DaemonPID != 0 || st.Node.SupervisorPID != 0 {
		n.Fatalf("%s still runs: %+v", h.Name, st.Node)
	}
}

// up starts a host's supervisor by hand.
func (n *network) up(h deployment.Host) {
	n.Helper()
	_, err := process.StartDetached(process.Spec{
		Path: n.program, Args: []string{"node", "run", "--host", h.Folder}, Dir: h.Folder,
		Env: []string{"HOME=" + h.Folder, "PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir()}, LogPath: filepath.Join(h.Folder, "supervisor.log"),
	})
	if err != nil {
		n.Fatal(err)
	}
}

// edit replaces a value in config.toml.
func (n *network) edit(h deployment.Host, key, value string) {
	n.Helper()
	path := filepath.Join(h.Folder, "home", "config", "config.toml")
	old, err := os.ReadFile(path)
	if err != nil {
		n.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^` + key + ` = .*$`)
	if got := len(line.FindAll(old, -1)); got != 1 {
		n.Fatalf("%s has %d lines of %s, want 1", path, got, key)
	}
	if err := os.WriteFile(path, line.ReplaceAll(old, []byte(key+" = "+value)), 0o600); err != nil {
		n.Fatal(err)
	}
}

func (n *network) nodeID(h deployment.Host) string {
	n.Helper()
	id, err := comet.ReadNodeID(filepath.Join(h.Folder, "home", "config", "node_key.json"))
	if err != nil {
		n.Fatal(err)
	}
	return id
}

// connected waits until the validator has both sentries as peers, and they have it.
func (n *network) connected() {
	n.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(n.Context(), 3*time.Minute)
	defer cancel()
	links := [][2]string{{"validator", "s1"}, {"validator", "s2"}, {"s1", "validator"}, {"s2", "validator"}}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(links, func(l [2]string) bool { return !n.linked(ctx, l[0], l[1]) }) {
		select {
		case <-ctx.Done():
			b, err := json.Marshal(n.look().Hosts)
			n.Fatalf("the validator did not come back: %s %v", b, err)
		case <-tick.C:
		}
	}
	n.Logf("connected again after %s", time.Since(begun).Round(time.Millisecond))
}

func (n *network) linked(ctx context.Context, from, to string) bool {
	n.Helper()
	reply, err := n.local.Client(n.host(from)).Peers(ctx)
	id := n.nodeID(n.host(to))
	return err == nil && slices.ContainsFunc(reply.Peers, func(p api.Peer) bool { return p.NodeID == id })
}
