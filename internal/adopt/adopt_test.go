package adopt

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/health"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/signing"
)

// here runs scripts on this computer. Units and the node's answers are those of the test.
type here struct {
	units   []byte
	answers map[string]string // of the RPC, by path; nil: it does not answer
	told    []string          // all that came from the server
}

func (h *here) Run(ctx context.Context, script string, _ int64, args ...string) ([]byte, error) {
	switch script {
	case unitsScript:
		return h.units, nil
	case askScript:
		path, _, _ := strings.Cut(args[2], "?")
		body, ok := h.answers[path]
		if !ok {
			return nil, errors.New("nobody answers")
		}
		return fmt.Appendf(nil, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body), nil
	}
	out, err := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh"}, args...)...).Output()
	h.told = append(h.told, string(out))
	return out, err
}

// server is what a server tells of one unit, a map from what to value.
type server struct {
	unit, exec  string
	show        string
	environment string
	processes   []map[string]string
	running     []string
}

func (s server) told() []byte {
	var b strings.Builder
	say := func(key, value string) {
		fmt.Fprintf(&b, "%s %s\n", key, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	say("boot", "1700000000")
	say("ticks", "100")
	for _, r := range s.running {
		say("running", r)
	}
	say("unit", s.unit)
	say("show", "Id="+s.unit+"\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nControlGroup=/system.slice/"+s.unit+
		"\nExecStart={ path=/x ; argv[]="+s.exec+" ; ignore_errors=no ; pid=1 }\n"+s.show)
	say("places", s.environment)
	for _, p := range s.processes {
		say("pid", p["pid"])
		for _, key := range slices.Sorted(maps.Keys(p)) {
			if key != "pid" {
				say(key, p[key])
			}
		}
	}
	return []byte(b.String())
}

// home is a home of a CometBFT 0.38 chain with SDK 0.50, as init makes it, and its keys.
func home(t *testing.T) (dir string, key ed25519.PrivateKey) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS("../node/testdata/init")); err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pub := key.Public().(ed25519.PublicKey)
	write(t, dir, "config/priv_validator_key.json", fmt.Sprintf(`{
  "address": %q,
  "pub_key": { "type": "tendermint/PubKeyEd25519", "value": %q },
  "priv_key": { "type": "tendermint/PrivKeyEd25519", "value": %q }
}`, signing.Address(pub), base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(key)))
	write(t, dir, "config/node_key.json", fmt.Sprintf(`{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`, base64.StdEncoding.EncodeToString(key)))
	write(t, dir, "config/genesis.json", `{"app_name":"simd", "genesis_time": "2024-01-01T00:00:00Z", "chain_id": "sim-1", "app_state": {"chain_id":"other-1"}}`)
	write(t, dir, "data/priv_validator_state.json", `{ "height": "1234", "round": 1, "step": 3, "signature": "AAAA" }`)
	return dir, key
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// me is a process of this user with a home.
func me(dir string, more map[string]string) map[string]string {
	p := map[string]string{
		"pid": "42", "exe": "/usr/bin/simd", "args": "/usr/bin/simd\nstart\n--home\n" + dir + "\n", "ids": fmt.Sprintf("%d %d ", os.Getuid(), os.Getgid()),
		"sum": strings.Repeat("ab", 32) + "\n", "stat": "42 (a) b) S 1 " + strings.Repeat("0 ", 17) + "100 0 0", "names": "HOME\nPATH\n", "places": "HOME=/home/x\n", "open": dir + "\n",
	}
	maps.Copy(p, more)
	return p
}

// status is what the node with a key answers.
func status(key ed25519.PrivateKey, chain string, power int) string {
	pub := key.Public().(ed25519.PublicKey)
	return fmt.Sprintf(`{"result":{"node_info":{"id":%q,"network":%q,"version":"0.38.12","moniker":"m"},"sync_info":{"latest_block_height":"2000","catching_up":false},
		"validator_info":{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"voting_power":"%d"}}}`,
		comet.NodeID(pub), chain, signing.Address(pub), base64.StdEncoding.EncodeToString(pub), power)
}

func commit(key ed25519.PrivateKey) string {
	return fmt.Sprintf(`{"result":{"signed_header":{"header":{"height":"1999"},"commit":{"height":"1999","signatures":[{"block_id_flag":2,"validator_address":%q,"signature":"AAAA"}]}},"canonical":true}}`,
		signing.Address(key.Public().(ed25519.PublicKey)))
}

func look(t *testing.T, h *here) *Found {
	t.Helper()
	f, err := Look(t.Context(), h, "")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func has(f *Found, code string) bool {
	for _, n := range f.notes {
		if n.Code == code {
			return true
		}
	}
	return false
}

func TestLook(t *testing.T) {
	dir, key := home(t)
	pub := key.Public().(ed25519.PublicKey)
	h := &here{
		units:   server{unit: "cosmos.service", exec: "/usr/bin/simd start --home " + dir, processes: []map[string]string{me(dir, nil)}}.told(),
		answers: map[string]string{"/status": status(key, "sim-1", 7), "/commit": commit(key)},
	}
	f := look(t, h)
	for what, is := range map[string][2]any{
		"role": {f.Role, RoleValidator}, "chain": {f.Node.ChainID, "sim-1"}, "node": {f.Node.NodeID, comet.NodeID(pub)}, "home": {f.Home.Path, dir},
		"address": {f.Key.Address, signing.Address(pub)}, "mark": {f.Key.Mark, Mark{true, 1234, 1, 3}}, "signed": {f.Key.Signed, int64(1999)}, "power": {f.Key.Power, int64(7)},
		"p2p": {f.Node.P2P, "tcp://0.0.0.0:26656"}, "since": {f.Program.Since.Unix(), int64(1700000001)}, "sum": {f.Program.SHA256, strings.Repeat("ab", 32)},
	} {
		if is[0] != is[1] {
			t.Errorf("%s is %v, want %v", what, is[0], is[1])
		}
	}
	for _, n := range f.notes {
		if n.Code != "changed-since" && n.Code != "root" { // the home was made just now, by whoever tests
			t.Errorf("of a plain validator it is noted: %+v", n)
		}
	}
}

// TestSecretsStay: no private half comes from the server, whichever file a home names for whatever.
func TestSecretsStay(t *testing.T) {
	dir, key := home(t)
	text := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	secret := text("config/priv_validator_key.json")
	for name, change := range map[string]func(){
		"plain":             func() {},
		"state is the key":  func() { write(t, dir, "data/priv_validator_state.json", secret) },
		"config is the key": func() { write(t, dir, "config/config.toml", secret) },
		"key in one line": func() {
			write(t, dir, "config/priv_validator_key.json", strings.Join(strings.Fields(secret), ""))
		},
		"halves exchanged": func() {
			write(t, dir, "config/priv_validator_key.json", strings.NewReplacer("pub_key", "priv_key", "priv_key", "pub_key").Replace(secret))
		},
		"private half as the public one": func() {
			write(t, dir, "config/priv_validator_key.json", strings.NewReplacer("pub_key", "priv_key", "priv_key", "pub_key", "PrivKey", "PubKey").Replace(secret))
		},
	} {
		before := map[string]string{"config/priv_validator_key.json": secret}
		for _, file := range []string{"config/config.toml", "data/priv_validator_state.json"} {
			before[file] = text(file)
		}
		change()
		h := &here{units: server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, nil)}}.told()}
		f := look(t, h)
		shown, err := json.Marshal(Make(f, Wanted{Host: "validator", Validator: true}))
		if err != nil {
			t.Fatal(err)
		}
		seed := base64.StdEncoding.EncodeToString(key.Seed())[:40]
		for _, told := range append(h.told, string(shown)) {
			for l := range strings.Lines(told) {
				_, b64, _ := strings.Cut(strings.TrimSpace(l), " ")
				plain, _ := base64.StdEncoding.DecodeString(b64)
				if strings.Contains(l, seed) || strings.Contains(string(plain), seed) {
					t.Errorf("%s: the private half is told: %.80q", name, plain)
				}
			}
		}
		for file, was := range before {
			write(t, dir, file, was)
		}
	}
}

