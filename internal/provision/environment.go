package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pressenter/pressenter/tofu"
)

// passed are the variables of our environment that every run may see.
var passed = []string{
	"HOME", "PATH", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR",
}

// environment is all that the tool and its providers see of ours: nothing but what they need.
func (w *Workspace) environment() ([]string, error) {
	names := slices.Concat(passed, w.Extra)
	for _, name := range slices.Concat(w.Clouds, w.kept) {
		c, ok := tofu.Lookup(name)
		if !ok {
			return nil, fmt.Errorf("there is no cloud %q", name)
		}
		names = append(names, c.Environment...)
	}
	env := []string{"TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1"}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if v, ok := w.lookup(name); ok {
			env = append(env, name+"="+v)
		}
	}
	if w.Tool.Encrypts() && len(w.Passphrase) > 0 {
		text, err := encryption(w.Passphrase)
		if err != nil {
			return nil, err
		}
		env = append(env, "TF_ENCRYPTION="+text)
	}
	return env, nil
}

// lookup is a variable of our environment.
func (w *Workspace) lookup(name string) (string, bool) {
	if w.variable != nil {
		return w.variable(name)
	}
	return os.LookupEnv(name)
}

// encryption is OpenTofu's own configuration of how state and plans are encrypted. The names in it must never change:
// what was encrypted under one name is not found under another. A state that is not encrypted yet is read.
//
// The tool derives a key each time that it writes its state. The passphrase is of a keyring and nothing that a person
// thought of, so the fewest iterations that the tool allows are enough; the default made every command take seconds.
func encryption(passphrase []byte) (string, error) {
	if !utf8.Valid(passphrase) || utf8.RuneCount(passphrase) < 16 {
		return "", errors.New("the passphrase of the state is not text of 16 characters or more")
	}
	secret, err := json.Marshal(string(passphrase))
	if err != nil {
		return "", err
	}
	text := strings.NewReplacer("${", "$${", "%{", "%%{").Replace(string(secret)) // or they were templates
	return `key_provider "pbkdf2" "operator" {
  passphrase    = ` + text + `
  iterations    = 200000
  hash_function = "sha256"
}
method "aes_gcm" "operator" {
  keys = key_provider.pbkdf2.operator
}
method "unencrypted" "before" {}
state {
  method = method.aes_gcm.operator
  fallback {
    method = method.unencrypted.before
  }
}
plan {
  method = method.aes_gcm.operator
}
`, nil
}
