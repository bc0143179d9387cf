package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// TestMain makes the test binary into the daemon that an enrolment runs, when it is started under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "faked" {
		if err := fakeInit(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1) //nolint:forbidigo // a daemon
		}
		return
	}
	os.Exit(m.Run())
}

// fakeInit does what a daemon's init does: "init MONIKER --chain-id ID --home HOME".
func fakeInit(args []string) error {
	if len(args) != 6 || args[0] != "init" || args[2] != "--chain-id" || args[4] != "--home" {
		return fmt.Errorf("arguments %q", args)
	}
	home := args[5]
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	_, nodeKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	node, err := json.Marshal(map[string]any{"priv_key": map[string]any{"type": "tendermint/PrivKeyEd25519", "value": []byte(nodeKey)}})
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		"config/config.toml": []byte("moniker = \"x\"\n"), "config/app.toml": nil, "config/genesis.json": []byte("nobody's"),
		"config/node_key.json": node, "config/priv_validator_key.json": keyFile(pub, priv),
		"data/priv_validator_state.json": []byte(`{"height":"0","round":0,"step":0}`),
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// daemonFile is the fake daemon as an operator staged it, and its hash.
func daemonFile(t *testing.T) (path, sum string) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	path = filepath.Join(t.TempDir(), "staged")
	sum, err = atomicfile.SHA256(exe)
	must(t, err)
	must(t, atomicfile.Link(exe, path, sum, 0o700))
	return path, sum
}

