package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
)

// Failure says that a run of the tool ended badly.
type Failure struct {
	Tool    string
	Command string
	Code    int
	Words   []string // what the tool said, most important first
	hint    string
	text    string // all of it
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

// wantsInit says that the folder was not initialized for its configuration after all.
func (e *Failure) wantsInit() bool {
	low := strings.ToLower(strings.Join(e.Words, " "))
	for _, sign := range []string{"tofu init", "terraform init", "required plugins are not installed", "inconsistent dependency lock"} {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

// command is a run of the tool that changes nothing in any cloud.
type command struct {
	args []string
	in   []byte
	read func(io.Reader) error // takes what it prints, as it comes
}

// ask runs a command and returns what it prints.
func (w *Workspace) ask(ctx context.Context, args ...string) ([]byte, error) {
	var out []byte
	_, err := w.run(ctx, command{args: args, read: func(r io.Reader) (err error) {
		out, err = io.ReadAll(r)
		return err
	}})
	return out, err
}

// run runs a command. Changes says that the exit code was 2, which a plan has for "there is something to do". Ctrl-C reaches
// the command through ctx alone, once.
func (w *Workspace) run(ctx context.Context, cmd command) (changes bool, err error) {
	env, err := w.environment()
	if err != nil {
		return false, err
	}
	c := exec.CommandContext(ctx, w.Tool.Path, cmd.args...)
	c.Dir, c.Env = w.Dir, env
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	var said, head bytes.Buffer
	c.Stdin, c.Stderr = bytes.NewReader(cmd.in), &said
	out, err := c.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := c.Start(); err != nil {
		return false, err
	}
	tee := io.TeeReader(out, &limited{&head})
	var odd error
	if cmd.read != nil {
		odd = cmd.read(tee)
	}
	_, _ = io.Copy(io.Discard, tee) // what is left
	err = c.Wait()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() == 2 && cmd.args[0] == "plan" {
			return true, odd
		}
		text := said.String()
		if strings.TrimSpace(text) == "" {
			text = head.String()
		}
		f := &Failure{Tool: w.Tool.Name, Command: cmd.args[0], Code: exit.ExitCode(), Words: []string{explain(text)}, text: text}
		f.hint = advice(text)
		return false, f
	}
	return false, errors.Join(err, odd)
}

// limited keeps the beginning of what is written to it.
type limited struct{ to *bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	const most = 1 << 16
	l.to.Write(b[:min(len(b), max(0, most-l.to.Len()))])
	return len(b), nil
}

var boxes = regexp.MustCompile(`(?m)^[╷╵│\s]+|\x1b\[[0-9;]*m`)

// plainly is the tool's message without its frame, on one line.
func plainly(text string) string {
	return strings.Join(strings.Fields(boxes.ReplaceAllString(text, " ")), " ")
}

var lockInfo = regexp.MustCompile(`(?s)Operation:\s*(\S*).*?Who:\s*(\S+).*?Created:\s*([^\n│]+)`)

// explain is plainly, shorter for what happens to everybody once.
func explain(text string) string {
	if strings.Contains(text, "decryption failed") {
		return "the state cannot be decrypted with this passphrase"
	}
	m := lockInfo.FindStringSubmatch(boxes.ReplaceAllString(text, "\n"))
	if m == nil || !strings.Contains(strings.ToLower(text), "state lock") {
		return plainly(text)
	}
	what := strings.ToLower(strings.TrimPrefix(m[1], "OperationType"))
	return fmt.Sprintf("the state is locked by %s since %s, for %s", m[2], strings.TrimSpace(m[3]), what)
}

// refuses says whether a cloud surely made nothing of what it was asked for. After other errors it may have.
func refuses(text string) bool {
	low := strings.ToLower(text)
	for _, sign := range []string{"quota", "limit exceeded", "limit_exceeded", "resource_unavailable", "unauthori", "invalid token", "forbidden"} {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

// refusesCredentials says whether a cloud did not take who asks.
func refusesCredentials(text string) bool {
	low := strings.ToLower(text)
	for _, sign := range []string{"unauthori", "invalid token", "invalid api", "401", "403", "forbidden", "authentication failed", "token must be", "not authenticate"} {
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}

// advice knows what to do about some of what tools and clouds say.
func advice(text string) string {
	low := strings.ToLower(text)
	for _, a := range []struct{ sign, next string }{
		{"decryption failed", "the state was encrypted with another passphrase: bring back the operator keyring that it was made with"},
		{"encrypted_data", "the state was encrypted by OpenTofu, which Terraform cannot read: use tofu"},
		{"encountered an encrypted", "the state is encrypted: bring back the operator keyring that it was made with"},
		{"error acquiring the state lock", "wait for the other run. Only if it has surely ended: 'force-unlock' by hand, in the folder of the machines"},
		{"unsupported state file format", "if OpenTofu made this state, it is encrypted, and Terraform cannot read it: use tofu"},
		{"resource_unavailable", "the cloud has no room for this size in this region: choose another size or region in the config, or try later"},
		{"quota", "the account's limit is reached: ask the cloud for a higher one, or free something"},
		{"limit exceeded", "the account's limit is reached: ask the cloud for a higher one, or free something"},
		{"limit_exceeded", "the account's limit is reached: ask the cloud for a higher one, or free something"},
		{"rate limit", "the cloud answers too many requests no more: wait some minutes, then apply again"},
		{"rate_limit", "the cloud answers too many requests no more: wait some minutes, then apply again"},
		{"no space left on device", "the disk is full: free some space, then apply again"},
	} {
		if strings.Contains(low, a.sign) {
			return a.next
		}
	}
	if refusesCredentials(text) {
		return "the credentials are not accepted: check the cloud's variables in the environment; docs/clouds.md names them"
	}
	return "what was done stays and is known; run 'pressenter apply' to go on"
}