// TestFiles: what cannot be read is said, never waited for, and never more than there may be.
func TestFiles(t *testing.T) {
	dir, _ := home(t)
	c := filepath.Join(dir, "config")
	write(t, dir, "config/app.toml", strings.Repeat("x", 1<<20))
	if err := errors.Join(os.Remove(filepath.Join(c, "priv_validator_key.json")), os.Symlink("/dev/zero", filepath.Join(c, "priv_validator_key.json")),
		os.Remove(filepath.Join(c, "genesis.json")), os.Mkdir(filepath.Join(c, "genesis.json"), 0o700), os.Remove(filepath.Join(dir, "data", "priv_validator_state.json"))); err != nil {
		t.Fatal(err)
	}
	f := look(t, &here{units: server{unit: "cosmos.service", exec: "/usr/bin/simd start", processes: []map[string]string{me(dir, nil)}}.told()})
	if f.Key.Address != "" || f.Key.Mark.Known || f.Node.ChainID != "" || len(f.Node.Services) > 2 {
		t.Errorf("%+v", f)
	}
	if !has(f, "unread") || !has(f, "rpc") {
		t.Errorf("%+v", f.notes)
	}
}

// TestTendermint35 reads the settings of the line that wrote - for _ and has a section for the signer.
func TestTendermint35(t *testing.T) {
	dir, key := home(t)
	if err := os.Rename(filepath.Join(dir, "config/priv_validator_key.json"), filepath.Join(dir, "config/other.json")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "config/config.toml", "moniker = \"old\"\n[p2p]\nladdr = \"tcp://0.0.0.0:1\"\npersistent-peers = \"a@b:1,c@d:2\"\n[priv-validator]\nkey-file = \"config/other.json\"\nstate-file = \"data/priv_validator_state.json\"\nladdr = \"\"\n")
	f := look(t, &here{units: server{unit: "sei.service", exec: "seid start", processes: []map[string]string{me(dir, nil)}}.told()})
	if f.Key.Address != signing.Address(key.Public().(ed25519.PublicKey)) || f.Node.Peers != 2 || f.Key.Mark.Height != 1234 || f.Key.Remote != "" {
		t.Errorf("%+v", f)
	}
}

