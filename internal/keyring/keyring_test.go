package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	scryptLogN = 8 // passphrases are not what is tested here
	os.Exit(m.Run())
}

var pass = []byte("correct horse battery staple")

// ask returns a fresh copy of a passphrase, as Open wipes it.
func ask(p []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return bytes.Clone(p), nil }
}

func newKeyring(t testing.TB) *Keyring {
	t.Helper()
	k, err := New("hub-1")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// folder returns the name of a folder that Save can make.
func folder(t testing.TB) string { return filepath.Join(t.TempDir(), "operator") }

// same holds that two keyrings have the same contents.
func same(t *testing.T, a, b *Keyring) {
	t.Helper()
	x, err := a.encode("")
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.encode("")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Error("the keyrings differ")
	}
}

func TestSaveOpen(t *testing.T) {
	for name, p := range map[string][]byte{ProtectedFile: pass, UnprotectedFile: nil} {
		t.Run(name, func(t *testing.T) {
			k, dir := newKeyring(t), folder(t)
			if err := k.Save(dir, p); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != name {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
			for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, name): 0o600} {
				if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
					t.Errorf("%s: %v, %v", path, st.Mode(), err)
				}
			}
			if protected, err := Protected(dir); err != nil || protected != (p != nil) {
				t.Errorf("Protected: %v, %v", protected, err)
			}
			got, err := Open(dir, ask(p))
			if err != nil {
				t.Fatal(err)
			}
			same(t, k, got)
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if labelled := bytes.Contains(b, []byte(`"unprotected": "practice only: `)); labelled != (p == nil) {
				t.Errorf("labelled as unprotected: %v", labelled)
			}
			if p != nil {
				leaks(t, k, string(b))
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	k := newKeyring(t)
	protected, practice := folder(t), folder(t)
	if err := k.Save(protected, pass); err != nil {
		t.Fatal(err)
	}
	if err := newKeyring(t).Save(practice, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(protected, ask([]byte("wrong passphrase"))); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := Open(protected, ask(nil)); !errors.Is(err, ErrPassphrase) {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := Open(protected, nil); !errors.Is(err, ErrPassphrase) {
		t.Errorf("nobody to ask: %v", err)
	}
	gone := errors.New("no terminal")
	if _, err := Open(protected, func() ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("asking fails: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	empty := t.TempDir()
	if err := os.Chmod(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(empty, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no keyring: %v", err)
	}

	file := filepath.Join(practice, UnprotectedFile)
	for _, tt := range []struct {
		path string
		mode fs.FileMode
	}{{file, 0o640}, {file, 0o604}, {file, 0o620}, {practice, 0o750}, {practice, 0o701}} {
		old, err := os.Stat(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(tt.path, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(practice, nil); !errors.Is(err, ErrPermissions) {
			t.Errorf("mode %v of %s: %v", tt.mode, filepath.Base(tt.path), err)
		}
		if err := os.Chmod(tt.path, old.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(practice, nil); err != nil {
		t.Error(err)
	}

	// An encrypted keyring does not pass for a practice one, nor the reverse.
	b, err := k.encode("")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{b, make([]byte, maxFile+1), []byte("{}"), nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(practice, nil); err == nil {
			t.Errorf("a file of %d bytes opens", len(content))
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(practice, nil); err == nil {
		t.Error("a folder opens")
	}
}

func TestSaveRefuses(t *testing.T) {
	k, dir := newKeyring(t), folder(t)
	if err := k.Save(dir, []byte("short")); err == nil {
		t.Error("a short passphrase is taken")
	}
	if err := k.Save(dir, []byte{}); err == nil {
		t.Error("an empty passphrase is taken")
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused Save leaves a folder")
	}
	if err := k.Save(dir, pass); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(dir, nil); !errors.Is(err, ErrProtected) {
		t.Errorf("taking protection away: %v", err)
	}
	for _, p := range [][]byte{nil, pass} {
		if err := newKeyring(t).Save(dir, p); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over another keyring: %v", err)
		}
	}
	got, err := Open(dir, ask(pass))
	if err != nil {
		t.Fatal(err)
	}
	same(t, k, got)

	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := newKeyring(t).Save(open, pass); !errors.Is(err, ErrPermissions) {
		t.Errorf("into an open folder: %v", err)
	}
	wiped := newKeyring(t)
	wiped.Wipe()
	if err := wiped.Save(folder(t), pass); err == nil {
		t.Error("a wiped keyring is saved")
	}
}

func TestChangePassphrase(t *testing.T) {
	k, dir := newKeyring(t), folder(t)
	if err := k.Save(dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(dir, nil); err != nil {
		t.Errorf("saving again: %v", err)
	}
	old, err := os.ReadFile(filepath.Join(dir, UnprotectedFile))
	if err != nil {
		t.Fatal(err)
	}
	k, err = Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Save(dir, pass); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, UnprotectedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the unprotected file is still there")
	}

	// As if the crash had come before it was removed.
	if err := os.WriteFile(filepath.Join(dir, UnprotectedFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err = Open(dir, ask(pass))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, UnprotectedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Open leaves the unprotected file of the same keyring")
	}

	other := []byte("another passphrase")
	if err := k.Save(dir, other); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ask(pass)); !errors.Is(err, ErrPassphrase) {
		t.Errorf("the old passphrase: %v", err)
	}
	if _, err := Open(dir, ask(other)); err != nil {
		t.Error(err)
	}

	stranger, err := newKeyring(t).encode(practiceOnly)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, UnprotectedFile), stranger, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ask(other)); !errors.Is(err, ErrTwoKeyrings) {
		t.Errorf("two keyrings: %v", err)
	}
}

func TestNew(t *testing.T) {
	a, b := newKeyring(t), newKeyring(t)
	if a.AdminKey().Equal(b.AdminKey()) || a.Recipient() == b.Recipient() {
		t.Error("two keyrings share a key")
	}
	if len(a.state.Bytes()) < 50 || bytes.Equal(a.state.Bytes(), b.state.Bytes()) {
		t.Error("the state passphrase is not random")
	}
	if !a.AdminPublic().Equal(a.AdminKey().Public()) || !strings.HasPrefix(a.Recipient(), "age1") {
		t.Error("the public halves are wrong")
	}
	if a.Name() != "hub-1" || time.Since(a.Created()) > time.Hour {
		t.Errorf("made %q at %v", a.Name(), a.Created())
	}
	for _, name := range []string{"", strings.Repeat("x", maxName+1), "a\nb", "\x1b[31m", "\xff"} {
		if _, err := New(name); err == nil {
			t.Errorf("New(%q) succeeds", name)
		}
	}
}

// leaks fails the test if s holds any secret of k in any usual spelling.
func leaks(t *testing.T, k *Keyring, s string) {
	t.Helper()
	for what, secret := range map[string][]byte{
		"seed": k.admin.Bytes(), "admin key": k.AdminKey(), "age identity": k.age.Bytes(), "state passphrase": k.state.Bytes(),
	} {
		for _, form := range []string{
			string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)[:20],
			strings.Trim(fmt.Sprint(secret), "[]"), strings.TrimPrefix(fmt.Sprintf("%#v", secret[:8]), "[]byte{")[:20],
		} {
			if strings.Contains(strings.ToLower(s), strings.ToLower(form)) {
				t.Errorf("the %s leaks: %.200s", what, s)
			}
		}
	}
}

func TestNothingPrints(t *testing.T) {
	k := newKeyring(t)
	type inner struct {
		k *Keyring
		v Keyring
		s Secret
		K *Keyring
		V Keyring
		S Secret
	}
	nested := inner{k, *k, k.StatePassphrase(), k, *k, k.StatePassphrase()}
	backup := Backup{Deployment: "d", Host: "h", KeyFile: NewSecret(k.AdminKey())}
	for _, v := range []any{k, *k, k.StatePassphrase(), nested, &nested, []any{k, *k}, map[string]any{"k": k}, backup, &backup, []Secret{k.admin}, k.state, &k.state} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			leaks(t, k, fmt.Sprintf(verb, v))
		}
		leaks(t, k, fmt.Sprint(v)+fmt.Sprintln(v))
		b, err := json.Marshal(v)
		leaks(t, k, fmt.Sprint(string(b), err))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		leaks(t, k, log.String())
	}
	if got := fmt.Sprintf("%v %s", k, (*Keyring)(nil)); got != "keyring(hub-1) keyring(none)" {
		t.Errorf("a keyring prints as %q", got)
	}
}

// Whatever is broken in a file, the error does not quote it.
func TestErrorsQuoteNothing(t *testing.T) {
	k := newKeyring(t)
	good, err := k.encode("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, b := range [][]byte{good[:i], append(bytes.Clone(good[:i]), good[i+1:]...), bytes.Replace(good, good[i:i+1], []byte(`"`), 1)} {
			if _, err := decode(b, ""); err != nil {
				leaks(t, k, err.Error())
			}
		}
	}
	for _, secret := range []string{string(k.age.Bytes()), string(k.state.Bytes())} {
		if _, err := Seal(secret, nil); err == nil {
			t.Error("a secret is taken for a recipient")
		} else {
			leaks(t, k, err.Error())
		}
	}
}

func TestWipe(t *testing.T) {
	k := newKeyring(t)
	seed, identity := k.admin.Bytes(), k.age.Bytes()
	k.Wipe()
	if !bytes.Equal(seed, make([]byte, len(seed))) || !bytes.Equal(identity, make([]byte, len(identity))) {
		t.Error("secrets are still there")
	}
	if k.AdminKey() != nil || k.AdminPublic() != nil || k.Recipient() != "" || k.StatePassphrase().Bytes() != nil {
		t.Error("a wiped keyring still gives something")
	}
	if _, err := k.Unseal(nil); err == nil {
		t.Error("a wiped keyring unseals")
	}
	k.Wipe()
	Secret{}.Wipe()
}

// Keyrings of format 1 open for ever.
func TestGolden(t *testing.T) {
	dir := folder(t)
	if *update {
		k := newKeyring(t)
		if err := k.Save(dir, nil); err != nil {
			t.Fatal(err)
		}
		plain, err := os.ReadFile(filepath.Join(dir, UnprotectedFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Save(dir, pass); err != nil {
			t.Fatal(err)
		}
		sealed, err := os.ReadFile(filepath.Join(dir, ProtectedFile))
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"keyring-v1.json": plain, "keyring-v1.age": sealed} {
			if err := os.WriteFile(filepath.Join("testdata", name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	plain, err := os.ReadFile("testdata/keyring-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile("testdata/keyring-v1.age")
	if err != nil {
		t.Fatal(err)
	}
	a, err := decode(plain, practiceOnly)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.encode(practiceOnly); err != nil || !bytes.Equal(again, plain) {
		t.Errorf("format 1 is written differently now: %v", err)
	}
	b, err := unlock(sealed, pass)
	if err != nil {
		t.Fatal(err)
	}
	same(t, a, b)
}

func FuzzDecode(f *testing.F) {
	k := newKeyring(f)
	for _, label := range []string{"", practiceOnly} {
		b, err := k.encode(label)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, label)
	}
	f.Fuzz(func(t *testing.T, b []byte, label string) {
		k, err := decode(b, label)
		if err != nil {
			return
		}
		again, err := k.encode(label)
		if err != nil {
			return // a date that JSON reads and does not write
		}
		back, err := decode(again, label)
		if err != nil {
			t.Fatal(err)
		}
		if back.Recipient() != k.Recipient() || !back.AdminPublic().Equal(k.AdminPublic()) {
			t.Error("a keyring changes when it is written")
		}
	})
}
