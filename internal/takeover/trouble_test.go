package takeover

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pressenter/pressenter/internal/signing"
)

// begun is a world in which a takeover was ordered.
func begun(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	_, err := w.taker().Begin(t.Context(), w.order())
	must(t, err)
	return w
}

// fails is a taker of which one change fails, the first few times.
func (w *world) fails(what string, times int) *Taker {
	t := w.taker()
	t.before = func(now string) error {
		if now == what && times > 0 {
			times--
			return errors.New("no space left on device")
		}
		return nil
	}
	return t
}

// TestCannotMove: whatever keeps the home from being moved is met while all can be undone.
func TestCannotMove(t *testing.T) {
	for _, what := range []string{"home", "seal"} {
		w := begun(t)
		if err := w.fails(what, 1).Run(t.Context()); err == nil {
			t.Fatal("it went on")
		}
		if st, err := w.taker().Look(); err != nil || st.Phase != Silencing || w.has(oursKey) {
			t.Errorf("%s: %+v, %v", what, st, err)
		}
		must(t, w.undo())
		w.undone()
	}
}

// TestUnfit: what is found once the home is with us, and was otherwise before, is met while all can be undone.
func TestUnfit(t *testing.T) {
	for what, change := range map[string]func(w *world) error{
		"is a link out of the home": func(w *world) error { return os.Symlink("/etc/passwd", filepath.Join(w.dir, "home/config/x")) },
		"no key p2p.laddr": func(w *world) error {
			return os.WriteFile(filepath.Join(w.dir, "home/config/config.toml"), []byte("x = 1\n"), 0o600)
		},
		"the key could not sign": func(w *world) error {
			return os.WriteFile(filepath.Join(w.dir, "home", stateFile), []byte(`{"height":"9000000000000000000","round":0,"step":3}`), 0o600)
		},
		"not what was seen": func(w *world) error {
			key, err := os.ReadFile(filepath.Join(w.dir, "home", keyFile))
			other := strings.NewReplacer("BwcHBwcH", "BgYGBgYG").Replace(string(key))
			return errors.Join(err, os.WriteFile(filepath.Join(w.dir, "home", keyFile), []byte(other), 0o600))
		},
		"node_key.json": func(w *world) error { return os.Remove(filepath.Join(w.dir, "home/config/node_key.json")) },
	} {
		w := begun(t)
		kept, err := os.ReadFile(filepath.Join(w.dir, "home", keyFile))
		must(t, err)
		must(t, change(w))
		err = w.run()
		if err == nil || what != "not what was seen" && !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if st, err := w.taker().Look(); err != nil || st.Phase != Silencing || st.Trouble == "" || w.has(oursKey) {
			t.Errorf("%s: %+v, %v", what, st, err)
		}
		must(t, w.undo())
		must(t, os.WriteFile(filepath.Join(w.dir, "home", keyFile), kept, 0o600))
		w.undone()
	}
}

// TestRefusedPlaces: a home that a rename does not move, or that somebody else needs, is left where it is.
func TestRefusedPlaces(t *testing.T) {
	for says, change := range map[string]func(*world, *Order){
		"is mounted at": func(w *world, _ *Order) { w.mounts = append(w.mounts, w.dir+"/lib") },
		"something is mounted at": func(w *world, _ *Order) {
			w.mounts = append(w.mounts, w.dir+"/home/data")
		},
		"the home of somebody": func(w *world, _ *Order) { w.logins = append(w.logins, w.dir+"/home") },
		"somebody logs in":     func(w *world, _ *Order) { must(t, os.Mkdir(w.dir+"/home/.ssh", 0o700)) },
		"process 9 (shipper)":  func(w *world, _ *Order) { w.somebody = []Holder{{9, "shipper"}} },
		"is another name of":   func(w *world, _ *Order) { w.id = "real.service" },
		"more than one name":   func(w *world, _ *Order) { w.names = append(w.names, "alias.service") },
		"remove the other":     func(w *world, _ *Order) { must(t, os.Symlink(unit, w.dir+"/units/alias.service")) },
		"whom the key is to":   func(_ *world, o *Order) { o.BackupTo = "" },
		"back up the":          func(_ *world, o *Order) { o.BackupTo = "age1nobody" },
		"db_dir is /mnt": func(w *world, _ *Order) {
			text := strings.Replace(fresh(t, "config.toml"), `db_dir = "data"`, `db_dir = "/mnt"`, 1)
			must(t, os.WriteFile(w.dir+"/home/config/config.toml", []byte(text), 0o600))
		},
		"is a link out of the home": func(w *world, _ *Order) { must(t, os.Symlink(w.dir+"/home/config", w.dir+"/home/data/x")) },
		"could not sign": func(w *world, _ *Order) {
			must(t, os.WriteFile(filepath.Join(w.dir, "home", stateFile), []byte(`{"height":"200000","round":0,"step":3}`), 0o600))
		},
	} {
		w := newWorld(t)
		o := w.order()
		change(w, &o)
		if _, err := w.taker().Begin(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", says, err)
		}
		if !w.running[unit] || w.has("lib/ours/agent") {
			t.Errorf("%s: %+v", says, w)
		}
	}
	w := newWorld(t)
	must(t, os.Symlink("../config", filepath.Join(w.dir, "home/data/within"))) // it leads to the same thing afterwards
	must(t, w.whole())
	w.taken()
}

