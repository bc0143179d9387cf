package signing

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", "25"); err != nil { // every step waits for the disk
		panic(err)
	}
	os.Exit(m.Run())
}

type testKey struct {
	pub  ed25519.PublicKey
	priv ed25519.PrivateKey
	file []byte
}

func newKey(t testing.TB) testKey {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{pub, priv, keyFile(pub, priv)}
}

func keyFile(pub ed25519.PublicKey, priv ed25519.PrivateKey) []byte {
	return fmt.Appendf(nil, `{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
		Address(pub), base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(priv))
}

func mustLoad(t *testing.T, f Folder) Status {
	t.Helper()
	s, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newBorn is a folder with a key that was born there and is armed.
func newBorn(t *testing.T, root string, k testKey) Folder {
	t.Helper()
	f := Folder{Dir: filepath.Join(root, "signing")}
	writeFile(t, filepath.Join(root, "init.json"), k.file)
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err != nil {
		t.Fatal(err)
	}
	return f
}

// writeState lets the daemon have signed height.
func writeState(t *testing.T, f Folder, height int64) {
	t.Helper()
	writeFile(t, f.path(StateFile), State{Height: height, Step: 3}.encode())
}

// mayFileSign says whether CometBFT would sign anything new at height with the folder's files: the rule of
// FilePVLastSignState.CheckHRS in cometbft/privval/file.go, for the most that a round and a step can be. A folder that
// is not armed signs nothing.
func mayFileSign(t *testing.T, f Folder, height int64) bool {
	t.Helper()
	if mustLoad(t, f).State != Armed {
		return false
	}
	s, err := ReadState(f.path(StateFile))
	if err != nil {
		t.Fatal(err)
	}
	const lastRound, lastStep = math.MaxInt32, 3
	switch {
	case s.Height != height:
		return s.Height < height
	case s.Round != lastRound:
		return s.Round < lastRound
	}
	return s.Step < lastStep
}

func TestBorn(t *testing.T) {
	root, k := t.TempDir(), newKey(t)
	f := newBorn(t, root, k)
	s := mustLoad(t, f)
	if s.State != Armed || !s.PublicKey.Equal(k.pub) || s.Floor != 0 {
		t.Fatalf("born: %+v", s)
	}
	if _, err := os.Stat(filepath.Join(root, "init.json")); !os.IsNotExist(err) {
		t.Error("the key is still in the daemon's home")
	}
	for _, name := range []string{KeyFile, StateFile, armingFile} {
		info, err := os.Stat(f.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	// A later init key is nobody's business.
	writeFile(t, filepath.Join(root, "init.json"), newKey(t).file)
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err != nil {
		t.Fatal(err)
	}
	if s := mustLoad(t, f); !s.PublicKey.Equal(k.pub) {
		t.Error("a second birth replaced the key")
	}
}

func TestKeyFileIsMadePrivate(t *testing.T) {
	root, k := t.TempDir(), newKey(t)
	writeFile(t, filepath.Join(root, "init.json"), k.file)
	if err := os.Chmod(filepath.Join(root, "init.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := Folder{Dir: filepath.Join(root, "signing")}
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(f.path(KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
}

// What is not exactly as it was when the key was armed disarms it.
func TestDistrust(t *testing.T) {
	k := newKey(t)
	remove := func(name string) func(*testing.T, Folder) Folder {
		return func(t *testing.T, f Folder) Folder {
			if err := os.Remove(f.path(name)); err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	write := func(name string, b []byte) func(*testing.T, Folder) Folder {
		return func(t *testing.T, f Folder) Folder { writeFile(t, f.path(name), b); return f }
	}
	for name, tt := range map[string]struct {
		spoil func(*testing.T, Folder) Folder
		want  string
	}{
		"copied folder": {func(t *testing.T, f Folder) Folder {
			to := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(to, os.DirFS(f.Dir)); err != nil {
				t.Fatal(err)
			}
			return Folder{Dir: to}
		}, "copied or restored"},
		"state gone":             {remove(StateFile), "sign state cannot be read"},
		"state torn":             {write(StateFile, []byte(`{"height":"9`)), "sign state cannot be read"},
		"state empty":            {write(StateFile, nil), "sign state cannot be read"},
		"state negative":         {write(StateFile, []byte(`{"height":"-9"}`)), "sign state cannot be read"},
		"state without a height": {write(StateFile, []byte(`{"round":0}`)), "sign state cannot be read"},
		"state rolled back":      {write(StateFile, State{Height: 839, Step: 3}.encode()), "rolled back"},
		"key gone":               {remove(KeyFile), "key file cannot be read"},
		"key swapped":            {write(KeyFile, newKey(t).file), "another key"},
		"key torn":               {write(KeyFile, k.file[:50]), "not a priv_validator_key.json"},
		"record gone":            {remove(armingFile), "without a record"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Folder{Dir: filepath.Join(t.TempDir(), "signing")}
			if err := f.Restore(k.file, 800, nil); err != nil {
				t.Fatal(err)
			}
			if err := f.Arm(Proof{From: 801, Until: 840}); err != nil {
				t.Fatal(err)
			}
			if s := mustLoad(t, f); s.State != Armed {
				t.Fatalf("not armed to begin with: %s", s.Reason)
			}
			f = tt.spoil(t, f)
			s := mustLoad(t, f)
			if s.State != Disarmed || !strings.Contains(s.Reason, tt.want) {
				t.Errorf("state %q, reason %q, want disarmed: %s", s.State, s.Reason, tt.want)
			}
			if strings.Contains(s.Reason, base64.StdEncoding.EncodeToString(k.priv)[:20]) {
				t.Error("the reason holds key material")
			}
		})
	}
}

