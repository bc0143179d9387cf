package node

import (
	"bytes"
	flags "flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creachadair/tomledit"
	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/roster"
)

var update = flags.Bool("update", false, "rewrite golden files")

// id is a node id that a reader can tell from others.
func id(c string) string { return strings.Repeat(c, 40) }

// practice is the roster of a practice network's own side.
func practice() *roster.Roster {
	return &roster.Roster{
		Chain: roster.Chain{ID: "practice-1", MinGasPrice: "0uprac", BlockTime: time.Second},
		Members: []roster.Member{
			{Name: "s1", Role: roster.RoleSentry, NodeID: id("a"), Endpoint: "127.0.0.1:21001"},
			{Name: "s2", Role: roster.RoleSentry, NodeID: id("b"), Endpoint: "127.0.0.1:21002"},
			{Name: "validator", Role: roster.RoleValidator, NodeID: id("f")},
		},
		Peers: []string{id("1") + "@127.0.0.1:20001", id("2") + "@127.0.0.1:20002"},
	}
}

func world() *roster.Roster {
	r := practice()
	r.Peers, r.Members = nil, []roster.Member{
		{Name: "w1", Role: roster.RoleGenesisValidator, NodeID: id("1"), Endpoint: "127.0.0.1:20001"},
		{Name: "w2", Role: roster.RoleGenesisValidator, NodeID: id("2"), Endpoint: "127.0.0.1:20002"},
	}
	return r
}

