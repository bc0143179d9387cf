package e2e

import (
	"bytes"
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
)

// brownfield is a server that somebody set up by hand: a validator that signs, under a unit of its own.
type brownfield struct {
	*servers
	host    *lab.Host
	secrets []string // that nothing of ours may hold
	address string   // of the consensus key
	nodeID  string
}

const (
	oldHome = "/home/chain/.practice"
	oldUnit = `[Unit]
Description=A validator that somebody set up by hand
After=network-online.target

[Service]
User=chain
Environment=PASSPHRASE=hunter2-is-secret PRACTICED_LOG_LEVEL=info
ExecStart=/usr/local/bin/practiced start --home ` + oldHome + ` --minimum-gas-prices=0uprac
Restart=on-failure
LimitNOFILE=65535

[Install]
WantedBy=multi-user.target
`
)

// newBrownfield makes a chain with one validator on a bare server, and starts it there.
func newBrownfield(t *testing.T) *brownfield {
	t.Helper()
	b := &brownfield{servers: onServers(t, lab.Options{Hosts: 2, Login: lab.Sudo})}
	b.host = b.hosts["validator"]
	home := filepath.Join(t.TempDir(), ".practice")
	if out, err := exec.CommandContext(t.Context(), practiced(), "init", "old-timer", "--chain-id", "brownfield-1", "--home", home).CombinedOutput(); err != nil {
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
	if b.nodeID, err = comet.ReadNodeID(filepath.Join(home, "config", "node_key.json")); err != nil {
		t.Fatal(err)
	}
	b.address = signing.Address(pub)
	b.secrets = []string{"hunter2-is-secret", privateHalf(t, filepath.Join(home, "config", "priv_validator_key.json")), privateHalf(t, filepath.Join(home, "config", "node_key.json"))}
	w := genesis.Workshop{Dir: filepath.Join(t.TempDir(), "workshop"), Binary: practiced(), ChainID: "brownfield-1", Denom: "uprac"}
	g, err := w.Make(t.Context(), []genesis.Validator{{Name: "old", Consensus: pub, NodeID: b.nodeID, Stake: 100}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "config", "genesis.json"), g, 0o600); err != nil {
		t.Fatal(err)
	}
	b.install(t, home)
	b.in(t, "systemctl daemon-reload; systemctl enable --now cosmos.service")
	return b
}

// privateHalf is the secret of a key file.
func privateHalf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var j struct {
		PrivKey struct {
			Value string `json:"value"`
		} `json:"priv_key"`
	}
	if err := json.Unmarshal(text, &j); err != nil || len(j.PrivKey.Value) < 40 {
		t.Fatalf("%s: %v", path, err)
	}
	return j.PrivKey.Value[:40] // of the seed alone
}

// install puts the home, the program and the unit where a person would.
func (b *brownfield) install(t *testing.T, home string) {
	t.Helper()
	b.in(t, "useradd --create-home chain")
	tar := exec.CommandContext(t.Context(), "tar", "-C", filepath.Dir(home), "-c", ".practice")
	packed, err := tar.Output()
	if err != nil {
		t.Fatal(err)
	}
	// A vote has to go two ways through a sentry while a block is made.
	b.feed(t, packed, "tar -C /home/chain -x && sed -i -e 's/^timeout_commit = .*/timeout_commit = \"700ms\"/' -e 's/^peer_gossip_sleep_duration = .*/peer_gossip_sleep_duration = \"10ms\"/' "+oldHome+"/config/config.toml && chown -R chain: "+oldHome)
	program, err := os.ReadFile(practiced())
	if err != nil {
		t.Fatal(err)
	}
	b.feed(t, program, "cat >/usr/local/bin/practiced && chmod 755 /usr/local/bin/practiced")
	b.feed(t, []byte(oldUnit), "cat >/etc/systemd/system/cosmos.service")
}

