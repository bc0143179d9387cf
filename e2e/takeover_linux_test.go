package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/genesis"
	"github.com/pressenter/pressenter/internal/lab"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/status"
	"github.com/pressenter/pressenter/internal/takeover"
)

// foreign is a network that somebody else made: one validator on a server of its own, that goes on without ours, and ours
// on a server under a unit that was made by hand.
type foreign struct {
	*brownfield
	rest    *lab.Host
	genesis []byte
	rpc     *comet.Client // of the rest
}

const (
	foreignChain = "brownfield-7"
	takenKey     = "/var/lib/pressenter/node/signing/" + signing.KeyFile
	journal      = "/var/lib/pressenter/agent/takeover.json"
)

// newForeign makes the network and starts it.
func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{brownfield: &brownfield{servers: onServers(t, lab.Options{Hosts: 3, Login: lab.Sudo})}}
	f.host, f.rest = f.hosts["validator"], f.hosts["s2"]
	delete(f.hosts, "s2")
	homes, validators := map[string]string{}, []genesis.Validator{}
	for name, stake := range map[string]int64{"ours": 90, "rest": 1000} {
		home := filepath.Join(t.TempDir(), ".practice")
		if out, err := exec.CommandContext(t.Context(), practiced(), "init", name, "--chain-id", foreignChain, "--home", home).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		key, err := os.ReadFile(filepath.Join(home, "config", "priv_validator_key.json"))
		if err != nil {
			t.Fatal(err)
		}
		pub, err := signing.PublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		id, err := comet.ReadNodeID(filepath.Join(home, "config", "node_key.json"))
		if err != nil {
			t.Fatal(err)
		}
		if name == "ours" {
			f.address, f.nodeID = signing.Address(pub), id
			f.secrets = []string{"hunter2-is-secret", privateHalf(t, filepath.Join(home, "config", "priv_validator_key.json")), privateHalf(t, filepath.Join(home, "config", "node_key.json"))}
		}
		homes[name], validators = home, append(validators, genesis.Validator{Name: name, Consensus: pub, NodeID: id, Stake: stake})
	}
	w := genesis.Workshop{Dir: filepath.Join(t.TempDir(), "workshop"), Binary: practiced(), ChainID: foreignChain, Denom: "uprac"}
	var err error
	if f.genesis, err = w.Make(t.Context(), validators); err != nil {
		t.Fatal(err)
	}
	restID, err := comet.ReadNodeID(filepath.Join(homes["rest"], "config", "node_key.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, home := range homes {
		if err := os.WriteFile(filepath.Join(home, "config", "genesis.json"), f.genesis, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ours := f.host
	f.host = f.rest
	f.install(t, homes["rest"])
	f.in(t, `sed -i 's|^laddr = "tcp://127.0.0.1:26657"|laddr = "tcp://0.0.0.0:26657"|' `+oldHome+`/config/config.toml; systemctl daemon-reload; systemctl enable --now cosmos.service`)
	f.host = ours
	f.install(t, homes["ours"])
	f.in(t, fmt.Sprintf(`sed -i 's|^persistent_peers = .*|persistent_peers = "%s@%s:26656"|' %s/config/config.toml; systemctl daemon-reload; systemctl enable --now cosmos.service`, restID, f.rest.Address, oldHome))
	f.rpc = &comet.Client{URL: "http://" + f.rest.Address + ":26657"}
	return f
}

// describe writes the config of a deployment on the network.
func (f *foreign) describe(t *testing.T) {
	t.Helper()
	d := config.Practice("servers")
	d.Provider, d.Practice = config.ProviderSSH, config.PracticeNetwork{}
	d.Chain = config.Chain{Name: "brownfield", ChainID: foreignChain, Daemon: "practiced", Binary: practiced(), Bech32Prefix: "practice", Denom: "uprac", Exists: true}
	d.Validator.Address = f.host.Name
	d.Sentries = []config.Sentry{{Name: "s1", Machine: config.Machine{Address: f.hosts["s1"].Name}}}
	f.write(t, d)
}

// signed says at which heights from first on the network has a signature of our key, and the newest height that was looked at.
func (f *foreign) signed(ctx context.Context, first int64) (heights []int64, newest int64, err error) {
	st, err := f.rpc.Status(ctx)
	if err != nil {
		return nil, 0, err
	}
	newest = st.Height - 1
	for h := first; h <= newest; h++ {
		c, err := f.rpc.Commit(ctx, h)
		if err != nil {
			return nil, 0, err
		}
		if comet.Signed(c.Commit, f.address) {
			heights = append(heights, h)
		}
	}
	return heights, newest, nil
}

// signsOn waits for a signature of a height that the network had not reached yet.
func (f *foreign) signsOn(t *testing.T) {
	t.Helper()
	var st comet.Status
	eventually(t, "the network's other node answers", func() (err error) { // at first it may not listen yet
		st, err = f.rpc.Status(t.Context())
		return err
	})
	eventually(t, "the network has a signature of ours that is new", func() error {
		heights, newest, err := f.signed(t.Context(), st.Height+1)
		if err == nil && len(heights) == 0 {
			err = fmt.Errorf("none from %d to %d", st.Height+1, newest)
		}
		return err
	})
}

// seen is what status says of a host.
func (f *foreign) seen(t *testing.T, name string) (status.Host, error) {
	t.Helper()
	said := f.runs(t, "status", "--json")
	var s status.Status
	if err := json.Unmarshal([]byte(said.out), &s); err != nil {
		return status.Host{}, fmt.Errorf("%w: %v", err, said)
	}
	for _, h := range s.Deployments[0].Hosts {
		if h.Name == name {
			return h, nil
		}
	}
	return status.Host{}, fmt.Errorf("there is no %s in %v", name, said)
}

// oldPID is the main process of the old unit.
func (f *foreign) oldPID(t *testing.T) string {
	t.Helper()
	return f.in(t, "systemctl show -p MainPID,NRestarts,UnitFileState,LoadState cosmos.service")
}

// isDead checks that the old unit does not run, and that nothing starts it.
func (f *foreign) isDead(t *testing.T) {
	t.Helper()
	if is := f.in(t, "systemctl show -p ActiveState,LoadState --value cosmos.service | sort | tr '\n' ' '; pgrep -c practiced; :"); is != "failed masked 0" && is != "inactive masked 0" {
		t.Errorf("the old unit is %q", is)
	}
}

// phase waits until the journal of a takeover satisfies ok.
func (f *foreign) phase(t *testing.T, what string, ok func(takeover.State) bool) {
	t.Helper()
	eventually(t, what, func() error {
		var st takeover.State
		out, err := f.host.Exec(t.Context(), "cat", journal)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(out, &st); err != nil {
			return err
		}
		if !ok(st) {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}

// holdOnceStopped has somebody open the home as soon as the old unit is down: whoever had it open before would keep a takeover
// from beginning.
func (f *foreign) holdOnceStopped(t *testing.T) {
	t.Helper()
	f.feed(t, []byte(`[Service]
ExecStopPost=-+/usr/bin/systemd-run --quiet --unit=holder --property=Type=notify --property=NotifyAccess=all sh -c 'exec 3<`+oldHome+`/config/genesis.json; systemd-notify --ready; exec sleep 1d'
`), "mkdir -p /etc/systemd/system/cosmos.service.d; cat >/etc/systemd/system/cosmos.service.d/holder.conf; systemctl daemon-reload")
}

// cutOff starts a takeover and kills the operator's program once the server is stuck in the middle.
func (f *foreign) cutOff(t *testing.T) {
	t.Helper()
	c := f.command("adopt", config.ValidatorHost, "--take-over", "--accept-file-key", "--yes")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	f.phase(t, "the takeover is stuck before its point of no return", func(st takeover.State) bool {
		return st.Phase == takeover.Silencing && strings.Contains(st.Trouble, "is not of cosmos.service")
	})
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Errorf("it ended by itself: %s", &out)
	}
}

// killer kills whatever takes over, each time that anything has changed of what there is.
const killer = `#!/bin/sh
seen=
while :; do
	now="$(systemctl is-enabled cosmos.service) $(systemctl is-active cosmos.service) $(cat /var/lib/pressenter/agent/takeover.json | grep '"phase"')
	$(cd /; ls -d home/chain/.practice var/lib/pressenter/node/home var/lib/pressenter/node/home/config/priv_validator_key.json \
		var/lib/pressenter/node/signing/* var/lib/pressenter/agent/home.json var/lib/pressenter/agent/consensus-key.age etc/systemd/system/*before-pressenter | tr '\n' ' ')"
	if [ "$now" != "$seen" ]; then
		pid=$(systemctl show -p MainPID --value pressenter-takeover.service)
		if [ "$pid" != 0 ]; then
			kill -9 "$pid" && printf '%s\n' "killed at: $now" >>/root/kills
			seen=$now
		fi
	fi
done 2>/dev/null
`

// TestTakeOver takes a validator over that runs and signs under a unit that somebody made by hand. Whatever is killed, the
// key is never in two hands.
func TestTakeOver(t *testing.T) {
	f := newForeign(t)
	t.Cleanup(func() {
		if t.Failed() {
			out, err := f.host.Exec(context.Background(), "sh", "-c", "cat "+journal+"; systemctl status --no-pager -n 12 cosmos pressenter-takeover pressenter-agent pressenter-node; tail -n 30 /var/lib/pressenter/node/node.log /root/kills")
			t.Logf("%v\n%s", err, out)
		}
	})
	f.signsOn(t)
	f.describe(t)
	before := f.oldPID(t)

	t.Run("nothing is taken unasked", func(t *testing.T) {
		f.refuses(t, []string{"nothing of it is known", "--join"}, "plan")
		p := f.look(t)
		if !p.Implemented || p.Found.Role != adopt.RoleValidator || code(p, "network") {
			t.Fatalf("%+v", p.Findings)
		}
		f.refuses(t, []string{"--accept-file-key"}, "adopt", config.ValidatorHost, "--take-over", "--yes")
		f.refuses(t, []string{"--join"}, "adopt", config.ValidatorHost, "--take-over", "--accept-file-key", "--yes")
	})
	t.Run("the deployment joins the network", func(t *testing.T) {
		sum := fmt.Sprintf("%x", sha256.Sum256(f.genesis))
		f.refuses(t, []string{"--genesis-sha256"}, "adopt", config.ValidatorHost, "--join")
		f.refuses(t, []string{sum, "nothing was noted"}, "adopt", config.ValidatorHost, "--join", "--genesis-sha256", strings.Repeat("0", 64))
		said := f.does(t, "adopt", config.ValidatorHost, "--join", "--genesis-sha256", sum)
		f.keepsSecrets(t, said)
		if !said.has("SHA-256", f.rest.Address) {
			t.Errorf("%v", said)
		}
		if got, err := os.ReadFile(filepath.Join(f.state().Genesis(), "genesis.json")); err != nil || !bytes.Equal(got, f.genesis) {
			t.Errorf("the genesis is another one (%v)", err)
		}
		f.does(t, "apply", "--yes")
		f.noChanges(t)
		eventually(t, "the sentry has caught up", func() error {
			h, err := f.seen(t, "s1")
			if err == nil && (!h.Up || h.CatchingUp || h.Height == 0) {
				err = fmt.Errorf("%+v", h)
			}
			return err
		})
		if after := f.oldPID(t); after != before {
			t.Errorf("the old unit was %q and is %q", before, after)
		}
		if left := f.in(t, "ls -d /var/lib/pressenter /opt/pressenter 2>/dev/null || :"); left != "" {
			t.Errorf("there is something of ours on the server: %s", left)
		}
	})
	if t.Failed() {
		return
	}
	t.Run("whoever has the home open is met before anything is changed", func(t *testing.T) {
		f.in(t, "systemd-run --quiet --unit=holder --property=Type=notify --property=NotifyAccess=all sh -c 'exec 3<"+oldHome+"/config/genesis.json; systemd-notify --ready; exec sleep 1d'")
		f.refuses(t, []string{"nothing was changed", "is not of cosmos.service"}, "adopt", config.ValidatorHost, "--take-over", "--accept-file-key", "--yes")
		f.in(t, "systemctl stop holder.service")
		if after := f.oldPID(t); after != before {
			t.Errorf("the old unit was %q and is %q", before, after)
		}
	})
	t.Run("a takeover is undone", func(t *testing.T) {
		f.holdOnceStopped(t)
		f.cutOff(t)
		f.isDead(t)
		f.refuses(t, []string{"is being taken over", "--undo"}, "destroy", "--name", "servers")
		if said := f.does(t, "adopt", config.ValidatorHost); !said.has("silencing", "--undo") {
			t.Errorf("%v", said)
		}
		f.does(t, "adopt", config.ValidatorHost, "--undo")
		f.in(t, "systemctl stop holder.service; rm -r /etc/systemd/system/cosmos.service.d; systemctl daemon-reload")
		if is := f.in(t, "systemctl is-active cosmos.service; systemctl is-enabled cosmos.service; systemctl show -p LoadState --value pressenter-takeover.service"); is != "active\nenabled\nnot-found" {
			t.Errorf("%q", is)
		}
		f.signsOn(t)
		if said := f.does(t, "adopt", config.ValidatorHost, "--undo"); !said.has("nothing was changed") {
			t.Errorf("%v", said)
		}
	})
	if t.Failed() {
		return
	}
	t.Run("it is killed at every step, and the server reboots", func(t *testing.T) {
		f.feed(t, []byte(killer), "cat >/root/killer.sh")
		f.feed(t, []byte("[Service]\nExecStart=/bin/sh /root/killer.sh\n[Install]\nWantedBy=multi-user.target\n"), "cat >/etc/systemd/system/killer.service; systemctl daemon-reload; systemctl enable --now killer.service")
		f.holdOnceStopped(t)
		f.cutOff(t)
		if err := f.host.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.phase(t, "it goes on by itself", func(st takeover.State) bool { return st.Phase == takeover.Done })
		f.in(t, "systemctl disable --now killer.service")
		kills := f.in(t, "cat /root/kills")
		if n := strings.Count(kills, "killed at:"); n < 5 {
			t.Errorf("it was killed %d times only:\n%s", n, kills)
		}
		t.Logf("%s", kills)
		f.isDead(t)
		if left := f.in(t, "ls -d "+oldHome+" 2>/dev/null; find / -xdev -name priv_validator_key.json 2>/dev/null; systemctl is-active pressenter-node.service pressenter-agent.service; :"); left != "inactive\ninactive" {
			t.Errorf("%q", left)
		}
		f.refuses(t, []string{"no way back"}, "adopt", config.ValidatorHost, "--undo")
	})
	if t.Failed() {
		return
	}
	t.Run("the operator's folder has lost what it knew", f.forgets)
	if t.Failed() {
		return
	}
	f.becomesOurs(t)
}

// forgets takes away what the operator knows of the network and of the takeover: both come back from the server.
func (f *foreign) forgets(t *testing.T) {
	genesis := filepath.Join(f.state().Genesis(), "genesis.json")
	for _, file := range []string{genesis, filepath.Join(f.state().Operator(), "inventory.json")} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	f.refuses(t, []string{"--join"}, "adopt", config.ValidatorHost, "--take-over", "--accept-file-key", "--yes")
	f.does(t, "adopt", config.ValidatorHost, "--join", "--genesis-sha256", fmt.Sprintf("%x", sha256.Sum256(f.genesis)))
	if got, err := os.ReadFile(genesis); err != nil || !bytes.Equal(got, f.genesis) {
		t.Errorf("the genesis is another one (%v)", err)
	}
}

// nothingToDo checks that a plan is empty, but for waiting until others hold a signature of ours: the rest decides on blocks
// without us, and our vote may be too late for some of them.
func (f *foreign) nothingToDo(t *testing.T) {
	t.Helper()
	said := f.does(t, "plan")
	if !said.has("no changes") && !said.has("plan: 0 to create, 0 to change, 0 to restart, 0 to destroy") {
		t.Errorf("want nothing to do, have\n%v", said)
	}
}

// becomesOurs finishes a takeover of which the server's part is done.
func (f *foreign) becomesOurs(t *testing.T) {
	said := f.does(t, "adopt", config.ValidatorHost, "--take-over", "--accept-file-key", "--yes")
	f.keepsSecrets(t, said)
	f.signsOn(t)
	f.nothingToDo(t)
	f.goesOn(t)
	t.Run("nobody signs twice", func(t *testing.T) {
		heights, _, err := f.signed(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		var silence int64
		for i := 1; i < len(heights); i++ {
			silence = max(silence, heights[i]-heights[i-1]-1)
		}
		if silence < signing.SilentBlocks {
			t.Errorf("the longest silence between the two programs is %d blocks", silence)
		}
		if _, err := f.host.Exec(t.Context(), "systemctl", "start", "cosmos.service"); err == nil {
			t.Error("the old unit can be started")
		}
		if owner := f.in(t, "stat -c %U "+takenKey); owner != "pressenter-node" {
			t.Errorf("the key is %s's", owner)
		}
		if h, err := f.seen(t, config.ValidatorHost); err != nil || h.NodeID != f.nodeID {
			t.Errorf("the node id is %s, it was %s, %v", h.NodeID, f.nodeID, err)
		}
	})
	t.Run("after a reboot", func(t *testing.T) {
		if err := f.host.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.signsOn(t)
		if is := f.in(t, "systemctl show -p ActiveState,LoadState --value cosmos.service | sort | tr '\n' ' '"); is != "inactive masked" {
			t.Errorf("the old unit is %q", is)
		}
		f.nothingToDo(t)
	})
}
