package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/lab"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// server is a bare server of a lab that was set up as a machine, with a stub in the place of a chain's daemon.
type server struct {
	*lab.Host
	t       *testing.T
	program string // the one that it was set up with
}

func newServer(t *testing.T, suite string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a server")
	}
	t.Parallel() // they mostly wait
	l := lab.New(t, lab.Options{Hosts: 1, Suite: suite})
	exe, err := lab.Program()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Host: l.Host("h1"), t: t}
	s.program = s.install(exe)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.Exec(context.Background(), "journalctl", "--no-pager", "--lines=40", "--unit=pressenter-*")
			t.Logf("%s", out)
		}
	})
	return s
}

// install puts a program where programs lie.
func (s *server) install(exe []byte) string {
	s.t.Helper()
	sum := sha256.Sum256(exe)
	path := filepath.Join(machine.Programs, hex.EncodeToString(sum[:])[:16], "pressenter")
	s.write(path, exe, 0o755)
	return path
}

func (s *server) write(path string, b []byte, mode os.FileMode) {
	s.t.Helper()
	c, err := s.Command(s.t.Context(), "sh", "-c", fmt.Sprintf("mkdir -p %s && cat >%s && chmod %o %s", filepath.Dir(path), path, mode, path))
	if err != nil {
		s.t.Fatal(err)
	}
	c.Stdin = bytes.NewReader(b)
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("write %s: %v: %s", path, err, out)
	}
}

