package node

import (
	"os"
	"strings"
	"testing"
)

// TestTakes: files of today's init can be edited into a validator's; others are refused before anything depends on it.
func TestTakes(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("testdata/init/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	comet, app := read("config.toml"), read("app.toml")
	if err := Takes([]byte(comet), []byte(app)); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func() (string, string){
		"double_sign_check_height": func() (string, string) {
			return strings.Replace(comet, "\ndouble_sign_check_height", "\ndouble-sign-check-height", 1), app
		},
		"state-sync.snapshot-interval": func() (string, string) {
			return comet, strings.Replace(app, "\nsnapshot-interval", "\nwas-interval", 1)
		},
		"node_key_file is /etc/key": func() (string, string) {
			return strings.Replace(comet, `"config/node_key.json"`, `"/etc/key"`, 1), app
		},
		"db_dir is /mnt/db": func() (string, string) {
			return strings.Replace(comet, `db_dir = "data"`, `db_dir = "/mnt/db"`, 1), app
		},
		"consensus.wal_file":  func() (string, string) { return strings.Replace(comet, "data/cs.wal/wal", "/mnt/wal", 1), app },
		"config.toml is no":   func() (string, string) { return "[[[", app },
		"app.toml is no TOML": func() (string, string) { return comet, "= 7" },
		"a signer elsewhere": func() (string, string) {
			return strings.Replace(comet, `priv_validator_laddr = ""`, `priv_validator_laddr = "tcp://x:1"`, 1), app
		},
	} {
		c, a := change()
		if err := Takes([]byte(c), []byte(a)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