func TestDamagedRecordIsAnError(t *testing.T) {
	f := newBorn(t, t.TempDir(), newKey(t))
	for _, b := range []string{"", "{", "null", `{"state":"armed"}`, `{"state":"armed","public_key":"AAAA"}`, strings.Repeat("\x00", 300)} {
		writeFile(t, f.path(armingFile), []byte(b))
		if s, err := f.Load(); err == nil || s.State == Armed {
			t.Errorf("record %q: %+v, %v", b, s, err)
		}
	}
}

func TestUnknownStateIsDisarmed(t *testing.T) {
	f := newBorn(t, t.TempDir(), newKey(t))
	b, err := os.ReadFile(f.path(armingFile))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, f.path(armingFile), []byte(strings.Replace(string(b), `"armed"`, `"ARMED"`, 1)))
	if s := mustLoad(t, f); s.State != Disarmed {
		t.Errorf("state %q", s.State)
	}
}

// A host copied in the midst of being enrolled has no second birth: its original went on to sign.
func TestBornIsTiedToItsPlace(t *testing.T) {
	root, k := t.TempDir(), newKey(t)
	writeFile(t, filepath.Join(root, "init.json"), k.file)
	f := Folder{Dir: filepath.Join(root, "signing")}
	n := 0
	f.before = func() error {
		if n++; n > 2 { // after the record and the key, before the state
			return errCrash
		}
		return nil
	}
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err == nil {
		t.Fatal("not interrupted")
	}
	if _, err := os.Stat(f.path(KeyFile)); err != nil {
		t.Fatalf("the crash came too early: %v", err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(f.Dir)); err != nil {
		t.Fatal(err)
	}
	c := Folder{Dir: to}
	if err := c.TakeBorn(filepath.Join(to, "none")); err == nil {
		t.Error("born twice")
	}
	if s := mustLoad(t, c); s.State == Armed {
		t.Error("the copy is armed")
	}
}

// Where a power cut loses what the daemon's init wrote, init runs again and makes another key.
func TestBornAgainAfterInitWasLost(t *testing.T) {
	a, b := newKey(t), newKey(t)
	prepare := func(t *testing.T, ops int) (Folder, string) {
		root := t.TempDir()
		initKey := filepath.Join(root, "init.json")
		writeFile(t, initKey, a.file)
		f := Folder{Dir: filepath.Join(root, "signing")}
		crashed, n := f, 0
		crashed.before = func() error {
			if n++; n > ops {
				return errCrash
			}
			return nil
		}
		if err := crashed.TakeBorn(initKey); err == nil {
			t.Fatal("not interrupted")
		}
		writeFile(t, initKey, b.file)
		return f, initKey
	}
	t.Run("before the key moved", func(t *testing.T) {
		f, initKey := prepare(t, 1)
		if err := f.TakeBorn(initKey); err != nil {
			t.Fatal(err)
		}
		if s := mustLoad(t, f); s.State != Armed || !s.PublicKey.Equal(b.pub) {
			t.Errorf("%+v, want the second key armed", s)
		}
	})
	t.Run("after the key moved", func(t *testing.T) {
		f, initKey := prepare(t, 2)
		if err := f.TakeBorn(initKey); err != nil {
			t.Fatal(err)
		}
		if s := mustLoad(t, f); s.State != Armed || !s.PublicKey.Equal(a.pub) {
			t.Errorf("%+v, want the first key armed", s)
		}
	})
}

func TestBornRefusesWhatSigned(t *testing.T) {
	root, k := t.TempDir(), newKey(t)
	f := Folder{Dir: filepath.Join(root, "signing")}
	writeFile(t, filepath.Join(root, "init.json"), k.file)
	writeFile(t, f.path(StateFile), State{Height: 7}.encode())
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err == nil {
		t.Error("a key whose sign state is at height 7 was born")
	}
	if s := mustLoad(t, f); s.State == Armed {
		t.Error("and armed")
	}
}

func TestBornBesideKeyWithoutRecord(t *testing.T) {
	root, k := t.TempDir(), newKey(t)
	f := Folder{Dir: filepath.Join(root, "signing")}
	writeFile(t, f.path(KeyFile), newKey(t).file)
	writeFile(t, filepath.Join(root, "init.json"), k.file)
	if err := f.TakeBorn(filepath.Join(root, "init.json")); err == nil || !strings.Contains(err.Error(), "without a record") {
		t.Errorf("err %v", err)
	}
}

func TestRestore(t *testing.T) {
	k, other := newKey(t), newKey(t)
	t.Run("armed and in use", func(t *testing.T) {
		f := newBorn(t, t.TempDir(), k)
		for name, assigned := range map[string]ed25519.PublicKey{"assigned": k.pub, "nobody assigned": nil} {
			if err := f.Restore(other.file, 0, assigned); err == nil {
				t.Errorf("%s: an armed key was replaced", name)
			}
			if err := f.Restore(k.file, 0, assigned); err == nil {
				t.Errorf("%s: an armed key was restored over itself", name)
			}
		}
		if s := mustLoad(t, f); s.State != Armed || !s.PublicKey.Equal(k.pub) {
			t.Errorf("after refusals: %+v", s)
		}
	})
	t.Run("over an unassigned one", func(t *testing.T) {
		f := newBorn(t, t.TempDir(), k)
		if err := f.Restore(other.file, 9, other.pub); err != nil {
			t.Fatal(err)
		}
		if s := mustLoad(t, f); s.State != Disarmed || !s.PublicKey.Equal(other.pub) || s.Floor != 9 {
			t.Errorf("%+v", s)
		}
		kept, err := filepath.Glob(f.path("aside-*/" + KeyFile))
		if err != nil || len(kept) != 1 {
			t.Fatalf("kept %v, %v", kept, err)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		f := Folder{Dir: filepath.Join(t.TempDir(), "signing")}
		if err := f.Restore(k.file, -1, nil); err == nil {
			t.Error("a negative mark")
		}
		if err := f.Restore([]byte("{}"), 0, nil); err == nil {
			t.Error("no key")
		}
		if s := mustLoad(t, f); s.State != None {
			t.Errorf("%+v", s)
		}
	})
}

// However a key comes back, what is known of its heights on this host counts.
func TestMarkNeverFalls(t *testing.T) {
	k, other := newKey(t), newKey(t)
	for name, prepare := range map[string]func(*testing.T, Folder){
		"restored before": func(t *testing.T, f Folder) {
			must(t, f.Restore(k.file, 500, nil))
		},
		"signed here and its record is lost": func(t *testing.T, f Folder) {
			writeFile(t, f.path(KeyFile), k.file)
			writeState(t, f, 500)
		},
		"set aside since": func(t *testing.T, f Folder) {
			must(t, f.Restore(k.file, 500, nil))
			must(t, f.Restore(other.file, 3, nil))
		},
		"set aside since, twice, with less the second time": func(t *testing.T, f Folder) {
			must(t, f.Restore(k.file, 500, nil))
			must(t, f.Restore(other.file, 3, nil))
			writeFile(t, f.path(KeyFile), k.file)
			must(t, os.Remove(f.path(armingFile)))
			must(t, f.Restore(other.file, 3, nil))
		},
		"only its state is left": func(t *testing.T, f Folder) {
			must(t, f.Restore(k.file, 0, nil))
			writeState(t, f, 500)
			must(t, os.Remove(f.path(armingFile)))
			must(t, os.Remove(f.path(KeyFile)))
		},
		"armed and signed until its folder was spoilt": func(t *testing.T, f Folder) {
			must(t, f.Restore(k.file, 0, nil))
			must(t, f.Arm(Proof{From: 301, Until: 330}))
			writeState(t, f, 500)
			writeFile(t, f.path(KeyFile), other.file)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := Folder{Dir: filepath.Join(t.TempDir(), "signing")}
			prepare(t, f)
			must(t, f.Restore(k.file, 0, nil))
			if s := mustLoad(t, f); s.Floor < 500 || s.State != Disarmed {
				t.Errorf("floor %d, %s; want 500, disarmed", s.Floor, s.State)
			}
			if err := f.Arm(Proof{From: 400, Until: 450}); err == nil {
				t.Error("armed with a watch that began below the mark")
			}
		})
	}
}

// No key file that lies in the folder is ever lost, whatever is restored over it.
func TestRestoreLosesNoKey(t *testing.T) {
	a, b, c := newKey(t), newKey(t), newKey(t)
	f := Folder{Dir: filepath.Join(t.TempDir(), "signing")}
	must(t, f.Restore(a.file, 5, nil))
	writeFile(t, f.path(KeyFile), b.file) // somebody swapped it
	must(t, f.Restore(a.file, 5, nil))
	must(t, f.Restore(c.file, 5, nil))
	must(t, f.Restore(a.file, 5, nil))
	found := map[string]bool{}
	must(t, filepath.WalkDir(f.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == KeyFile {
			key, err := os.ReadFile(path)
			must(t, err)
			found[string(key)] = true
		}
		return err
	}))
	if len(found) != 3 {
		t.Errorf("%d of 3 keys are left", len(found))
	}
}

