package signing

import (
	"crypto/ed25519"
	"encoding/base64"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		"state gone":                          {remove(StateFile), "sign state cannot be read"},
		"state torn":                          {write(StateFile, []byte(`{"height":"9`)), "sign state cannot be read"},
		"state empty":                         {write(StateFile, nil), "sign state cannot be read"},
		"state negative":                      {write(StateFile, []byte(`{"height":"-9"}`)), "sign state cannot be read"},
		"state without a height":              {write(StateFile, []byte(`{"round":0}`)), "sign state cannot be read"},
		"state rolled back":                   {write(StateFile, State{Height: 839, Step: 3}.encode()), "rolled back"},
		"state rolled back within its height": {write(StateFile, State{Height: 840, Round: 1, Step: 3}.encode()), "rolled back"},
		"key gone":                            {remove(KeyFile), "key file cannot be read"},
		"key swapped":                         {write(KeyFile, newKey(t).file), "another key"},
		"key torn":                            {write(KeyFile, k.file[:50]), "not a priv_validator_key.json"},
		"record gone":                         {remove(armingFile), "without a record"},
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