func TestRoles(t *testing.T) {
	signed := Key{Address: "A", Mark: Mark{Known: true, Height: 1234}}
	never := Key{Address: "A", Mark: Mark{Known: true}}
	for name, test := range map[string]struct {
		found Found
		want  Role
	}{
		"in the set":                     {Found{Node: Node{Answers: true}, Key: Key{Power: 1}}, RoleValidator},
		"signed once, not in the set":    {Found{Node: Node{Answers: true}, Key: signed}, RoleValidator},
		"signed once, does not answer":   {Found{Key: signed}, RoleValidator},
		"never signed":                   {Found{Node: Node{Answers: true}, Key: never}, RoleFull},
		"never signed, keeps nodes":      {Found{Node: Node{Answers: true, Private: 1}, Key: never}, RoleSentry},
		"no sign state, does not answer": {Found{Node: Node{ChainID: "sim-1"}, Key: Key{Address: "A"}}, RoleUnknown},
		"a signer elsewhere":             {Found{Key: Key{Remote: "tcp://0.0.0.0:1234"}}, RoleValidator},
		"nothing is known":               {Found{}, RoleUnknown},
	} {
		if got := test.found.role(); got != test.want {
			t.Errorf("%s: it is a %s, want %s", name, got, test.want)
		}
	}
}

// TestRemoteSigner: the key in the home is not the one that signs, and its mark says nothing of that one.
func TestRemoteSigner(t *testing.T) {
	dir, _ := home(t)
	_, elsewhere := home(t)
	set(t, dir, `priv_validator_laddr = ""`, `priv_validator_laddr = "tcp://0.0.0.0:1234"`)
	set(t, dir, `private_peer_ids = ""`, `private_peer_ids = "`+strings.Repeat("a", 40)+`"`)
	if err := os.Remove(filepath.Join(dir, "config/node_key.json")); err != nil {
		t.Fatal(err)
	}
	f := look(t, &here{
		units:   server{unit: "cosmos.service", exec: "simd start", processes: []map[string]string{me(dir, nil)}}.told(),
		answers: map[string]string{"/status": status(elsewhere, "sim-1", 3), "/commit": commit(elsewhere)},
	})
	if want := signing.Address(elsewhere.Public().(ed25519.PublicKey)); f.Key.Address != want || f.Key.Mark.Known || f.Role != RoleValidator || f.Node.Private != 1 {
		t.Errorf("%+v", f)
	}
	p := Make(f, Wanted{Host: "validator", Validator: true})
	for _, s := range p.Takeover {
		if strings.Contains(s.What, "consensus key") || strings.Contains(s.What, "arm") {
			t.Errorf("a key that is not there is taken: %s", s.What)
		}
	}
}