func TestUnreadableStateNeedsMark(t *testing.T) {
	k := newKey(t)
	f := newBorn(t, t.TempDir(), k)
	writeFile(t, f.path(StateFile), []byte(`{"height":`))
	if err := f.Restore(k.file, 0, nil); err == nil || !strings.Contains(err.Error(), "high-water mark") {
		t.Fatalf("err %v: its sign state is unreadable and nobody said how far it had signed", err)
	}
	must(t, f.Restore(k.file, 900, nil))
	must(t, f.Arm(Proof{From: 901, Until: 930})) // the way out that the reason names
	if s := mustLoad(t, f); s.State != Armed {
		t.Errorf("%+v", s)
	}
}

func TestArmRefuses(t *testing.T) {
	k := newKey(t)
	good := Proof{From: 101, Until: 140}
	t.Run("nothing here", func(t *testing.T) {
		if err := (Folder{Dir: t.TempDir()}).Arm(good); err == nil {
			t.Error("armed")
		}
	})
	t.Run("armed already", func(t *testing.T) {
		f := newBorn(t, t.TempDir(), k)
		writeState(t, f, 50)
		if err := f.Arm(good); err == nil {
			t.Error("armed twice")
		}
		if s, _ := ReadState(f.path(StateFile)); s.Height != 50 {
			t.Errorf("the state of a key in use was touched: %+v", s)
		}
	})
	t.Run("another key in the file", func(t *testing.T) {
		f := Folder{Dir: filepath.Join(t.TempDir(), "signing")}
		must(t, f.Restore(k.file, 100, nil))
		writeFile(t, f.path(KeyFile), newKey(t).file)
		if err := f.Arm(good); err == nil {
			t.Error("armed")
		}
		must(t, os.Remove(f.path(KeyFile)))
		if err := f.Arm(good); err == nil {
			t.Error("armed without a key")
		}
	})
}

