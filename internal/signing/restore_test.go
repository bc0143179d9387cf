package signing

import (
	"crypto/ed25519"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