func settings(t *testing.T, r *roster.Roster, name string, l Local) Files {
	t.Helper()
	m, ok := r.Member(name)
	if !ok {
		t.Fatalf("no member %q", name)
	}
	f, err := Settings(r, m, l)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// home is a home as a daemon of CometBFT 0.38 and SDK 0.50 made it with init.
func home(t *testing.T) string {
	t.Helper()
	h := t.TempDir()
	if err := os.CopyFS(filepath.Join(h, "config"), os.DirFS("testdata/init")); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGolden(t *testing.T) {
	local := Local{P2P: "127.0.0.1:21000", RPC: "127.0.0.1:21100"}
	armed := local
	armed.KeyFile, armed.StateFile = ArmedKey, ArmedState
	public := Local{P2P: "203.0.113.5:26656", RPC: "127.0.0.1:26657"}
	for name, tt := range map[string]struct {
		roster *roster.Roster
		member string
		local  Local
	}{
		"validator-armed":    {practice(), "validator", armed},
		"validator-disarmed": {practice(), "validator", local},
		"sentry":             {practice(), "s2", local},
		"sentry-public":      {practice(), "s1", public},
		"genesis-validator":  {world(), "w2", armed},
	} {
		t.Run(name, func(t *testing.T) {
			h := home(t)
			f := settings(t, tt.roster, tt.member, tt.local)
			if changed, err := f.Write(h); err != nil || !changed {
				t.Fatalf("changed %v, %v", changed, err)
			}
			var got bytes.Buffer
			for _, file := range []string{"config.toml", "app.toml"} {
				fmt.Fprintf(&got, "-- %s --\n%s", file, changedLines(t, filepath.Join("testdata/init", file), filepath.Join(h, "config", file)))
				sameComments(t, filepath.Join("testdata/init", file), filepath.Join(h, "config", file))
			}
			golden(t, filepath.Join("testdata", name+".golden"), got.Bytes())

			if changed, err := f.Write(h); err != nil || changed {
				t.Errorf("written again: changed %v, %v", changed, err)
			}
		})
	}
}

// changedLines are the lines of b that differ from those of a, each with its number. Lines never come or go: comments,
// order and unknown keys are kept.
func changedLines(t *testing.T, a, b string) string {
	t.Helper()
	src, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	spaced, err := Edit(src, nil) // editing sets spaces and blank lines its own way
	if err != nil {
		t.Fatal(err)
	}
	x, y := strings.Split(string(spaced), "\n"), lines(t, b)
	if len(x) != len(y) {
		t.Fatalf("%s has %d lines, %s has %d", a, len(x), b, len(y))
	}
	var out strings.Builder
	section := ""
	for i := range x {
		if strings.HasPrefix(y[i], "[") {
			section = strings.Trim(y[i], "[]") + "."
		}
		if x[i] != y[i] {
			if key, _, ok := strings.Cut(y[i], " = "); !ok || !strings.HasPrefix(x[i], key+" = ") {
				t.Errorf("line %d was %q and is %q", i+1, x[i], y[i])
			}
			fmt.Fprintf(&out, "%s%s\n", section, y[i])
		}
	}
	return out.String()
}

func sameComments(t *testing.T, a, b string) {
	t.Helper()
	comments := func(path string) []string {
		var out []string
		for _, l := range lines(t, path) {
			if strings.HasPrefix(l, "#") {
				out = append(out, strings.TrimRight(l, " "))
			}
		}
		return out
	}
	if d := cmp.Diff(comments(a), comments(b)); d != "" {
		t.Errorf("comments of %s changed:\n%s", b, d)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; -update rewrites):\n%s", path, d)
	}
}

// The settings that hide a validator, one by one: a golden file can be rewritten in haste.
func TestHidden(t *testing.T) {
	v := values(settings(t, practice(), "validator", Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"}).Comet)
	for key, want := range map[string]string{
		"p2p.pex": "false", "p2p.seeds": `""`, "p2p.external_address": `""`, "p2p.seed_mode": "false",
		"p2p.max_num_inbound_peers": "0", "p2p.unconditional_peer_ids": `"` + id("a") + "," + id("b") + `"`,
		"p2p.libp2p.enabled": "false", "blocksync.adaptive_sync": "false", "rpc.unsafe": "false", "rpc.pprof_laddr": `""`,
	} {
		if v[key] != want {
			t.Errorf("validator: %s = %s, want %s", key, v[key], want)
		}
	}
	for _, p := range strings.Split(strings.Trim(v["p2p.persistent_peers"], `"`), ",") {
		if !strings.HasPrefix(p, id("a")) && !strings.HasPrefix(p, id("b")) {
			t.Errorf("the validator dials %s, which is no sentry", p)
		}
	}
	for _, name := range []string{"s1", "s2"} {
		s := values(settings(t, practice(), name, Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"}).Comet)
		if s["p2p.private_peer_ids"] != `"`+id("f")+`"` {
			t.Errorf("%s: private ids are %s", name, s["p2p.private_peer_ids"])
		}
		if !strings.Contains(s["p2p.unconditional_peer_ids"], id("f")) {
			t.Errorf("%s: no room for the validator", name)
		}
		if strings.Contains(s["p2p.persistent_peers"]+s["p2p.seeds"], id("f")) {
			t.Errorf("%s: dials the validator", name)
		}
	}
}

// In a mesh, other sentries are no reason to restart a validator on a server of its own, and whatever else is one stays one.
// On a person's computer, without a mesh, and of a sentry, settings change as a whole; nothing is told a node there.
func TestCore(t *testing.T) {
	server := Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2", Machine: true, KeyFile: ArmedKey, StateFile: ArmedState}
	disarmed := server
	disarmed.KeyFile, disarmed.StateFile = "", ""
	folder := Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2", Forwards: true, KeyFile: ArmedKey, StateFile: ArmedState}
	replaced := func(r *roster.Roster) { r.Members[0].NodeID, r.Members[0].Endpoint = id("c"), "127.0.0.1:21009" }
	for _, tt := range []struct {
		name    string
		driver  string
		change  func(*roster.Roster)
		was, is Local
		same    bool // what takes a restart
		told    bool
	}{
		{"validator", roster.MeshWireGuard, replaced, server, server, true, true},
		{"validator", roster.MeshVpnCloud, replaced, server, server, true, true},
		{"validator", roster.MeshWireGuard, func(r *roster.Roster) { r.Members = r.Members[1:] }, server, server, true, true},
		{"validator", roster.MeshWireGuard, replaced, server, disarmed, false, true},
		{"validator", roster.MeshWireGuard, func(r *roster.Roster) { r.MeshDriver = "" }, server, server, false, true},
		{"validator", roster.MeshWireGuard, replaced, folder, folder, false, false},
		{"validator", "", replaced, server, server, false, false},
		{"s2", roster.MeshWireGuard, replaced, server, server, false, false},
	} {
		was, is := practice(), practice()
		for _, r := range []*roster.Roster{was, is} {
			r.MeshDriver = tt.driver
			for i := range r.Members {
				r.Members[i].Identity, r.Members[i].Mesh.Key = roster.Key{byte(i + 1)}, roster.Key{byte(i + 11)}
			}
		}
		tt.change(is)
		a, b := settings(t, was, tt.name, tt.was), settings(t, is, tt.name, tt.is)
		if a.Revision() == b.Revision() || (a.Core() == b.Core()) != tt.same {
			t.Errorf("%+v: revisions %s and %s, cores %s and %s", tt, a.Revision(), b.Revision(), a.Core(), b.Core())
		}
		v := values(a.Comet)
		if v["rpc.unsafe"] != fmt.Sprint(tt.told) || (v["rpc.cors_allowed_origins"] == "[]") != tt.told {
			t.Errorf("%+v: rpc.unsafe = %s, rpc.cors_allowed_origins = %s", tt, v["rpc.unsafe"], v["rpc.cors_allowed_origins"])
		}
	}
}

// Nobody but an armed validator is pointed at the consensus key.
func TestSigns(t *testing.T) {
	for _, armed := range []bool{false, true} {
		h := home(t)
		l := Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"}
		if armed {
			l.KeyFile, l.StateFile = ArmedKey, ArmedState
		}
		if _, err := settings(t, practice(), "validator", l).Write(h); err != nil {
			t.Fatal(err)
		}
		if got := Signs(h); got != armed {
			t.Errorf("armed %v: signs %v", armed, got)
		}
	}
	if Signs(t.TempDir()) {
		t.Error("a home that is not there signs")
	}
	h := t.TempDir()
	if err := os.MkdirAll(filepath.Join(h, "config", "config.toml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if !Signs(h) {
		t.Error("a file that cannot be read might say that it signs")
	}
}

func TestUnenrolledIsRefused(t *testing.T) {
	r := practice()
	r.Members[0].NodeID = ""
	if _, err := Settings(r, r.Members[1], Local{}); err == nil {
		t.Error("rendered before every node id is known: the validator's could be told")
	}
	r = practice()
	r.Members[0].Role = "cosigner"
	if _, err := Settings(r, r.Members[0], Local{}); err == nil || !strings.Contains(err.Error(), "cosigner") {
		t.Errorf("unknown role: %v", err)
	}
}

// Of any two members that should be linked, exactly one dials.
func TestDialsOneWay(t *testing.T) {
	for _, r := range []*roster.Roster{practice(), world()} {
		dials := map[[2]string]bool{}
		for _, m := range r.Members {
			for _, p := range Dials(r, m, Local{}) {
				if p.Name != "world" {
					dials[[2]string{m.Name, p.Name}] = true
				}
			}
		}
		for _, a := range r.Members {
			for _, b := range r.Members {
				if a.Name < b.Name && dials[[2]string{a.Name, b.Name}] == dials[[2]string{b.Name, a.Name}] {
					t.Errorf("%s and %s: both dial, or none", a.Name, b.Name)
				}
			}
		}
	}
}

func TestMissingKeys(t *testing.T) {
	for _, key := range []string{"private_peer_ids", "unconditional_peer_ids", "max_num_inbound_peers", "pex", "priv_validator_key_file"} {
		h := home(t)
		path := filepath.Join(h, "config", "config.toml")
		kept := slices.DeleteFunc(lines(t, path), func(l string) bool { return strings.HasPrefix(l, key+" = ") })
		before := []byte(strings.Join(kept, "\n"))
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := settings(t, practice(), "validator", Local{}).Write(h)
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("without %s: %v", key, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("without %s: the file was changed all the same, %v", key, err)
		}
	}
}

// Keys that only some lines of CometBFT and the SDK have are set where they are.
func TestOptionalKeys(t *testing.T) {
	h := home(t)
	path := filepath.Join(h, "config", "config.toml")
	b := strings.Join(lines(t, path), "\n")
	b = strings.Replace(b, "[blocksync]\n", "[blocksync]\nadaptive_sync = true\n", 1) + "\n[p2p.libp2p]\nenabled = true # not here\n"
	if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := settings(t, practice(), "validator", Local{}).Write(h); err != nil {
		t.Fatal(err)
	}
	after := strings.Join(lines(t, path), "\n")
	for _, want := range []string{"\nadaptive_sync = false\n", "\nenabled = false  # not here\n"} {
		if strings.Count(after, want) != 1 {
			t.Errorf("no %q in\n%s", want, after)
		}
	}
}

func TestEdit(t *testing.T) {
	for name, tt := range map[string]struct {
		src, want, err string
	}{
		"comment and unknown keys stay": {"# top\nx = 1\n[p2p]\npex = true # why\n\n# end\nodd_key = [1,\n  2]\n", "# top\nx = 1\n\n[p2p]\npex = false  # why\n\n# end\nodd_key = [1, 2]\n", ""},
		"no such key":                   {"[p2p]\n", "", "no key p2p.pex"},
		"same name elsewhere":           {"pex = true\n[rpc]\npex = true\n", "", "no key p2p.pex"},
		"twice":                         {"[p2p]\npex = true\npex = true\n", "", "2 times"},
		"a table":                       {"[p2p.pex]\nx = 1\n", "", "table"},
		"no TOML":                       {"[p2p\n", "", "read TOML"},
		"dotted":                        {"p2p.pex = true\n", "p2p.pex = false\n", ""},
	} {
		got, err := Edit([]byte(tt.src), []Setting{flag("p2p.pex", false)})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: err %v, want %q", name, err, tt.err)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(tt.want, string(got)))
		}
	}
}

// A value cannot break out of its quotes.
func TestEditQuotes(t *testing.T) {
	for _, v := range []string{`"`, `\`, "a\nb = 1", "\x00", "é", "\x7f", `" # `, "\U0001F600", "\u2028"} {
		got, err := Edit([]byte("a = \"\"\nb = 0\n"), []Setting{text("a", v)})
		if err != nil {
			continue // refused is fine
		}
		if found := find(t, got, "b"); found != "0" {
			t.Errorf("%q: b became %s", v, found)
		}
	}
}

func FuzzEdit(f *testing.F) {
	// Small ones: a whole config.toml would be minimized for ever.
	f.Add([]byte("# c\nx = [1, 2]\n[p2p]\n# d\nladdr = \"\" # e\n"), "p2p.laddr", "tcp://127.0.0.1:1")
	f.Add([]byte("a.b = {c = 1}\n[[x]]\ny = 1\n[[x]]\n"), "a.b", "v")
	f.Add([]byte("a = '''\nb = 1'''\n"), "a", "\x01\"")
	f.Fuzz(func(t *testing.T, src []byte, key, value string) {
		got, err := Edit(src, []Setting{text(key, value)})
		if err != nil {
			return
		}
		if found := find(t, got, key); found != text(key, value).Value {
			t.Errorf("key %q is %s, want %q", key, found, value)
		}
		again, err := Edit(got, []Setting{text(key, value)})
		if err != nil || !bytes.Equal(got, again) {
			t.Errorf("edited again: %v\n%s", err, cmp.Diff(string(got), string(again)))
		}
	})
}

func find(t *testing.T, src []byte, key string) string {
	t.Helper()
	doc, err := tomledit.Parse(bytes.NewReader(src))
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, src)
	}
	e := doc.First(strings.Split(key, ".")...)
	if e == nil {
		t.Fatalf("key %q is gone from\n%s", key, src)
	}
	return e.Value.X.String()
}

func values(ss []Setting) map[string]string {
	out := map[string]string{}
	for _, s := range ss {
		out[s.Key] = s.Value
	}
	return out
}

func TestPurgeAddressBook(t *testing.T) {
	h := home(t)
	path := filepath.Join(h, "config", "addrbook.json")
	if purged, err := PurgeAddressBook(h, []string{id("f")}); purged || err != nil {
		t.Errorf("without a book: %v, %v", purged, err)
	}
	for _, book := range []string{`{"addrs":[{"addr":{"id":"` + id("f") + `"}}]}`, "\x00" + id("f")} {
		if err := os.WriteFile(path, []byte(book), 0o600); err != nil {
			t.Fatal(err)
		}
		if purged, err := PurgeAddressBook(h, nil); purged || err != nil {
			t.Errorf("nothing is private: %v, %v", purged, err)
		}
		if purged, err := PurgeAddressBook(h, []string{id("e")}); purged || err != nil {
			t.Errorf("another id is private: %v, %v", purged, err)
		}
		if purged, err := PurgeAddressBook(h, []string{id("e"), id("f")}); !purged || err != nil {
			t.Errorf("%q: %v, %v", book, purged, err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the book is still there: %v", err)
		}
	}
}

func TestRevision(t *testing.T) {
	l := Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"}
	a, b := settings(t, practice(), "validator", l), settings(t, practice(), "validator", l)
	if a.Revision() != b.Revision() {
		t.Error("equal settings, different revisions")
	}
	l.KeyFile, l.StateFile = ArmedKey, ArmedState
	if settings(t, practice(), "validator", l).Revision() == a.Revision() {
		t.Error("arming does not change the revision")
	}
}