func TestFloor(t *testing.T) {
	for name, tt := range map[string]struct {
		known int64
		p     Proof
		want  int64 // 0: refused
	}{
		"enough":              {100, Proof{101, 130, 0}, 130},
		"one block short":     {100, Proof{101, 129, 0}, 0},
		"signed at its start": {100, Proof{101, 130, 101}, 0},
		"signed at its end":   {100, Proof{101, 130, 130}, 0},
		"signed before it":    {100, Proof{101, 130, 100}, 0},
		"signed after it":     {100, Proof{101, 130, 131}, 0},
		"begins at the mark":  {101, Proof{101, 130, 0}, 0},
		"mark in the midst":   {110, Proof{101, 130, 0}, 0},
		"mark beyond":         {1000, Proof{101, 130, 0}, 0},
		"no watch":            {0, Proof{}, 0},
		"backwards":           {0, Proof{130, 101, 0}, 0},
		"from zero":           {0, Proof{0, 130, 0}, 0},
		"negative":            {0, Proof{-40, 130, 0}, 0},
		"to the end of time":  {0, Proof{1, math.MaxInt64, 0}, 0},
		"negative signature":  {0, Proof{1, 40, -3}, 0},
		"nothing known of it": {0, Proof{1, 30, 0}, 30},
	} {
		got, err := Floor(tt.known, tt.p)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tt.want)
		}
	}
}