// sh runs a script as root, which must end well.
func (s *server) sh(script string) string {
	s.t.Helper()
	out, err := s.Exec(s.t.Context(), "sh", "-c", script)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *server) setup(spec machine.Spec) (machine.Report, error) {
	s.t.Helper()
	var r machine.Report
	if spec.Program == "" {
		spec.Program = s.program
	}
	spec.Deployment, spec.Host, spec.Role = "hub", "v1", string(roster.RoleValidator)
	b, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.Command(s.t.Context(), s.program, "host", "setup")
	if err != nil {
		s.t.Fatal(err)
	}
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(b), &out, &complaint
	if err := c.Run(); err != nil {
		return r, fmt.Errorf("%w: %s", err, complaint.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		s.t.Fatalf("%v: %q", err, out.String())
	}
	if r.Trial { // whoever keeps the machine comes in once more
		s.sh("echo '{}' | " + machine.Current + " host confirm")
	}
	return r, nil
}

func (s *server) mustSetup(spec machine.Spec) machine.Report {
	s.t.Helper()
	r, err := s.setup(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// agent is a client of the machine's agent.
func (s *server) agent() *api.Client {
	c := api.DialThrough("v1", func(context.Context) (net.Conn, error) {
		cmd, err := s.Command(context.Background(), machine.Current, "host", "dial")
		if err != nil {
			return nil, err
		}
		ours, its := net.Pipe()
		cmd.Stdin, cmd.Stdout = its, its
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		go func() {
			_ = cmd.Wait()
			_ = its.Close()
		}()
		return ours, nil
	})
	s.t.Cleanup(c.Close)
	return c
}

func (s *server) status() (api.HostStatus, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	c := s.agent()
	defer c.Close()
	return c.Status(ctx)
}

// until waits until the status of the machine is as wanted, and returns it.
func (s *server) until(what string, is func(api.HostStatus) bool) api.HostStatus {
	s.t.Helper()
	var st api.HostStatus
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if st, err = s.status(); err == nil && is(st) {
			return st
		}
	}
	b, _ := json.Marshal(st)
	s.t.Fatalf("not %s: %v, %s", what, err, b)
	return st
}

func runs(st api.HostStatus) bool {
	return st.Node.SupervisorPID != 0 && st.Node.DaemonPID != 0 && st.MeshPID != 0 && st.Mesh != nil
}

// stub is a daemon that runs and does nothing.
const stub = `#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" != --home ] || home=$2; [ "$1" != start ] || start=1; shift; done
if [ "$start" ]; then
	trap 'exit 0' TERM
	while :; do sleep 0.2; done
fi
id -un >&2
mkdir -p "$home/config" "$home/data"
cat >"$home/config/config.toml" <<'END'
CONFIG
END
cat >"$home/config/app.toml" <<'END'
APP
END
echo '{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"NODEKEY"}}' >"$home/config/node_key.json"
echo 'VALIDATORKEY' >"$home/config/priv_validator_key.json"
echo '{}' >"$home/config/genesis.json"
`

// enroll makes the machine a validator with a mesh, and gives it a roster.
func (s *server) enroll() {
	s.t.Helper()
	t := s.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, nodeKey, err := ed25519.GenerateKey(nil)
	must(err)
	pub, key, err := ed25519.GenerateKey(nil)
	must(err)
	text := base64.StdEncoding.EncodeToString
	validatorKey := fmt.Sprintf(`{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
		signing.Address(pub), text(pub), text(key))
	config, err := os.ReadFile("../node/testdata/init/config.toml")
	must(err)
	app, err := os.ReadFile("../node/testdata/init/app.toml")
	must(err)
	daemon := []byte(strings.NewReplacer("CONFIG", string(config), "APP", string(app), "NODEKEY", text(nodeKey), "VALIDATORKEY", validatorKey).Replace(stub))
	sum := sha256.Sum256(daemon)
	hash := hex.EncodeToString(sum[:])
	binary := machine.Folder + "/store/" + hash + "/stubd"
	s.write(binary, daemon, 0o755)
	recipient, err := age.GenerateX25519Identity()
	must(err)
	c := s.agent()
	enrolled, err := c.Enroll(t.Context(), api.EnrollRequest{
		Name: "v1", Deployment: "hub", Role: string(roster.RoleValidator), ChainID: "practice-1", Moniker: "v1", Daemon: "stubd",
		Binary: binary, BinaryHash: hash, BackupTo: recipient.Recipient().String(), MeshDriver: roster.MeshWireGuard,
		Listen: api.Listen{P2P: "0.0.0.0:26656", RPC: "127.0.0.1:26657", Mesh: ":51820", Machine: true},
	})
	must(err)
	genesis := []byte("{}")
	must(c.InstallGenesis(t.Context(), genesis))
	adminPub, admin, err := ed25519.GenerateKey(nil)
	must(err)
	first := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(adminPub), Capabilities: roster.AllCapabilities()}},
		roster.Chain{ID: "practice-1", GenesisSHA256: sha256.Sum256(genesis), Daemon: "stubd", MinGasPrice: "0uprac", BlockTime: time.Second})
	first.MeshDriver = roster.MeshWireGuard
	first.Members = []roster.Member{
		{
			Name: "s1", Role: roster.RoleSentry, Identity: roster.Key{1}, NodeID: strings.Repeat("a", 40), Endpoint: "192.0.2.1:26656", Since: 1,
			Mesh: roster.Mesh{Key: roster.Key{2}, TLS: roster.Key{3}},
		},
		{
			Name: "v1", Role: roster.RoleValidator, Identity: roster.Key(enrolled.Identity), NodeID: enrolled.NodeID, Since: 1,
			Mesh: roster.Mesh{Key: roster.Key(enrolled.MeshKey), TLS: roster.Key(enrolled.MeshTLS)},
		},
	}
	second := roster.Next(first)
	second.Signer = roster.Assignment{Holder: "v1", PubKey: roster.Key(enrolled.Consensus), Epoch: 1}
	var all [][]byte
	for _, r := range []*roster.Roster{first, second} {
		e, err := roster.Sign(r, admin)
		must(err)
		all = append(all, roster.EncodeEnvelope(e))
	}
	_, err = c.Publish(t.Context(), api.PublishRequest{Envelopes: all, Newest: true})
	must(err)
}

// learned tells the agent that its roster is the newest, as an operator does after a reboot.
func (s *server) learned() {
	s.t.Helper()
	if _, err := s.agent().Publish(s.t.Context(), api.PublishRequest{Newest: true}); err != nil {
		s.t.Fatal(err)
	}
}

// owner says whose a process is, and mode whose a path is and what may be done with it.
func (s *server) owner(pid int) string { return s.sh("stat -c %U /proc/" + strconv.Itoa(pid)) }

func (s *server) mode(path string) string {
	return s.sh("stat -c '%U %a' " + path)
}

func (s *server) main(unit string) int {
	s.t.Helper()
	pid, err := strconv.Atoi(s.sh("systemctl show --property=MainPID --value " + unit))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// TestMachine sets bare servers up, and proves what runs as whom, in which sandbox, and that it comes back.
func TestMachine(t *testing.T) {
	for _, suite := range []string{lab.Bookworm, lab.Trixie} {
		t.Run(suite, func(t *testing.T) {
			s := newServer(t, suite)
			if r := s.mustSetup(machine.Spec{}); len(r.Changed) == 0 {
				t.Error("a bare server needed nothing")
			}
			before := s.main(machine.AgentUnit)
			if r := s.mustSetup(machine.Spec{}); len(r.Changed) != 0 || s.main(machine.AgentUnit) != before {
				t.Errorf("the second set-up changed %q", r.Changed)
			}
			s.enroll()
			st := s.until("running", runs)
			s.checkUsers(st)
			s.checkSandboxes()
			t.Run("the agent is killed", s.agentIsKilled)
			t.Run("the supervisor is killed", s.supervisorIsKilled)
			t.Run("the machine reboots", s.machineReboots)
		})
	}
}

func (s *server) checkUsers(st api.HostStatus) {
	s.t.Helper()
	for pid, want := range map[int]string{
		st.Agent.PID: "root", st.MeshPID: machine.MeshUser, st.Node.SupervisorPID: machine.NodeUser, st.Node.DaemonPID: machine.NodeUser,
	} {
		if got := s.owner(pid); got != want {
			s.t.Errorf("process %d is of user %s, want %s", pid, got, want)
		}
	}
	const at = machine.Folder
	for path, want := range map[string]string{
		at: "root 711", at + "/agent": "root 700", at + "/agent/identity.key": "root 600", at + "/agent/consensus-key.age": "root 600",
		at + "/agent.sock": "root 600", at + "/mesh": machine.MeshUser + " 700", at + "/mesh/tunnel.key": machine.MeshUser + " 600",
		at + "/mesh/mesh.sock": machine.MeshUser + " 600", at + "/node": machine.NodeUser + " 700", at + "/node/home": machine.NodeUser + " 700",
		at + "/node/signing": machine.NodeUser + " 700", at + "/node/signing/consensus_key.json": machine.NodeUser + " 600",
		at + "/node/node.json": machine.NodeUser + " 600", at + "/node/home/config/config.toml": machine.NodeUser + " 600",
	} {
		if got := s.mode(path); got != want {
			s.t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if left := s.sh("find " + at + "/node " + at + "/mesh -user root"); left != "" {
		s.t.Errorf("root's, in folders of others:\n%s", left)
	}
	if caps := s.sh(fmt.Sprintf("grep CapEff /proc/%d/status", st.Node.DaemonPID)); !strings.HasSuffix(caps, "\t0000000000000000") {
		s.t.Errorf("the daemon has %s", caps)
	}
	if backend := st.Mesh.Backend; backend == "netstack" {
		s.t.Errorf("the mesh is %s: %s", backend, st.Mesh.Reason)
	}
	if tables := s.sh("nft list tables"); !strings.Contains(tables, "pressenter") {
		s.t.Errorf("no packet filter of the mesh process's in %q", tables)
	}
}

// exposure is the most that systemd-analyze security may find of each unit: 0 is none, 10 all.
var exposure = map[string]float64{machine.AgentUnit: 2.7, machine.MeshUnit: 2.1, machine.NodeUnit: 1.4}

func (s *server) checkSandboxes() {
	s.t.Helper()
	for unit, most := range exposure {
		said := s.sh("systemd-analyze security --no-pager " + unit + " | tail -n 1")
		_, rest, _ := strings.Cut(said, ": ")
		level, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		s.t.Logf("%s", said)
		if err != nil || level > most {
			s.t.Errorf("%s, want at most %.1f", said, most)
		}
	}
}

func (s *server) agentIsKilled(t *testing.T) {
	was := s.until("running", runs)
	s.sh(fmt.Sprintf("kill -KILL %d", was.Agent.PID))
	now := s.until("running with another agent", func(st api.HostStatus) bool { return runs(st) && st.Agent.PID != was.Agent.PID })
	if now.MeshPID != was.MeshPID || now.Node.SupervisorPID != was.Node.SupervisorPID || now.Node.DaemonPID != was.Node.DaemonPID {
		t.Errorf("mesh %d, supervisor %d and daemon %d became %d, %d and %d", was.MeshPID, was.Node.SupervisorPID, was.Node.DaemonPID,
			now.MeshPID, now.Node.SupervisorPID, now.Node.DaemonPID)
	}
}

func (s *server) supervisorIsKilled(t *testing.T) {
	was := s.until("running", runs)
	s.sh(fmt.Sprintf("kill -KILL %d", was.Node.SupervisorPID))
	now := s.until("running with another supervisor", func(st api.HostStatus) bool {
		return runs(st) && st.Node.SupervisorPID != was.Node.SupervisorPID
	})
	if now.Node.DaemonPID != was.Node.DaemonPID {
		t.Errorf("the daemon %d became %d", was.Node.DaemonPID, now.Node.DaemonPID)
	}
}

func (s *server) machineReboots(t *testing.T) {
	if err := s.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until("the mesh runs", func(st api.HostStatus) bool { return st.MeshPID != 0 })
	s.learned()
	s.until("running", runs)
}

func (s *server) finding(st api.HostStatus, code, subject string) bool {
	return slices.ContainsFunc(st.Findings, func(f health.Finding) bool { return f.Code == code && f.Subject == subject })
}

// TestDrift changes a machine behind its agent's back.
func TestDrift(t *testing.T) {
	s := newServer(t, lab.Bookworm)
	s.mustSetup(machine.Spec{})
	s.enroll()
	was := s.until("running", runs)
	const units = "/usr/local/lib/systemd/system/"
	for name, c := range map[string]struct{ do, code, subject, look, want string }{
		"a unit is edited": {
			"echo '[Service]\nCapabilityBoundingSet=~' >>" + units + machine.NodeUnit, "drift-unit", units + machine.NodeUnit,
			"grep -c CapabilityBoundingSet " + units + machine.NodeUnit, "1",
		},
		"a unit is removed": {
			"rm " + units + machine.MeshUnit + " && systemctl daemon-reload", "drift-unit", units + machine.MeshUnit,
			"systemctl show --property=LoadState --value " + machine.MeshUnit, "loaded",
		},
		"a unit is everybody's": {
			"chmod 666 " + units + machine.AgentUnit, "drift-unit", units + machine.AgentUnit, "stat -c %a " + units + machine.AgentUnit, "644",
		},
		"the packet filter is emptied": {
			"nft delete table inet pressenter_mesh; until nft list table inet pressenter_mesh >/dev/null 2>&1; do sleep 0.2; done", "", "",
			"nft list table inet pressenter_mesh | grep -c counter | sed 's/[0-9]*/some/'", "some",
		},
		"the agent is disabled": {
			"systemctl disable " + machine.AgentUnit, "drift-disabled", machine.AgentUnit, "systemctl is-enabled " + machine.AgentUnit, "enabled",
		},
		"a folder is everybody's": {
			"chmod 777 " + machine.Folder + "/node", "drift-folder", machine.Folder + "/node", "stat -c %a " + machine.Folder + "/node", "700",
		},
		"a folder is somebody else's": {
			"chown nobody " + machine.Folder + "/mesh", "drift-folder", machine.Folder + "/mesh", "stat -c %U " + machine.Folder + "/mesh", machine.MeshUser,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.sh(c.do)
			if c.code != "" {
				s.until("found", func(st api.HostStatus) bool { return s.finding(st, c.code, c.subject) })
			}
			if got := s.sh(c.look); got != c.want {
				t.Errorf("%s: %q, want %q", c.look, got, c.want)
			}
		})
	}
	now := s.until("running", runs)
	if now.Agent.PID != was.Agent.PID || now.MeshPID != was.MeshPID || now.Node.SupervisorPID != was.Node.SupervisorPID || now.Node.DaemonPID != was.Node.DaemonPID {
		t.Errorf("repairs restarted something: agent, mesh, supervisor or daemon")
	}
	// An administrator's own word about our units is left as it is, and told.
	s.sh("mkdir -p /etc/systemd/system/" + machine.NodeUnit + ".d && echo '[Service]\nNice=5' >/etc/systemd/system/" + machine.NodeUnit + ".d/own.conf && systemctl daemon-reload")
	s.until("told", func(st api.HostStatus) bool { return s.finding(st, "unit-overruled", machine.NodeUnit) })
	s.sh("test -e /etc/systemd/system/" + machine.NodeUnit + ".d/own.conf")
}

// What a person stopped with the machine's own means stays stopped, whatever happens, until a person starts it.
func TestStoppedByPerson(t *testing.T) {
	s := newServer(t, lab.Bookworm)
	s.mustSetup(machine.Spec{})
	s.enroll()
	s.until("running", runs)
	stopped := func(st api.HostStatus) bool {
		return st.Node.SupervisorPID == 0 && st.Node.DaemonPID == 0 && st.MeshPID != 0 && strings.Contains(st.Reason, "was stopped on the machine")
	}
	s.sh("systemctl stop " + machine.NodeUnit)
	st := s.until("stopped", stopped)
	s.sh(fmt.Sprintf("kill -KILL %d", st.Agent.PID))
	s.until("stopped, says the next agent", func(now api.HostStatus) bool { return now.Agent.PID != st.Agent.PID && stopped(now) })
	s.mustSetup(machine.Spec{})
	s.until("stopped", stopped)
	if err := s.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until("up again", func(st api.HostStatus) bool { return st.MeshPID != 0 })
	s.learned()
	s.until("stopped after a reboot", stopped)
	if _, err := s.agent().SetIntent(t.Context(), api.Intent{By: "test"}); err != nil {
		t.Fatal(err)
	}
	s.until("running", runs)

	s.sh("systemctl stop " + machine.MeshUnit)
	s.until("without its mesh", func(st api.HostStatus) bool {
		return st.MeshPID == 0 && st.Node.DaemonPID != 0 && s.finding(st, "stopped-here", "")
	})
	s.sh("systemctl start " + machine.MeshUnit)
	s.until("running", func(st api.HostStatus) bool { return runs(st) && !s.finding(st, "stopped-here", "") })

	s.sh("systemctl mask --now " + machine.NodeUnit)
	s.until("masked", func(st api.HostStatus) bool {
		return st.Node.DaemonPID == 0 && strings.Contains(st.Reason, "is masked")
	})
	s.sh("systemctl unmask " + machine.NodeUnit + " && systemctl start " + machine.NodeUnit)
	s.until("running", runs)
	// What merely crashed comes back.
	s.sh("systemctl kill --signal=KILL " + machine.NodeUnit)
	s.until("running", runs)
}

// TestUpgrade replaces the agent by others, of which one works.
func TestUpgrade(t *testing.T) {
	s := newServer(t, lab.Trixie)
	s.mustSetup(machine.Spec{})
	s.enroll()
	was := s.until("running", runs)
	exe, err := lab.Program()
	if err != nil {
		t.Fatal(err)
	}
	first, broken := s.program, s.install([]byte("#!/bin/sh\nexit 1\n"))
	runsAs := func(unit string) string {
		return s.sh(fmt.Sprintf("readlink /proc/%d/exe", s.main(unit)))
	}
	othersGoOn := func(when string) {
		t.Helper()
		now := s.until("running", runs)
		if now.MeshPID != was.MeshPID || now.Node.SupervisorPID != was.Node.SupervisorPID || now.Node.DaemonPID != was.Node.DaemonPID {
			t.Errorf("%s: more than the agent was replaced", when)
		}
	}
	if _, err := s.setup(machine.Spec{Program: broken, Patience: 2 * time.Second}); err == nil || !strings.Contains(err.Error(), "runs again") {
		t.Errorf("an agent that does not work: %v", err)
	}
	if got := runsAs(machine.AgentUnit); got != first {
		t.Errorf("%s runs", got)
	}
	othersGoOn("after a broken agent")
	if r := s.mustSetup(machine.Spec{}); len(r.Changed) != 0 {
		t.Errorf("putting it back left to do: %q", r.Changed)
	}

	// The set-up is killed while the broken agent is in place: nobody comes, and the machine helps itself.
	script := fmt.Sprintf("echo '{\"program\":%q,\"deployment\":\"hub\",\"host\":\"v1\",\"role\":\"validator\",\"patience\":1000000000}' >/tmp/spec; "+
		"%s host setup </tmp/spec >/dev/null 2>&1 & pid=$!; while [ \"$(readlink %s)\" != %s ]; do sleep 0.01; done; kill -KILL $pid", broken, first, machine.Current, broken)
	s.sh(script)
	s.until("back", func(st api.HostStatus) bool { return runs(st) && runsAs(machine.AgentUnit) == first })
	othersGoOn("after a set-up that was killed")
	s.sh("test ! -e " + machine.Folder + "/agent/machine.former.json")

	second := s.install(append(slices.Clone(exe), 'x'))
	r := s.mustSetup(machine.Spec{Program: second})
	if got := runsAs(machine.AgentUnit); got != second || runsAs(machine.MeshUnit) != first || runsAs(machine.NodeUnit) != first {
		t.Errorf("the agent is %s; changed: %q", got, r.Changed)
	}
	othersGoOn("after an upgrade")
	s.sh("! systemctl is-active --quiet pressenter-rollback.timer")

	r = s.mustSetup(machine.Spec{Program: second, Mesh: second, Node: second})
	now := s.until("all of the second", func(st api.HostStatus) bool {
		return runs(st) && runsAs(machine.MeshUnit) == second && runsAs(machine.NodeUnit) == second
	})
	if now.Node.DaemonPID != was.Node.DaemonPID {
		t.Errorf("the daemon was restarted; changed: %q", r.Changed)
	}
	if r := s.mustSetup(machine.Spec{Program: second}); len(r.Changed) != 0 {
		t.Errorf("left to do: %q", r.Changed)
	}
}
