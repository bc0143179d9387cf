package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pressenter/pressenter/tofu"
)

// Tool is a program that makes machines.
type Tool struct {
	Name    string // "tofu" or "terraform"
	Path    string
	Version string
}

// Encrypts says whether the tool can encrypt its state.
func (t Tool) Encrypts() bool { return t.Name == "tofu" }

// NoTool says that there is no program to make machines with.
type NoTool struct{ Why string }

// Error implements error.
func (e *NoTool) Error() string { return e.Why }

// Hint says what to do.
func (e *NoTool) Hint() string {
	return "install OpenTofu 1.8 or newer (https://opentofu.org/docs/intro/install/), or Terraform 1.6 or newer"
}

// least are the oldest versions whose event stream and flags are those that are used here.
var least = map[string][2]int{"tofu": {1, 8}, "terraform": {1, 6}}

// Find looks for a program to make machines with: the given one, or else tofu and then terraform in PATH.
func Find(ctx context.Context, given string) (Tool, error) {
	names := []string{given}
	if given == "" {
		names = []string{"tofu", "terraform"}
	}
	var why []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			why = append(why, fmt.Sprintf("%s is not there", name))
			continue
		}
		t, err := look(ctx, path)
		if err == nil {
			return t, nil
		}
		why = append(why, err.Error())
	}
	return Tool{}, &NoTool{"machines need OpenTofu or Terraform: " + strings.Join(why, "; ")}
}

var banner = regexp.MustCompile(`^(OpenTofu|Terraform) v(\d+)\.(\d+)\.(\S+)`)

// look asks a program what it is.
func look(ctx context.Context, path string) (Tool, error) {
	c := exec.CommandContext(ctx, path, "version")
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "CHECKPOINT_DISABLE=1"}
	out, err := c.Output()
	if err != nil {
		return Tool{}, fmt.Errorf("%s does not tell its version: %w", path, err)
	}
	m := banner.FindStringSubmatch(string(out))
	if m == nil {
		return Tool{}, fmt.Errorf("%s is neither OpenTofu nor Terraform", path)
	}
	t := Tool{Name: map[string]string{"OpenTofu": "tofu", "Terraform": "terraform"}[m[1]], Path: path, Version: m[2] + "." + m[3] + "." + m[4]}
	major, _ := strconv.Atoi(m[2]) // digits
	minor, _ := strconv.Atoi(m[3])
	if want := least[t.Name]; major < want[0] || major == want[0] && minor < want[1] {
		return Tool{}, fmt.Errorf("%s is %s %s, older than %d.%d", path, m[1], t.Version, want[0], want[1])
	}
	return t, nil
}

// passed are the variables of our environment that every run may see.
var passed = []string{
	"HOME", "PATH", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR",
}

// environment is all that the tool and its providers see of ours: nothing but what they need.
func (w *Workspace) environment() ([]string, error) {
	names := slices.Concat(passed, w.Extra)
	for _, name := range w.Clouds {
		c, ok := tofu.Lookup(name)
		if !ok {
			return nil, fmt.Errorf("there is no cloud %q", name)
		}
		names = append(names, c.Environment...)
	}
	env := []string{"TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1"}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if v, ok := os.LookupEnv(name); ok {
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

// encryption is OpenTofu's own configuration of how state and plans are encrypted. The names in it must never change:
// what was encrypted under one name is not found under another. A state that is not encrypted yet is read.
func encryption(passphrase []byte) (string, error) {
	secret, err := json.Marshal(string(passphrase))
	if err != nil {
		return "", err
	}
	text := string(secret)
	if strings.Contains(text, "${") || strings.Contains(text, "%{") {
		return "", errors.New("the passphrase of the state has a template sequence in it")
	}
	return `key_provider "pbkdf2" "operator" { passphrase = ` + text + ` }
method "aes_gcm" "operator" { keys = key_provider.pbkdf2.operator }
method "unencrypted" "before" {}
state {
  method = method.aes_gcm.operator
  fallback { method = method.unencrypted.before }
}
plan {
  method = method.aes_gcm.operator
}
`, nil
}

// Failure says that a run of the tool ended badly.
type Failure struct {
	Tool    string
	Command string
	Code    int
	Words   []string // what the tool said, most important first
	hint    string
}

// Error implements error.
func (e *Failure) Error() string {
	words := strings.Join(e.Words, "; ")
	if words == "" {
		words = fmt.Sprintf("exit code %d", e.Code)
	}
	return fmt.Sprintf("%s %s: %s", e.Tool, e.Command, words)
}

// Hint says what to do.
func (e *Failure) Hint() string { return e.hint }

// ask runs a command that changes nothing in any cloud, and returns what it prints.
func (w *Workspace) ask(ctx context.Context, args ...string) ([]byte, error) {
	env, err := w.environment()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, w.Tool.Path, args...)
	c.Dir, c.Env = w.Dir, env
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err = c.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		text := said.String()
		if strings.TrimSpace(text) == "" {
			text = out.String()
		}
		f := &Failure{Tool: w.Tool.Name, Command: args[0], Code: exit.ExitCode(), Words: []string{plainly(text)}}
		f.hint = advice(text)
		return nil, f
	}
	return out.Bytes(), err
}

var boxes = regexp.MustCompile(`(?m)^[╷╵│\s]+|\x1b\[[0-9;]*m`)

// plainly is the tool's message without its frame, on one line.
func plainly(text string) string {
	return strings.Join(strings.Fields(boxes.ReplaceAllString(text, " ")), " ")
}

// advice knows what to do about some of what tools and clouds say.
func advice(text string) string {
	low := strings.ToLower(text)
	for _, a := range []struct{ sign, next string }{
		{"error acquiring the state lock", "another run holds the lock, its message says who and since when; wait for it. Only if nobody runs: 'force-unlock' by hand, in the folder of the machines"},
		{"decryption failed", "the state was encrypted with another passphrase: bring back the operator keyring that it was made with"},
		{"resource_unavailable", "the cloud has no room for this size in this region: choose another size or region in the config, or try later"},
		{"quota", "the account's limit is reached: ask the cloud for a higher one, or free something"},
		{"limit exceeded", "the account's limit is reached: ask the cloud for a higher one, or free something"},
		{"rate limit", "the cloud answers too many requests no more: wait some minutes, then apply again"},
		{"unauthorized", "the credentials are not accepted: check the cloud's variables in the environment"},
		{"invalid token", "the credentials are not accepted: check the cloud's variables in the environment"},
		{"no space left on device", "the disk is full: free some space, then apply again"},
	} {
		if strings.Contains(low, a.sign) {
			return a.next
		}
	}
	return "what was done stays and is known; run 'pressenter apply' to go on"
}