func request(t *testing.T, role roster.Role) (api.EnrollRequest, *keyring.Keyring) {
	t.Helper()
	k, err := keyring.New("hub")
	must(t, err)
	path, sum := daemonFile(t)
	return api.EnrollRequest{
		Name: "validator", Deployment: "hub", Role: string(role), ChainID: "hub-1", Moniker: "node", Daemon: "faked", Binary: path,
		BinaryHash: sum, Listen: api.Listen{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"}, BackupTo: k.Recipient(),
	}, k
}

func TestEnroll(t *testing.T) {
	k := newKeeper(t)
	req, ring := request(t, roster.RoleValidator)
	e, err := k.enroll(httpRequest(t), req)
	must(t, err)
	st, err := k.Folder.Signing().Load()
	must(t, err)
	if st.State != signing.Armed || string(st.PublicKey) != string(e.Consensus) {
		t.Errorf("signing: %+v", st)
	}
	b, err := ring.OpenBackup(e.Backup)
	must(t, err)
	if !b.PubKey.Equal(st.PublicKey) {
		t.Error("the backup is of another key")
	}
	for _, gone := range []string{"home/config/genesis.json", "home/config/priv_validator_key.json", "home/home.new"} {
		if _, err := os.Stat(k.Folder.path(gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if target, err := filepath.EvalSymlinks(filepath.Join(k.Folder.Home(), "cosmovisor", "current", "bin", "faked")); err != nil {
		t.Errorf("cosmovisor's layout: %s, %v", target, err)
	}
	again, err := k.enroll(httpRequest(t), req)
	must(t, err)
	if string(again.Identity) != string(e.Identity) || again.NodeID != e.NodeID || string(again.Backup) != string(e.Backup) {
		t.Error("asked again, it answers something else")
	}
	for name, change := range map[string]func(*api.EnrollRequest){
		"name": func(r *api.EnrollRequest) { r.Name = "other" }, "role": func(r *api.EnrollRequest) { r.Role = "sentry" },
		"chain": func(r *api.EnrollRequest) { r.ChainID = "x-1" }, "deployment": func(r *api.EnrollRequest) { r.Deployment = "other" },
	} {
		other := req
		change(&other)
		var p *problem
		if _, err := k.enroll(httpRequest(t), other); !errors.As(err, &p) || p.Code != "conflict" {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func httpRequest(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	must(t, err)
	return r
}

// Whatever an enrolment got done before it was killed, another one ends enrolled, with one key that is armed and whose
// backup is its own.
func TestEnrollCrash(t *testing.T) {
	req, ring := request(t, roster.RoleValidator)
	whole := newKeeper(t).Folder
	_, err := whole.enroll(t.Context(), req)
	must(t, err)
	for name, undo := range map[string]func(*testing.T, Folder){
		"no record":  func(*testing.T, Folder) {},
		"no backup":  func(t *testing.T, f Folder) { must(t, os.Remove(f.backup())) },
		"no current": func(t *testing.T, f Folder) { must(t, os.Remove(filepath.Join(f.Home(), "cosmovisor", "current"))) },
		"half a daemon": func(t *testing.T, f Folder) {
			must(t, os.Remove(filepath.Join(f.Home(), "cosmovisor/genesis/bin/faked")))
			must(t, os.WriteFile(filepath.Join(f.Home(), "cosmovisor/genesis/bin/faked.new"), []byte("half"), 0o600))
		},
		"nothing but an identity": func(t *testing.T, f Folder) {
			must(t, os.RemoveAll(f.Home()))
			must(t, os.RemoveAll(f.Signing().Dir))
			must(t, os.Remove(f.backup()))
		},
		"home half made": func(t *testing.T, f Folder) {
			must(t, os.MkdirAll(filepath.Join(f.Home(), "home.new"), 0o700))
			must(t, os.Rename(filepath.Join(f.Home(), "data"), filepath.Join(f.Home(), "home.new", "data")))
			must(t, os.RemoveAll(f.Signing().Dir))
			must(t, os.Remove(f.backup()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := Folder(filepath.Join(t.TempDir(), "host"))
			must(t, os.Rename(string(whole), string(f))) // the same folder: its key is tied to it
			defer func() { must(t, os.Rename(string(f), string(whole))) }()
			if err := os.Remove(f.record()); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			undo(t, f)
			h, err := f.enroll(t.Context(), req)
			must(t, err)
			st, err := f.Signing().Load()
			must(t, err)
			b, err := ring.OpenBackup(h.Enrolled.Backup)
			must(t, err)
			if st.State != signing.Armed || !b.PubKey.Equal(st.PublicKey) || string(h.Enrolled.Consensus) != string(st.PublicKey) {
				t.Errorf("state %s (%s); keys %x, %x, %x", st.State, st.Reason, st.PublicKey, b.PubKey, h.Enrolled.Consensus)
			}
		})
	}
}

// A home that somebody put there holds a key that may be signing elsewhere: it is never taken for one that was born here.
func TestEnrollTakesNoHomeFromElsewhere(t *testing.T) {
	k := newKeeper(t)
	must(t, fakeInit([]string{"init", "x", "--chain-id", "hub-1", "--home", k.Folder.Home()}))
	req, _ := request(t, roster.RoleValidator)
	if _, err := k.enroll(httpRequest(t), req); err == nil || !strings.Contains(err.Error(), "key restore") {
		t.Errorf("err %v", err)
	}
	if st, err := k.Folder.Signing().Load(); err != nil || st.State == signing.Armed {
		t.Errorf("%+v, %v", st, err)
	}
	// The same with a home of ours that was copied there.
	whole := newKeeper(t).Folder
	_, err := whole.enroll(t.Context(), req)
	must(t, err)
	k = newKeeper(t)
	must(t, os.CopyFS(string(k.Folder), withoutLinks(t, whole)))
	must(t, os.Remove(k.Folder.record()))
	must(t, os.RemoveAll(k.Folder.Signing().Dir))
	if _, err := k.enroll(httpRequest(t), req); err == nil {
		t.Error("a copied home was taken")
	}
}

// TestEnrollTakenHome: a home that was taken over keeps its node id; its key comes disarmed and stays so. With the key in it, it
// is not noted at all.
func TestEnrollTakenHome(t *testing.T) {
	k := newKeeper(t)
	must(t, fakeInit([]string{"init", "x", "--chain-id", "hub-1", "--home", k.Folder.Home()}))
	if err := k.Folder.NoteHome(k.Folder.Home()); err == nil {
		t.Error("a home with a consensus key in it was noted as ours")
	}
	at := filepath.Join(k.Folder.Home(), "config", "priv_validator_key.json")
	key, err := os.ReadFile(at)
	must(t, err)
	must(t, k.Folder.Signing().Restore(key, 70, nil))
	must(t, os.Remove(at))
	must(t, k.Folder.NoteHome(k.Folder.Home()))
	id, err := comet.ReadNodeID(filepath.Join(k.Folder.Home(), "config", "node_key.json"))
	must(t, err)
	req, ring := request(t, roster.RoleValidator)
	e, err := k.enroll(httpRequest(t), req)
	must(t, err)
	st, err := k.Folder.Signing().Load()
	must(t, err)
	if e.NodeID != id || st.State != signing.Disarmed || st.Floor != 70 || string(st.PublicKey) != string(e.Consensus) {
		t.Errorf("%s, was %s; %+v", e.NodeID, id, st)
	}
	if b, err := ring.OpenBackup(e.Backup); err != nil || !b.PubKey.Equal(st.PublicKey) {
		t.Errorf("the backup is of another key, or none: %v", err)
	}
	if b, err := os.ReadFile(k.Folder.genesis()); err != nil || string(b) != "nobody's" {
		t.Errorf("the home's genesis is gone: %q, %v", b, err)
	}
}

func withoutLinks(t *testing.T, f Folder) fs.FS {
	t.Helper()
	must(t, os.Remove(filepath.Join(f.Home(), "cosmovisor", "current")))
	return os.DirFS(string(f))
}

func TestEnrollRefuses(t *testing.T) {
	req, _ := request(t, roster.RoleSentry)
	for name, spoil := range map[string]func(*api.EnrollRequest){
		"another hash":   func(r *api.EnrollRequest) { r.BinaryHash = strings.Repeat("0", 64) },
		"no such binary": func(r *api.EnrollRequest) { r.Binary = "/nowhere/faked" },
		"daemon fails":   func(r *api.EnrollRequest) { r.Daemon = "notfaked" },
		"path as name":   func(r *api.EnrollRequest) { r.Name = "../x" },
	} {
		f := newKeeper(t).Folder
		r := req
		spoil(&r)
		ctx, cancel := context.WithCancel(t.Context())
		if name == "daemon fails" {
			cancel()
		}
		if _, err := f.enroll(ctx, r); err == nil {
			t.Errorf("%s: enrolled", name)
		}
		cancel()
		if h, err := f.loadHost(); h != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestSentryHasNoConsensusKey(t *testing.T) {
	f := newKeeper(t).Folder
	req, _ := request(t, roster.RoleSentry)
	h, err := f.enroll(t.Context(), req)
	must(t, err)
	if len(h.Enrolled.Consensus) != 0 || len(h.Enrolled.Backup) != 0 {
		t.Errorf("%+v", h.Enrolled)
	}
	if st, err := f.Signing().Load(); err != nil || st.State != signing.None {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestIdentity(t *testing.T) {
	f := newKeeper(t).Folder
	a, err := f.loadIdentity()
	must(t, err)
	b, err := f.loadIdentity()
	must(t, err)
	if !slices.Equal(a, b) {
		t.Error("a second identity was born")
	}
	must(t, os.Truncate(f.identity(), 31))
	if _, err := f.loadIdentity(); err == nil {
		t.Error("a cut identity was read, or replaced")
	}
}

// What a person stopped stays stopped, also when the file that says so is damaged.
func TestIntentFile(t *testing.T) {
	f := newKeeper(t).Folder
	if i := f.loadIntent(); i.Stopped || i.Held {
		t.Errorf("without a file: %+v", i)
	}
	for _, b := range []string{"", "{", "null", "[]", `"x"`, strings.Repeat("\x00", 80), `{"stopped":"yes"}`, "{}"} {
		must(t, os.WriteFile(f.intent(), []byte(b), 0o600))
		if i := f.loadIntent(); !i.Stopped {
			t.Errorf("%q: %+v", b, i)
		}
	}
	must(t, writeJSON(f.intent(), api.Intent{Held: true, By: "me"}))
	if i := f.loadIntent(); i.Stopped || !i.Held {
		t.Errorf("%+v", i)
	}
}