// TestMadeAgain: whoever makes the old home again, as a watchdog or tmpfiles.d, neither gets the key nor is in the way.
func TestMadeAgain(t *testing.T) {
	for _, at := range []string{"seal", "key", "own"} {
		w := begun(t)
		if err := w.fails(at, 1).Run(t.Context()); err == nil {
			t.Fatal("it went on")
		}
		must(t, os.MkdirAll(filepath.Join(w.dir, "home/config"), 0o700))
		must(t, os.WriteFile(filepath.Join(w.dir, "home", keyFile), []byte("another"), 0o600))
		must(t, w.run())
		st, err := w.taker().Look()
		if err != nil || st.Phase != Done || len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "again") {
			t.Errorf("%s: %+v, %v", at, st, err)
		}
		must(t, os.RemoveAll(filepath.Join(w.dir, "home")))
		w.taken()
	}
}

// TestUndoMadeAgain: undo puts nothing over what somebody made since, says so, and goes on once that is away.
func TestUndoMadeAgain(t *testing.T) {
	w := begun(t)
	_ = w.fails("seal", 1).Run(t.Context())
	must(t, os.MkdirAll(filepath.Join(w.dir, "home/config"), 0o700))
	if err := w.undo(); err == nil || !strings.Contains(err.Error(), "again; move that away") {
		t.Fatal(err)
	}
	if st, err := w.taker().Look(); err != nil || st.Phase != Undoing || st.Trouble == "" || w.running[unit] {
		t.Errorf("%+v, %v", st, err)
	}
	must(t, os.RemoveAll(filepath.Join(w.dir, "home")))
	must(t, os.WriteFile(filepath.Join(w.dir, "home"), nil, 0o600))
	if err := w.run(); err == nil || !w.has("home") {
		t.Errorf("a file of somebody's was removed: %v", err)
	}
	must(t, os.Remove(filepath.Join(w.dir, "home")))
	must(t, os.Mkdir(filepath.Join(w.dir, "home"), 0o700)) // what is empty is nobody's
	must(t, w.run())
	w.undone()
}

// TestPutAsideBefore: a home that was taken over before, or whose user made it look so, has what is put aside already.
func TestPutAsideBefore(t *testing.T) {
	w := begun(t)
	must(t, os.Mkdir(filepath.Join(w.dir, "home/cosmovisor"+asideSuffix), 0o700))
	must(t, w.taker().Run(t.Context()))
	w.taken()
	if !w.has(oursHome + "/cosmovisor" + asideSuffix + ".2/genesis/bin/chaind") {
		t.Error("the daemon's programs are gone")
	}
}