// in runs a script as root on the server.
func (b *brownfield) in(t *testing.T, script string) string {
	t.Helper()
	out, err := b.host.Exec(t.Context(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// feed is in with something to read.
func (b *brownfield) feed(t *testing.T, stdin []byte, script string) {
	t.Helper()
	c, err := b.host.Command(t.Context(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdin = bytes.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// look is what adopt finds.
func (b *brownfield) look(t *testing.T, args ...string) adopt.Plan {
	t.Helper()
	said := b.does(t, append([]string{"adopt", config.ValidatorHost, "--json"}, args...)...)
	var p adopt.Plan
	if err := json.Unmarshal([]byte(said.out), &p); err != nil {
		t.Fatalf("%v: %v", err, said)
	}
	b.keepsSecrets(t, said)
	return p
}

func (b *brownfield) keepsSecrets(t *testing.T, said said) {
	t.Helper()
	for _, s := range b.secrets {
		if said.has(s) {
			t.Errorf("a secret is told:\n%v", said)
		}
	}
}

// code says whether a plan has a finding.
func code(p adopt.Plan, code string) bool {
	for _, f := range p.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// TestAdoptLooks looks at a validator that signs under a unit that somebody made by hand, and changes nothing.
func TestAdoptLooks(t *testing.T) {
	b := newBrownfield(t)
	var p adopt.Plan
	eventually(t, "adopt sees the validator's signature", func() error {
		if p = b.look(t); p.Found.Key.Signed == 0 {
			return fmt.Errorf("%+v", p.Found)
		}
		return nil
	})
	t.Run("what is found", func(t *testing.T) {
		f := p.Found
		sum := strings.Fields(b.in(t, "sha256sum /usr/local/bin/practiced"))[0]
		for what, is := range map[string][2]any{
			"unit": {f.Unit.Name, "cosmos.service"}, "state": {f.Unit.State, "active"}, "enabled": {f.Unit.Enabled, "enabled"},
			"user": {f.Unit.User, "chain"}, "file": {f.Unit.File, "/etc/systemd/system/cosmos.service"}, "program": {f.Program.Path, "/usr/local/bin/practiced"},
			"content": {f.Program.SHA256, sum}, "home": {f.Home.Path, oldHome}, "chain": {f.Node.ChainID, "brownfield-1"}, "node": {f.Node.NodeID, b.nodeID},
			"moniker": {f.Node.Moniker, "old-timer"}, "key": {f.Key.Address, b.address}, "role": {f.Role, adopt.RoleValidator}, "answers": {f.Node.Answers, true},
			"mark": {f.Key.Mark.Height >= f.Key.Signed, true}, "pid": {fmt.Sprint(f.Program.Pid), b.in(t, "systemctl show -p MainPID --value cosmos")},
			"changes": {p.Changes, 0}, "implemented": {p.Implemented, false},
		} {
			if is[0] != is[1] {
				t.Errorf("%s is %v, want %v", what, is[0], is[1])
			}
		}
		for _, want := range []string{"variables", "flags", "network", "file-key"} {
			if !code(p, want) {
				t.Errorf("no finding %s in %+v", want, p.Findings)
			}
		}
	})
	t.Run("nothing is changed there", func(t *testing.T) {
		state := `systemctl show -p MainPID,NRestarts,ActiveEnterTimestampMonotonic,UnitFileState,FragmentPath cosmos.service
			find /etc /opt /usr /root /srv /home /var/lib -newer /tmp/before ! -path '` + oldHome + `/data*' ! -path '` + oldHome + `/config/addrbook.json' ! -path '` + oldHome + `/config' ! -path '/var/lib/systemd/*' ! -path '/var/lib/sudo*'
			for user in root chain admin; do id -G $user; done; nft list ruleset 2>/dev/null | wc -c`
		b.in(t, "touch /tmp/before")
		before := b.in(t, state)
		said := b.does(t, "adopt", config.ValidatorHost, "--unit", "cosmos.service")
		if after := b.in(t, state); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		b.keepsSecrets(t, said)
		if !said.has("validator is a validator, run by cosmos.service", b.address, "0 changes") {
			t.Errorf("%v", said)
		}
	})
	t.Run("two services", func(t *testing.T) {
		b.feed(t, []byte(strings.ReplaceAll(oldUnit, oldHome, "/home/chain/.other")), `cat >"/etc/systemd/system/other\x2dnode.service"; systemctl daemon-reload`)
		b.refuses(t, []string{"more than one service", "cosmos.service", `other\x2dnode.service`, "--unit"}, "adopt", config.ValidatorHost)
		if p := b.look(t, "--unit", `other\x2dnode.service`); p.Found.Program.Pid != 0 || !code(p, "other-daemon") || !code(p, "not-running") {
			t.Errorf("%+v", p)
		}
		b.in(t, `rm "/etc/systemd/system/other\x2dnode.service"; systemctl daemon-reload`)
	})
	t.Run("a service that is stopped", func(t *testing.T) {
		b.in(t, "systemctl disable --now cosmos.service")
		p := b.look(t)
		if f := p.Found; f.Role != adopt.RoleValidator || f.Key.Address != b.address || f.Key.Mark.Height == 0 || f.Unit.State != "inactive" || f.Home.Path != oldHome || f.Node.Answers {
			t.Errorf("%+v", f)
		}
	})
	t.Run("files that mislead", func(t *testing.T) {
		b.in(t, "cd "+oldHome+"/config; rm config.toml app.toml priv_validator_key.json; ln -s /etc/shadow config.toml; mkfifo app.toml; ln -s /dev/zero priv_validator_key.json")
		p := b.look(t)
		if f := p.Found; f.Key.Address != "" || f.Node.P2P != "" || !code(p, "unread") {
			t.Errorf("%+v", p)
		}
	})
	t.Run("nothing to adopt", func(t *testing.T) {
		b.refuses(t, []string{"no service of systemd there"}, "adopt", "s1")
		b.refuses(t, []string{"has no host", "validator"}, "adopt", "nobody")
	})
}
