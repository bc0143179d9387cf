package takeover

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/systemd"
)

const unit = "cosmos.service"

// world is a machine with a daemon under a unit that somebody made. Its systemd knows what it read last, as the real one.
type world struct {
	t         *testing.T
	dir       string
	pub       ed25519.PublicKey
	known     map[string]string // what systemd has read of a unit's file: loaded, masked or not-found
	id        string            // the unit's own name, and its others
	names     []string
	enabled   map[string]bool
	running   map[string]bool
	left      []int // processes that outlived their unit
	somebody  []Holder
	mounts    []string
	logins    []string
	operator  *keyring.Keyring
	unsynced  bool // the journal is about to be written, and what was done before may not be on disk
	killAfter int  // changes until the program is killed; negative: never
	killed    bool
}

var errKilled = errors.New("killed")

var operator = sync.OnceValue(func() *keyring.Keyring {
	k, err := keyring.New("d")
	if err != nil {
		panic(err)
	}
	return k
})

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), known: map[string]string{}, id: unit, names: []string{unit}, enabled: map[string]bool{unit: true}, running: map[string]bool{unit: true},
		mounts: []string{"/"}, logins: []string{"/root"}, killAfter: -1,
	}
	w.operator = operator()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	w.pub = key.Public().(ed25519.PublicKey)
	for path, text := range map[string]string{
		"units/" + unit: "[Service]\n", "home/config/genesis.json": "{}", "home/config/node_key.json": "{}", "home/cosmovisor/genesis/bin/chaind": "theirs",
		"home/" + keyFile: fmt.Sprintf(`{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
			signing.Address(w.pub), base64.StdEncoding.EncodeToString(w.pub), base64.StdEncoding.EncodeToString(key)),
		"home/" + stateFile:       `{"height":"70","round":0,"step":3}`,
		"home/config/config.toml": fresh(t, "config.toml"), "home/config/app.toml": fresh(t, "app.toml"),
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(w.dir, path)), 0o700))
		must(t, os.WriteFile(filepath.Join(w.dir, path), []byte(text), 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(w.dir, "lib"), 0o700))
	must(t, w.Reload(t.Context()))
	return w
}

// fresh is a file as the daemon's own init writes it.
func fresh(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../node/testdata/init", name))
	must(t, err)
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// taker is a program that is started anew.
func (w *world) taker() *Taker {
	root := filepath.Join(w.dir, "lib", "ours")
	return &Taker{
		Root: root, Units: filepath.Join(w.dir, "units"), Program: "/opt/undoer", System: w,
		Room: func(context.Context) error {
			return errors.Join(os.MkdirAll(filepath.Join(root, "agent"), 0o700), os.MkdirAll(filepath.Join(root, "node"), 0o700))
		},
		Own: func(path string) error { _, err := os.Lstat(path); return err },
		Noted: func(home string) error {
			return os.WriteFile(filepath.Join(root, "agent", "home.json"), []byte(home), 0o600)
		},
		Sync: func() error { w.unsynced = false; return nil },
		before: func(what string) error {
			if w.unsynced {
				w.t.Errorf("before %q: the journal was written before what it says was on disk", what)
			}
			if w.killAfter == 0 {
				w.killed = true
				return fmt.Errorf("%w before %q", errKilled, what)
			}
			w.killAfter--
			w.safe(what)
			w.unsynced = what == "journal"
			return nil
		},
	}
}

func (w *world) order() Order {
	return Order{Deployment: "d", Host: "validator", Unit: unit, Home: filepath.Join(w.dir, "home"), PubKey: w.pub, Mark: 68, BackupTo: w.operator.Recipient(), Program: "/opt/x"}
}

func (w *world) has(path string) bool {
	_, err := os.Lstat(filepath.Join(w.dir, path))
	return err == nil
}

const (
	oursKey  = "lib/ours/node/signing/" + signing.KeyFile
	oursHome = "lib/ours/node/home"
	backup   = "lib/ours/agent/consensus-key.age"
)

// safe checks what has to hold at every moment: while the old unit can run, we have neither its home nor its key; the key is
// never lost, and never in one place alone that was not its own; and it is never armed here.
func (w *world) safe(when string) {
	w.t.Helper()
	if (w.has(oursKey) || w.has(oursHome)) && (w.running[unit] || w.known[unit] != "masked" || w.fresh(unit) != "masked") {
		w.t.Errorf("before %q: the key is ours, and the old unit can run: %+v", when, w)
	}
	switch old := w.has("home/"+keyFile) || w.has(oursHome+"/"+keyFile); {
	case !old && !w.has(oursKey):
		w.t.Errorf("before %q: the key is lost", when)
	case !old && !w.has(backup):
		w.t.Errorf("before %q: there is one copy of the key", when)
	}
	if st, err := w.taker().signing().Load(); err != nil || st.State == signing.Armed {
		w.t.Errorf("before %q: the key is %s, %v", when, st.State, err)
	}
}

// fresh is what systemd would read of a unit now.
func (w *world) fresh(name string) string {
	path := filepath.Join(w.dir, "units", name)
	if to, err := os.Readlink(path); err == nil && to == os.DevNull {
		return "masked"
	} else if _, err := os.Lstat(path); err != nil {
		return "not-found"
	}
	return "loaded"
}

// reboot starts what is enabled.
func (w *world) reboot() {
	must(w.t, w.Reload(w.t.Context()))
	w.left, w.somebody = nil, nil
	for _, name := range []string{unit, Runner} {
		w.running[name] = w.enabled[name] && w.known[name] == "loaded"
	}
	w.safe("a reboot")
}

// revive lets the next program live.
func (w *world) revive() { w.killed, w.killAfter = false, -1 }

func (w *world) Show(_ context.Context, name string) (systemd.Unit, error) {
	u := systemd.Unit{Name: name, ID: name, Load: w.known[name], Active: "inactive", Enabled: "disabled", Fragment: filepath.Join(w.dir, "units", name), Stale: w.known[name] != w.fresh(name)}
	if w.enabled[name] {
		u.Enabled = "enabled"
	}
	if w.running[name] {
		u.Active = "active"
	}
	if name == unit {
		u.ID, u.Names = w.id, w.names
	}
	return u, nil
}

func (w *world) Enable(_ context.Context, name string) error  { w.enabled[name] = true; return nil }
func (w *world) Disable(_ context.Context, name string) error { w.enabled[name] = false; return nil }

func (w *world) Start(_ context.Context, name string) error {
	if w.known[name] != "loaded" {
		return fmt.Errorf("%s is %s", name, w.known[name])
	}
	w.running[name] = true
	return nil
}

func (w *world) StartSoon(ctx context.Context, name string) error { return w.Start(ctx, name) }

func (w *world) Stop(_ context.Context, name string) error {
	if w.running[name] && name == unit {
		w.left = []int{7} // KillMode=process
	}
	w.running[name] = false
	return nil
}

func (w *world) Reload(context.Context) error {
	for _, name := range []string{unit, Runner} {
		w.known[name] = w.fresh(name)
	}
	return nil
}

func (w *world) Processes(u systemd.Unit) ([]int, error) {
	if u.Name == unit && w.running[unit] {
		return []int{7}, nil
	}
	if u.Name == unit {
		return w.left, nil
	}
	return nil, nil
}

func (w *world) End(context.Context, int) error { w.left = nil; return nil }

func (w *world) Holders(folder string) ([]Holder, error) {
	if !w.has(strings.TrimPrefix(folder, w.dir+"/")) {
		w.t.Errorf("it is asked who has %s open, which is not there", folder)
	}
	if w.running[unit] {
		return append([]Holder{{7, "chaind"}}, w.somebody...), nil
	}
	return w.somebody, nil
}

func (w *world) Mounts() ([]string, error) { return w.mounts, nil }
func (w *world) Logins() ([]string, error) { return w.logins, nil }

// whole is a takeover from its beginning: the operator's program, and then systemd's runner, until one is killed.
func (w *world) whole() error {
	if _, err := w.taker().Begin(w.t.Context(), w.order()); err != nil {
		return err
	}
	return w.run()
}

// run is what systemd runs as long as the runner is up, or starts it again.
func (w *world) run() error {
	if !w.running[Runner] {
		return nil
	}
	return w.taker().Run(w.t.Context())
}

// taken checks that all is as it should be after a takeover.
func (w *world) taken() {
	w.t.Helper()
	w.safe("the end")
	st, err := w.taker().signing().Load()
	if err != nil || st.State != signing.Disarmed || !bytes.Equal(st.PublicKey, w.pub) || st.Floor != 70 {
		w.t.Errorf("the key is %+v, %v", st, err)
	}
	if w.has("home") || w.has(oursHome+"/"+keyFile) || !w.has(oursHome+"/config/genesis.json") || !w.has("lib/ours/agent/home.json") ||
		w.has(oursHome+"/cosmovisor") || !w.has(oursHome+"/cosmovisor"+asideSuffix) {
		w.t.Error("the home is not whole")
	}
	if w.known[unit] != "masked" || !w.has("units/"+unit+asideSuffix) || w.known[Runner] != "not-found" || w.enabled[Runner] {
		w.t.Errorf("units: %+v", w)
	}
	sealed, err := os.ReadFile(filepath.Join(w.dir, backup))
	must(w.t, err)
	if b, err := w.operator.OpenBackup(sealed); err != nil || !bytes.Equal(b.PubKey, w.pub) || b.Host != "validator" {
		w.t.Errorf("the operator's copy: %+v, %v", b, err)
	}
	if state, err := signing.ReadState(filepath.Join(w.dir, "lib/ours/node/signing", signing.StateFile)); err != nil || state.Height != 70 {
		w.t.Errorf("its mark is not kept with it: %+v, %v", state, err)
	}
}

// undone checks that all is as it was.
func (w *world) undone() {
	w.t.Helper()
	w.safe("the end")
	if !w.running[unit] || !w.enabled[unit] || w.known[unit] != "loaded" || w.fresh(unit) != "loaded" || w.has("units/"+unit+asideSuffix) || w.known[Runner] == "loaded" ||
		w.has(oursKey) || w.has(oursHome) || w.has(backup) || !w.has("home/"+keyFile) || !w.has("home/cosmovisor") || w.has("lib/ours/agent/takeover.json") {
		w.t.Errorf("it is not as it was: %+v", w)
	}
}

// undo has it undone: by the operator's program, and then by systemd's runner, until one is killed.
func (w *world) undo() error {
	if _, err := w.taker().Undo(w.t.Context(), w.order().Whose()); err != nil {
		return err
	}
	return w.run()
}

// changes is how many a takeover makes.
func changes(t *testing.T) int {
	t.Helper()
	w := newWorld(t)
	w.killAfter = 1000
	must(t, w.whole())
	w.taken()
	return 1000 - w.killAfter
}

// TestKilled kills a takeover before each of its changes, reboots or not, kills it again before each of what is left, and
// goes on: it ends with the host taken over.
func TestKilled(t *testing.T) {
	n := changes(t)
	if n < 14 {
		t.Fatalf("%d changes", n)
	}
	for first := range n {
		for second := range n - first + 1 {
			if testing.Short() && (first+second)%4 != 0 {
				continue
			}
			for _, reboot := range []bool{false, true} {
				w := newWorld(t)
				w.killAfter = first
				if err := w.whole(); !errors.Is(err, errKilled) {
					t.Fatalf("%d: %v", first, err)
				}
				w.safe("it is killed")
				w.revive()
				if reboot {
					w.reboot()
				}
				w.killAfter = second
				_ = w.whole()
				w.revive()
				if reboot {
					w.reboot()
				}
				must(t, w.whole())
				w.taken()
				if t.Failed() {
					t.Fatalf("killed before change %d, then %d, rebooted %v", first, second, reboot)
				}
			}
		}
	}
}

// TestGoesOnByItself: once the runner's unit is there, nobody has to do anything after a kill or a reboot.
func TestGoesOnByItself(t *testing.T) {
	n := changes(t)
	for at := range n {
		w := newWorld(t)
		w.killAfter = at
		if err := w.whole(); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		w.revive()
		begun := w.enabled[Runner]
		w.reboot()
		must(t, w.run())
		if begun {
			w.taken()
		} else if !w.running[unit] {
			t.Errorf("killed before change %d, before there was a runner: the old unit does not run", at)
		}
	}
}

// TestUndo kills a takeover before each of its changes, and has it undone, also by one that is killed: it is as it was, or
// the key has begun to move, and then it goes on to its end.
func TestUndo(t *testing.T) {
	n := changes(t)
	back := 0
	for at := range n + 1 {
		whole := false
		for undoAt := 0; !whole; undoAt++ { // until one is not killed
			if testing.Short() && (at+undoAt)%4 != 0 {
				continue
			}
			w := newWorld(t)
			w.killAfter = at
			_ = w.whole()
			w.revive()
			w.killAfter = undoAt
			_ = w.undo()
			w.safe("undo is killed")
			whole = !w.killed
			w.revive()
			err := w.undo()
			if tooLate := new(NoReturn); errors.As(err, &tooLate) {
				must(t, w.whole())
				w.taken()
				continue
			}
			must(t, err)
			w.undone()
			back++
			if undoAt == at { // and then again
				must(t, w.whole())
				w.taken()
			}
		}
		if t.Failed() {
			t.Fatalf("killed before change %d", at)
		}
	}
	if back == 0 {
		t.Error("nothing could be undone")
	}
}

// TestUndoOfAnother: whoever ordered nothing here undoes nothing.
func TestUndoOfAnother(t *testing.T) {
	w := newWorld(t)
	if _, err := w.taker().Begin(t.Context(), w.order()); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Whose){
		func(w *Whose) { w.Deployment = "another" }, func(w *Whose) { w.Host = "s1" }, func(w *Whose) { w.PubKey = bytes.Repeat([]byte{1}, 32) },
	} {
		who := w.order().Whose()
		change(&who)
		if _, err := w.taker().Undo(t.Context(), who); err == nil || !strings.Contains(err.Error(), "nothing was done to it") {
			t.Errorf("%+v: %v", who, err)
		}
	}
	if st, err := w.taker().Look(); err != nil || st.Phase != Silencing || !w.running[Runner] || st.Order.Deployment != "d" {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestRefused: what cannot be taken over is left as it is.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*world)
		says   string
	}{
		"another key":    {func(w *world) { w.pub = bytes.Repeat([]byte{1}, 32) }, "not what was seen"},
		"no state":       {func(w *world) { must(t, os.Remove(filepath.Join(w.dir, "home", stateFile))) }, "no such file"},
		"a broken one":   {func(w *world) { must(t, os.WriteFile(filepath.Join(w.dir, "home", stateFile), []byte("{}"), 0o600)) }, "height"},
		"a home of ours": {func(w *world) { must(t, os.MkdirAll(filepath.Join(w.dir, "lib/ours/node/home"), 0o700)) }, "already"},
		"data is a link": {func(w *world) {
			must(t, os.Rename(filepath.Join(w.dir, "home/data"), filepath.Join(w.dir, "elsewhere")))
			must(t, os.Symlink(filepath.Join(w.dir, "elsewhere"), filepath.Join(w.dir, "home/data")))
		}, "link"},
		"a linked unit": {func(w *world) {
			must(t, os.Rename(filepath.Join(w.dir, "units", unit), filepath.Join(w.dir, "elsewhere.service")))
			must(t, os.Symlink(filepath.Join(w.dir, "elsewhere.service"), filepath.Join(w.dir, "units", unit)))
		}, "is a link to"},
		"no unit": {func(w *world) {
			must(t, os.Remove(filepath.Join(w.dir, "units", unit)))
			must(t, w.Reload(t.Context()))
		}, "not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w)
			_, err := w.taker().Begin(t.Context(), w.order())
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("%v", err)
			}
			if !w.running[unit] || !w.enabled[unit] || w.has("lib/ours/agent") {
				t.Errorf("%+v", w)
			}
		})
	}
}

// TestHeld: somebody who comes in while it is taken over keeps the key where it is.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	if _, err := w.taker().Begin(t.Context(), w.order()); err != nil {
		t.Fatal(err)
	}
	w.somebody = []Holder{{9, "backup"}}
	if err := w.run(); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Fatal(err)
	}
	st, err := w.taker().Look()
	if err != nil || st.Phase != Silencing || !strings.Contains(st.Trouble, "backup") || w.has(oursKey) {
		t.Errorf("%+v, %v", st, err)
	}
	w.somebody = nil
	must(t, w.run())
	w.taken()
}