// TestUndoGoesOnByItself: an undo that was cut off is finished by the runner, also after a reboot.
func TestUndoGoesOnByItself(t *testing.T) {
	w := begun(t)
	_ = w.fails("seal", 1).Run(t.Context())
	st, err := w.taker().Undo(t.Context(), w.order().Whose())
	if err != nil || st.Phase != Undoing || !w.enabled[Runner] || !w.running[Runner] {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := w.taker().Begin(t.Context(), w.order()); err == nil || !strings.Contains(err.Error(), "by itself") {
		t.Error(err)
	}
	w.reboot()
	must(t, w.run())
	w.undone()
}

// TestUndoCutOffAtItsEnd: whatever undo was cut off at, the runner ends it after a reboot, with nobody's asking.
func TestUndoCutOffAtItsEnd(t *testing.T) {
	for killed, at := true, 0; killed; at++ {
		w := begun(t)
		_ = w.fails("seal", 1).Run(t.Context())
		_, err := w.taker().Undo(t.Context(), w.order().Whose())
		must(t, err)
		w.killAfter = at
		_ = w.run()
		killed = w.killed
		w.revive()
		w.reboot()
		must(t, w.run())
		w.undone()
		if t.Failed() {
			t.Fatalf("killed before change %d", at)
		}
	}
}

// TestJournalFull: a phase that could not be written has not begun.
func TestJournalFull(t *testing.T) {
	w := begun(t)
	if err := w.fails("journal", 1).Run(t.Context()); err == nil {
		t.Fatal("it went on")
	}
	if st, err := w.taker().Look(); err != nil || st.Phase != Silencing || w.has(oursKey) {
		t.Errorf("%+v, %v", st, err)
	}
	must(t, w.undo())
	w.undone()
}

// TestNewerProgram: a program that was brought since does the rest.
func TestNewerProgram(t *testing.T) {
	w := begun(t)
	o := w.order()
	o.Program = "/opt/newer"
	if _, err := w.taker().Begin(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/opt/newer", "/opt/undoer"} {
		b, err := os.ReadFile(filepath.Join(w.dir, "units", Runner))
		if err != nil || !strings.Contains(string(b), want+" host takeover-run") {
			t.Errorf("%s: %s, %v", want, b, err)
		}
		if want == o.Program {
			_, err := w.taker().Undo(t.Context(), o.Whose())
			must(t, err)
		}
	}
}

// TestUnitMadeAgain: a unit's file that somebody brings back is put aside beside the first, which is what undo puts back.
func TestUnitMadeAgain(t *testing.T) {
	w := begun(t)
	w.somebody = []Holder{{9, "x"}}
	for range 2 {
		if err := w.run(); err == nil {
			t.Fatal("it went on")
		}
		must(t, os.Remove(filepath.Join(w.dir, "units", unit)))
		must(t, os.WriteFile(filepath.Join(w.dir, "units", unit), []byte("[Unit]\n"), 0o600))
	}
	must(t, w.undo())
	w.undone()
	if b, err := os.ReadFile(filepath.Join(w.dir, "units", unit)); err != nil || string(b) != "[Service]\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestUnmasked: nothing is done, or said to be done, while somebody has taken the mask away.
func TestUnmasked(t *testing.T) {
	w := begun(t)
	tk := w.taker()
	tk.before = func(what string) error {
		if what == "note home" {
			must(t, os.Remove(filepath.Join(w.dir, "units", unit)))
			must(t, os.WriteFile(filepath.Join(w.dir, "units", unit), []byte("[Service]\n"), 0o600))
			return w.Reload(t.Context())
		}
		return nil
	}
	if err := tk.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "mask") {
		t.Errorf("%v", err)
	}
	must(t, os.Remove(filepath.Join(w.dir, "units", unit)))
	must(t, os.Symlink(os.DevNull, filepath.Join(w.dir, "units", unit)))
	must(t, w.Reload(t.Context()))
	must(t, w.run())
	w.taken()
}

// TestLinkOnTheWay: a link that somebody puts into the way of the home leads nowhere.
func TestLinkOnTheWay(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, "ours"), 0o700))
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	if err := rename(filepath.Join(dir, "link/b"), filepath.Join(dir, "ours/b")); err == nil {
		t.Error("it was followed on the way from")
	}
	must(t, os.Mkdir(filepath.Join(dir, "ours/c"), 0o700))
	if err := rename(filepath.Join(dir, "ours/c"), filepath.Join(dir, "link/c")); err == nil {
		t.Error("it was followed on the way to")
	}
	must(t, os.Mkdir(filepath.Join(dir, "a/c"), 0o700))
	if err := rename(filepath.Join(dir, "ours/c"), filepath.Join(dir, "a/c")); err == nil {
		t.Error("it was put in the place of another one")
	}
	must(t, rename(filepath.Join(dir, "a/b"), filepath.Join(dir, "ours/b")))
}

// TestOwn: what is given away is what is in the folder, and no more.
func TestOwn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	home, secret := filepath.Join(dir, "home"), filepath.Join(dir, "secret")
	must(t, os.MkdirAll(filepath.Join(home, "data"), 0o700))
	must(t, os.WriteFile(secret, nil, 0o600))
	must(t, os.Symlink(secret, filepath.Join(home, "data/link")))
	must(t, os.Symlink(dir, filepath.Join(home, "folder")))
	must(t, ownAs(home, 65534, 65534))
	must(t, mayOwn(home)) // it leaves all to whom it belongs
	for path, want := range map[string]uint32{home: 65534, home + "/data/link": 65534, home + "/folder": 65534, secret: 0, dir: 0} {
		if uid := ownerOf(t, path); uid != want {
			t.Errorf("%s belongs to %d", path, uid)
		}
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestParse(t *testing.T) {
	mounts := "22 1 8:1 / / rw - ext4 /dev/a rw\n30 22 8:2 /x /home/a\\040b rw - ext4 /dev/b rw\n"
	if got := parseMounts(mounts); !slices.Equal(got, []string{"/", "/home/a b"}) {
		t.Errorf("%q", got)
	}
	logins := "root:x:0:0:root:/root:/bin/bash\nchain:x:1:1::/home/chain/:/bin/sh\ndaemon:x:2:2::/home/d:/usr/sbin/nologin\n"
	if got := parseLogins(logins); !slices.Equal(got, []string{"/root", "/home/chain"}) {
		t.Errorf("%q", got)
	}
	if got := mountOf([]string{"/", "/home", "/home/x"}, "/home/xy/z"); got != "/home" {
		t.Error(got)
	}
}

// TestMark: the mark is the higher one of what the chain and the key's own state say.
func TestMark(t *testing.T) {
	w := newWorld(t)
	o := w.order()
	o.Mark = 90
	_, err := w.taker().Begin(t.Context(), o)
	must(t, err)
	must(t, w.run())
	if st, err := w.taker().signing().Load(); err != nil || st.Floor != 90 || st.State != signing.Disarmed || st.LastHeight != 90 {
		t.Errorf("%+v, %v", st, err)
	}
}