// Whatever is done in whatever order, with crashes between: the floor of a key never falls, and no height at or below
// what it is known to have signed can be signed again.
func TestProperty(t *testing.T) {
	keys := []testKey{newKey(t), newKey(t)}
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "signing")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		m := &model{keys: keys, f: Folder{Dir: filepath.Join(root, "signing")}, signed: map[string]int64{}}
		t.Repeat(map[string]func(*rapid.T){
			"restore": m.restore, "arm": m.arm, "sign": m.sign, "": m.check,
		})
	})
}

type model struct {
	keys   []testKey
	f      Folder
	signed map[string]int64 // by key: the highest height signed on this host or told of
	tip    int64
}

// crashing is the folder with a crash at some change, or none.
func (m *model) crashing(t *rapid.T) Folder {
	f, n, at := m.f, 0, rapid.IntRange(0, 8).Draw(t, "crash")
	f.before = func() error {
		if n++; n == at {
			return errCrash
		}
		return nil
	}
	return f
}

func (m *model) restore(t *rapid.T) {
	k := rapid.SampledFrom(m.keys).Draw(t, "key")
	mark := rapid.Int64Range(0, 300).Draw(t, "mark")
	if m.crashing(t).Restore(k.file, mark, k.pub) == nil {
		m.signed[string(k.pub)] = max(m.signed[string(k.pub)], mark)
		m.tip = max(m.tip, mark)
	}
}

func (m *model) arm(t *rapid.T) {
	from := rapid.Int64Range(1, 400).Draw(t, "from")
	_ = m.crashing(t).Arm(Proof{From: from, Until: from + SilentBlocks - 1})
	m.tip = max(m.tip, from+SilentBlocks)
}