func set(t *testing.T, dir, from, to string) {
	t.Helper()
	path := filepath.Join(dir, "config/config.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("no %s in config.toml", from)
	}
	write(t, dir, "config/config.toml", strings.Replace(string(b), from, to, 1))
}

// TestNotes: what a takeover has to know is told.
func TestNotes(t *testing.T) {
	for code, test := range map[string]struct {
		s    server
		more map[string]string
	}{
		"unit-hooks":       {s: server{show: "ExecStartPre={ path=/bin/x ; argv[]=/bin/x y ; ignore_errors=no }"}},
		"unit-environment": {s: server{show: "EnvironmentFiles=/etc/secret.env (ignore_errors=no)"}},
		"unit-root":        {s: server{show: "RootImage=/x.img"}},
		"unit-stale":       {s: server{show: "NeedDaemonReload=yes"}},
		"unit-starters":    {s: server{show: "TriggeredBy=cosmos.timer"}},
		"unit-user":        {s: server{show: "User=nobody-there"}},
		"other-daemon":     {s: server{running: []string{"/system.slice/cosmos.service", "/system.slice/docker-1.scope"}}},
		"program-replaced": {more: map[string]string{"exe": "/usr/bin/simd (deleted)"}},
		"root":             {more: map[string]string{"ids": "0 0"}},
		"flags":            {more: map[string]string{"args": "simd\nstart\n--home=/h\n--p2p.laddr=tcp://0.0.0.0:9\n"}},
		"variables":        {more: map[string]string{"names": "SIMD_P2P_LADDR\nSIMD_HOME\n"}},
		"unit-follows":     {s: server{show: "OnSuccess=failover.service"}},
		"":                 {},
	} {
		more := map[string]string{"ids": "7 7"}
		maps.Copy(more, test.more)
		test.s.unit, test.s.exec, test.s.processes = "cosmos.service", "simd start", []map[string]string{me("/h", more)}
		told, err := parseUnits(test.s.told())
		if err != nil {
			t.Fatal(err)
		}
		f := told.found(told.units[0])
		if code == "" && len(f.notes) > 0 || code != "" && (len(f.notes) != 1 || f.notes[0].Code != code) {
			t.Errorf("%q: it is noted: %+v", code, f.notes)
		}
	}
}

// TestDiffers: files and a node that contradict each other are told.
func TestDiffers(t *testing.T) {
	dir, key := home(t)
	f := look(t, &here{
		units:   server{unit: "cosmos.service", exec: "simd start", processes: []map[string]string{me(dir, nil)}}.told(),
		answers: map[string]string{"/status": status(key, "another-1", 1)},
	})
	if !has(f, "differs") || f.Node.ChainID != "another-1" {
		t.Errorf("%+v", f)
	}
}

// TestCosmovisor: the daemon is the child, and its home is where its variables say.
func TestCosmovisor(t *testing.T) {
	dir, _ := home(t)
	f := look(t, &here{units: server{unit: "cosmos.service", exec: "/usr/bin/cosmovisor run start", processes: []map[string]string{
		{"pid": "41", "exe": "/usr/bin/cosmovisor", "args": "/usr/bin/cosmovisor\nrun\nstart\n"},
		me(dir, map[string]string{"exe": dir + "/cosmovisor/genesis/bin/simd", "args": dir + "/cosmovisor/current/bin/simd\nstart\n", "places": "HOME=/x\nDAEMON_HOME=" + dir + "\nDAEMON_NAME=simd\n"}),
	}}.told()})
	if !f.Program.Cosmovisor || f.Program.Pid != 42 || f.Program.Others != 1 || f.Home.Path != dir || f.Role != RoleValidator {
		t.Errorf("%+v", f)
	}
}

