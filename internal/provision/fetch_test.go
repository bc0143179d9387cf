package provision

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// packed is an archive as OpenTofu's releases are, of names and what they hold.
func packed(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestFetch fetches a tool where there is none, and takes nothing but what is known.
func TestFetch(t *testing.T) {
	good := packed(t, [2]string{"LICENSE", "of it"}, [2]string{"tofu", "#!/bin/sh\necho 'OpenTofu v1.12.6'\n"})
	var asked atomic.Int32
	var sent []byte
	path := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		path = r.URL.Path
		if sent == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(sent)
	}))
	t.Cleanup(s.Close)
	platform := runtime.GOOS + "_" + runtime.GOARCH
	fetcher := func(sum string) Fetcher {
		return Fetcher{Base: s.URL, Folder: filepath.Join(t.TempDir(), "kept"), archives: map[string]string{platform: sum}}
	}
	t.Setenv("PATH", t.TempDir())
	for _, c := range []struct {
		name, words string
		sent        []byte
		known       string
	}{
		{"not there", "404", nil, sumOf(good)},
		{"changed", "nothing of it was run or kept", packed(t, [2]string{"tofu", "#!/bin/sh\ntouch ran\n"}), sumOf(good)},
		{"cut off", "nothing of it was run or kept", good[:len(good)-7], sumOf(good)},
		{"no archive", "unpack", []byte("hello"), sumOf([]byte("hello"))},
		{"without it", "look for the program", packed(t, [2]string{"x/tofu", ""}), ""},
	} {
		sent = c.sent
		if c.known == "" {
			c.known = sumOf(sent)
		}
		f := fetcher(c.known)
		if got, err := Find(t.Context(), "", f); err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(hint(err), "opentofu.org") {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if left, _ := filepath.Glob(filepath.Join(f.Folder, "*")); len(left) > 0 {
			t.Errorf("%s: it left %v", c.name, left)
		}
	}

	sent = good
	f := fetcher(sumOf(good))
	var said []string
	f.Progress = func(e Event) { said = append(said, e.Message) }
	asked.Store(0)
	for range 2 {
		got, err := Find(t.Context(), "", f)
		if err != nil || got.Name != "tofu" || got.Version != fetched {
			t.Fatalf("%+v, %v", got, err)
		}
		if st, err := os.Stat(got.Path); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
	}
	if asked.Load() != 1 || path != "/v"+fetched+"/tofu_"+fetched+"_"+platform+".tar.gz" || len(said) != 2 {
		t.Errorf("asked %d times for %s, and said %q", asked.Load(), path, said)
	}
	// Who names a tool gets that one or none.
	if got, err := Find(t.Context(), "terraform", f); err == nil {
		t.Errorf("another tool than the named one: %+v", got)
	}
}

// TestFetchedIsTested holds the release that users get to the one that the tests run.
func TestFetchedIsTested(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "tofutool", "go.mod"))
	if err != nil || !strings.Contains(string(mod), "github.com/opentofu/opentofu v"+fetched) {
		t.Errorf("fetched is %s, and tofutool/go.mod has another: %v", fetched, err)
	}
	for platform, sum := range archives {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
			t.Errorf("%s: %q", platform, sum)
		}
	}
}