func (m *model) sign(t *rapid.T) {
	s, err := m.f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.State != Armed {
		return
	}
	state, err := ReadState(m.f.path(StateFile))
	if err != nil {
		t.Fatal(err)
	}
	if height := state.Height + 1; height <= m.signed[string(s.PublicKey)] {
		t.Fatalf("height %d can be signed, %d was signed before", height, m.signed[string(s.PublicKey)])
	}
	m.signed[string(s.PublicKey)] = state.Height + 1
	if err := os.WriteFile(m.f.path(StateFile), State{Height: state.Height + 1, Step: 3}.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *model) check(t *rapid.T) {
	s, err := m.f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.State == Armed && s.LastHeight < m.signed[string(s.PublicKey)] {
		t.Fatalf("armed with its state at %d; it signed %d", s.LastHeight, m.signed[string(s.PublicKey)])
	}
}

func TestPublicKey(t *testing.T) {
	k, other := newKey(t), newKey(t)
	var doc map[string]any
	change := func(f func()) []byte {
		must(t, json.Unmarshal(k.file, &doc))
		f()
		b, err := json.Marshal(doc)
		must(t, err)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":         nil,
		"no JSON":       append([]byte("x"), k.file...),
		"cut":           k.file[:len(k.file)-2],
		"other public":  change(func() { doc["pub_key"].(map[string]any)["value"] = other.pub }),
		"other address": change(func() { doc["address"] = Address(other.pub) }),
		"short private": change(func() { doc["priv_key"].(map[string]any)["value"] = k.priv[:32] }),
		"mixed private": change(func() {
			doc["priv_key"].(map[string]any)["value"] = append(append([]byte{}, k.priv[:32]...), other.pub...)
		}),
		"secp256k1":      change(func() { doc["priv_key"].(map[string]any)["type"] = "tendermint/PrivKeySecp256k1" }),
		"key as type":    change(func() { doc["priv_key"].(map[string]any)["type"] = base64.StdEncoding.EncodeToString(k.priv) }),
		"bad base64":     change(func() { doc["priv_key"].(map[string]any)["value"] = "!" + base64.StdEncoding.EncodeToString(k.priv) }),
		"number for key": change(func() { doc["priv_key"].(map[string]any)["value"] = 12345 }),
	} {
		pub, err := PublicKey(b)
		if err == nil {
			t.Errorf("%s: accepted, %x", name, pub)
			continue
		}
		noKeyMaterial(t, err.Error(), k)
	}
	if pub, err := PublicKey(k.file); err != nil || !pub.Equal(k.pub) {
		t.Errorf("%x, %v", pub, err)
	}
}

func noKeyMaterial(t *testing.T, s string, k testKey) {
	t.Helper()
	for _, enc := range []string{base64.StdEncoding.EncodeToString(k.priv), fmt.Sprintf("%x", []byte(k.priv)), fmt.Sprint([]byte(k.priv)), string(k.priv.Seed())} {
		for i := 0; i+12 <= len(enc) && i < 40; i++ {
			if strings.Contains(s, enc[i:i+12]) {
				t.Fatalf("error holds key material: %s", s)
			}
		}
	}
}

func FuzzPublicKey(f *testing.F) {
	f.Add(newKey(f).file)
	f.Add([]byte(`{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pub, err := PublicKey(b)
		if err == nil && len(pub) != ed25519.PublicKeySize {
			t.Errorf("a key of %d bytes", len(pub))
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add(State{Height: 5, Round: 2, Step: 3}.encode())
	f.Add([]byte(`{"height":"12","round":0,"step":3,"signature":"AA==","signbytes":"00"}`))
	f.Add([]byte(`{"height":12}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseState(b)
		if err != nil {
			return
		}
		if s.Height < 0 {
			t.Errorf("height %d", s.Height)
		}
		if again, err := ParseState(s.encode()); err != nil || again != s {
			t.Errorf("%+v becomes %+v, %v", s, again, err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
