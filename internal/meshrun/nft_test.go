package meshrun

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeNFT puts a program called nft in a folder of its own.
func fakeNFT(t *testing.T, script string) (folder string) {
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "nft"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestLoadRules(t *testing.T) {
	t.Setenv("SECRET", "not for others")
	folder := fakeNFT(t, `/bin/cat > "$(/usr/bin/dirname "$0")/got"; echo "$@" > "$(/usr/bin/dirname "$0")/args"; /usr/bin/env > "$(/usr/bin/dirname "$0")/env"`)
	if err := loadRules(t.Context(), folder+":/usr/bin:/bin", "table inet x\n"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"got": "table inet x\n", "args": "-f -\n"} {
		if b, err := os.ReadFile(filepath.Join(folder, file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", file, b, err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(folder, "env")); err != nil || strings.Contains(string(b), "SECRET") {
		t.Errorf("nft was told of our environment (%v): %s", err, b)
	}
}

func TestLoadRulesFails(t *testing.T) {
	for name, test := range map[string]struct {
		folder string
		want   string
	}{
		"absent":   {t.TempDir(), "install the package nftables"},
		"refuses":  {fakeNFT(t, "echo 'Error: syntax error' >&2; exit 1"), "exit status 1: Error: syntax error"},
		"verbose":  {fakeNFT(t, "i=0; while [ $i -lt 1000 ]; do echo 'Error: syntax error' >&2; i=$((i+1)); done; exit 1"), " …"},
		"a folder": {filepath.Dir(mkdir(t, "nft")), "install the package nftables"},
	} {
		err := loadRules(t.Context(), test.folder, "x")
		if err == nil || !strings.HasSuffix(err.Error(), test.want) || len(err.Error()) > 1200 {
			t.Errorf("%s: %v, want …%s", name, err, test.want)
		}
	}
}

func mkdir(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