func TestNotOne(t *testing.T) {
	for name, test := range map[string]struct {
		told []byte
		want string
	}{
		"none":            {nil, "no service"},
		"in a container":  {[]byte("running " + base64.StdEncoding.EncodeToString([]byte("/system.slice/docker-1.scope")) + "\n"), "docker-1.scope"},
		"not there":       {server{unit: "x.service", show: "LoadState=not-found\n"}.told(), ""},
		"two":             {append(server{unit: "a.service"}.told(), server{unit: "b.service"}.told()...), "a.service, b.service"},
		"no answer of it": {[]byte("unit %%%\n"), "not as the script writes it"},
	} {
		_, err := Look(t.Context(), &here{units: test.told}, "")
		if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Look(t.Context(), &here{}, "cosmos; rm -rf /"); err == nil || !strings.Contains(err.Error(), "not the name") {
		t.Errorf("a name that is none: %v", err)
	}
}

// TestClean: nothing that a terminal obeys comes through.
func TestClean(t *testing.T) {
	dir, key := home(t)
	evil := "\x1b]0;owned\x07\x1b[2J\u202e\nroot"
	set(t, dir, `moniker = "`, `moniker = "\u001b[2J`)
	h := &here{
		units:   server{unit: "cosmos.service", exec: "simd start", show: "User=" + evil + "\nFragmentPath=/" + evil, processes: []map[string]string{me(dir, map[string]string{"exe": evil, "args": "simd\nstart\n--" + evil})}}.told(),
		answers: map[string]string{"/status": strings.ReplaceAll(status(key, "sim-1", 1), `"sim-1"`, strconv.QuoteToASCII("\u001b[2J"))},
	}
	b, err := json.Marshal(Make(look(t, h), Wanted{Host: "validator"}))
	if err != nil {
		t.Fatal(err)
	}
	if s := string(b); strings.Contains(s, `\u001b`) || strings.Contains(s, "\u202e") || strings.Contains(s, `\u0007`) {
		t.Errorf("%s", s)
	}
}

// TestOrder: in every plan the old unit is masked before the key is moved, and the key is armed last.
func TestOrder(t *testing.T) {
	for _, file := range []string{"/etc/systemd/system/x.service", "/usr/lib/systemd/system/x.service"} {
		f := &Found{Unit: Unit{Name: "x.service", File: file, Enabled: "enabled"}, Role: RoleValidator, Key: Key{Mark: Mark{Known: true, Height: 9}}}
		var all []string
		for _, s := range Make(f, Wanted{}).Takeover {
			all = append(all, s.What)
		}
		last := -1
		for _, word := range []string{"stop x.service, and prove it", "mask it", "prove that it is dead", "home of pressenter-node", "seal a copy", "move the consensus key", "start pressenter-node", "arm the key"} {
			at := slices.IndexFunc(all, func(s string) bool { return strings.Contains(s, word) })
			if at <= last {
				t.Errorf("%q is step %d, after %d: %q", word, at, last, all)
			}
			last = at
		}
	}
}

func FuzzUnits(f *testing.F) {
	f.Add(server{unit: "cosmos.service", exec: "simd start", running: []string{"/x"}, processes: []map[string]string{me("/h", nil)}}.told())
	f.Add([]byte("unit eA==\nshow RXhlY1N0YXJ0PXsgYXJndltdPWEgOyB9\npid MQ==\nstat KQ==\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		told, err := parseUnits(b)
		if err != nil {
			return
		}
		for _, u := range told.units {
			if p := Make(told.found(u), Wanted{Host: "h"}); p.Changes != 0 {
				t.Error("looking changes something")
			}
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte("0 eA==\n1- missing\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = max(0, min(n, 16))
		a, err := parseAnswers(b, n)
		if err != nil {
			return
		}
		found := &Found{}
		for i, x := range a {
			if i%2 == 0 {
				found.consensusKey(x)
			} else {
				found.signState(x)
			}
			found.configured(found.settings("config.toml", x), nil)
		}
		if found.Key.Mark.Height < 0 {
			t.Error("a mark below nothing")
		}
	})
}

// TestFits: a node is taken over into a deployment on its network only as it is understood.
func TestFits(t *testing.T) {
	whole := func() *Found {
		return &Found{
			Unit: Unit{Name: "x.service"}, Role: RoleValidator, Program: Program{SHA256: "aa"}, Home: Home{Path: "/h", Real: "/h"},
			Node: Node{ChainID: "sim-1", Dials: []string{"p"}, Answers: true},
			Key: Key{
				Type: "tendermint/PubKeyEd25519", Power: 1, Signed: 9, Mark: Mark{Known: true, Height: 9},
				File: "/h/config/priv_validator_key.json", StateFile: "/h/data/priv_validator_state.json",
			},
		}
	}
	wanted := Wanted{Host: "validator", Validator: true, ChainID: "sim-1", Exists: true, Program: "aa"}
	if p := Make(whole(), wanted); !p.Implemented {
		t.Errorf("%+v", p.Findings)
	}
	for code, change := range map[string]func(*Found, *Wanted){
		"network":       func(_ *Found, w *Wanted) { w.Exists = false },
		"chain":         func(f *Found, _ *Wanted) { f.Node.ChainID = "sim-2" },
		"program":       func(_ *Found, w *Wanted) { w.Program = "bb" },
		"places":        func(f *Found, _ *Wanted) { f.Key.File = "/etc/key.json" },
		"peers":         func(f *Found, _ *Wanted) { f.Node.Dials = nil },
		"remote-signer": func(f *Found, _ *Wanted) { f.Key.Remote = "tcp://x" },
		"mark":          func(f *Found, _ *Wanted) { f.Key.Mark = Mark{} },
		"sentry":        func(f *Found, w *Wanted) { f.Role, w.Validator = RoleSentry, false },
		"files":         func(f *Found, _ *Wanted) { f.unfit = "db_dir is elsewhere" },
		"apart":         func(f *Found, _ *Wanted) { f.apart = []string{"/h/.ssh"} },
		"volume":        func(_ *Found, w *Wanted) { w.Volume = true },
		"other-daemon":  func(f *Found, _ *Wanted) { f.note("other-daemon", health.Critical, "x") },
	} {
		f, w := whole(), wanted
		change(f, &w)
		p := Make(f, w)
		if p.Implemented || !slices.ContainsFunc(p.Findings, func(f health.Finding) bool { return f.Code == code && f.Severity == health.Critical }) {
			t.Errorf("%s: %+v", code, p.Findings)
		}
	}
}

func TestDials(t *testing.T) {
	id := strings.Repeat("a", 40)
	good := id + "@x.example:26656"
	if got := dials(good + ", " + id + "@:1," + id + "@x:0,@x:1,\x1b," + id + "@[::1]:26656"); !slices.Equal(got, []string{good, id + "@[::1]:26656"}) {
		t.Errorf("%q", got)
	}
	// As roster.Check takes them: what it refuses would only be seen when the first roster is published.
	for _, bad := range []string{"@x:99999", "@1.2.3:26656", "@[0:0::1]:26656", "@x.:26656", "@[::]:26656", "@0.0.0.0:1", "@" + strings.Repeat("x.", 200) + "x:1"} {
		if got := dials(good + "," + id + bad + "," + good); !slices.Equal(got, []string{good}) {
			t.Errorf("%s: %q", bad, got)
		}
	}
	for at, want := range map[string]bool{"x.example:1": true, "203.0.113.1:1": true, "10.0.0.1:1": false, "[fd00::1]:1": false, "127.0.0.1:1": false} {
		if public(id+"@"+at) != want {
			t.Errorf("%s is public: %v", at, !want)
		}
	}
	for list, want := range map[string]string{"0.025uatom": "0.025uatom", "0.1ibc/AB,2stake": "0.1ibc/AB,2stake", "": "", "0.1": "", "1a\x1b": ""} {
		if got := gasPrices(list); got != want {
			t.Errorf("%q: %q", list, got)
		}
	}
}
