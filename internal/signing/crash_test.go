package signing

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// eachCrash runs do once for every change it makes on disk, interrupted just before that change, and hands the folder
// that is left to after; then once without interruption. prepare makes the folder as it was before.
func eachCrash(t *testing.T, prepare func(t *testing.T, root string) Folder, do func(Folder) error, after func(t *testing.T, f Folder, at int, err error)) {
	t.Helper()
	for at := 1; ; at++ {
		f := prepare(t, t.TempDir())
		n := 0
		crashed := f
		crashed.before = func() error {
			if n++; n == at {
				return errCrash
			}
			return nil
		}
		err := do(crashed)
		after(t, f, at, err)
		if n < at { // it ended before the crash was due
			if err != nil {
				t.Fatalf("without a crash: %v", err)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("crash %d was survived: %v", at, err)
		}
	}
}

var errCrash = errors.New("crashed here")

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTakeBornCrash(t *testing.T) {
	takeBornCrashes(t, func(f Folder) string { return filepath.Join(f.Dir, "..", "init.json") })
}

// The same where the home is on a volume, and the key has to leave it.
func TestTakeBornFromVolumeCrash(t *testing.T) {
	volume, err := os.MkdirTemp("/dev/shm", "volume-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(volume) })
	var here, there syscall.Stat_t
	if err := errors.Join(syscall.Stat(t.TempDir(), &here), syscall.Stat(volume, &there)); err != nil {
		t.Fatal(err)
	}
	if here.Dev == there.Dev {
		t.Skip("there is one file system only")
	}
	takeBornCrashes(t, func(Folder) string { return filepath.Join(volume, "init.json") })
}

func takeBornCrashes(t *testing.T, initKey func(Folder) string) {
	t.Helper()
	key := newKey(t)
	eachCrash(t, func(t *testing.T, root string) Folder {
		f := Folder{Dir: filepath.Join(root, "signing")}
		writeFile(t, initKey(f), key.file)
		return f
	}, func(f Folder) error {
		return f.TakeBorn(initKey(f))
	}, func(t *testing.T, f Folder, at int, err error) {
		if err != nil {
			if s := mustLoad(t, f); s.State == Armed {
				t.Errorf("crash %d: armed before it is whole", at)
			}
		}
		if err := f.TakeBorn(initKey(f)); err != nil {
			t.Fatalf("crash %d: resumed: %v", at, err)
		}
		if _, err := os.Lstat(initKey(f)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("crash %d: the key is still where init made it: %v", at, err)
		}
		if s := mustLoad(t, f); s.State != Armed || !s.PublicKey.Equal(key.pub) {
			t.Errorf("crash %d: resumed: %+v, want armed", at, s)
		}
	})
}

func TestRestoreCrash(t *testing.T) {
	old, key := newKey(t), newKey(t)
	const mark = 700
	eachCrash(t, func(t *testing.T, root string) Folder {
		f := newBorn(t, root, old)
		writeState(t, f, 55)
		return f
	}, func(f Folder) error {
		return f.Restore(key.file, mark, key.pub)
	}, func(t *testing.T, f Folder, at int, err error) {
		if s := mustLoad(t, f); s.State == Armed && !s.PublicKey.Equal(old.pub) {
			t.Errorf("crash %d: a restored key is armed", at)
		}
		// The person tries again.
		if err := f.Restore(key.file, mark, key.pub); err != nil {
			t.Fatalf("crash %d: again: %v", at, err)
		}
		if s := mustLoad(t, f); s.State != Disarmed || !s.PublicKey.Equal(key.pub) || s.Floor != mark {
			t.Errorf("crash %d: again: %+v", at, s)
		}
		if err := f.Restore(old.file, 0, old.pub); err != nil {
			t.Fatalf("crash %d: the old key back: %v", at, err)
		}
		if s := mustLoad(t, f); s.Floor < 55 {
			t.Errorf("crash %d: the old key's mark fell to %d", at, s.Floor)
		}
	})
}

func TestArmCrash(t *testing.T) {
	key := newKey(t)
	proof := Proof{From: 801, Until: 840}
	eachCrash(t, func(t *testing.T, root string) Folder {
		f := Folder{Dir: filepath.Join(root, "signing")}
		if err := f.Restore(key.file, 800, nil); err != nil {
			t.Fatal(err)
		}
		return f
	}, func(f Folder) error {
		return f.Arm(proof)
	}, func(t *testing.T, f Folder, at int, err error) {
		s := mustLoad(t, f)
		if err != nil && s.State == Armed {
			t.Errorf("crash %d: armed before it is whole", at)
		}
		if s.State != Armed {
			// The same watch cannot be used twice once the state holds its end; a new one can.
			if err := f.Arm(Proof{From: 841, Until: 880}); err != nil {
				t.Fatalf("crash %d: again: %v", at, err)
			}
		}
		for h := int64(0); h <= 840; h++ {
			if mayFileSign(t, f, h) {
				t.Fatalf("crash %d: height %d can be signed", at, h)
			}
		}
	})
}
