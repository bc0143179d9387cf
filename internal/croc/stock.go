package croc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// stockWanted is the oldest croc that may be used: earlier ones write outside of their folder or take messages of any
// length (CVE-2023-43616 to 43621 and later repairs), and newer than v10 is another protocol.
const stockWanted = "v10.7.0"

const (
	versionTime = 10 * time.Second
	maxStockLog = 64 << 10
)

var versionRE = regexp.MustCompile(`\bv?([0-9]+)\.([0-9]+)\.([0-9]+)`)

// CheckCroc runs bin to see that it is a croc of v10 that may be used, and explains what to do if it is not.
func CheckCroc(ctx context.Context, bin string) error {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "--version")
	dir, err := privateFolder(cmd)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd.WaitDelay = endTime
	out := &tail{max: maxStockLog}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ask %s for its version: %w", bin, err)
	}
	m := versionRE.FindStringSubmatch(out.String())
	if m == nil {
		return fmt.Errorf("%w: %s does not say a version of croc", ErrVersion, bin)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	const advice = `install v10.7.0 ("go install github.com/schollz/croc/v10@v10.7.0"), leave out --croc-bin, or paste the text`
	switch {
	case major > 10:
		return fmt.Errorf("%w: %s is croc %s, whose protocol v10 cannot talk to; both sides need v10: %s", ErrVersion, bin, m[0], advice)
	case major < 10 || minor < 7:
		return fmt.Errorf("%w: %s is croc %s, which is too old to be safe with what strangers send: %s", ErrVersion, bin, m[0], advice)
	}
	return nil
}

// stock returns a command that runs the user's croc with code in its environment. limit bounds each file that it
// writes, whatever the other side says of its size.
func (c Carrier) stock(ctx context.Context, code string, limit int, args ...string) (cmd *exec.Cmd, done func(), err error) {
	if err := CheckCroc(ctx, c.CrocBin); err != nil {
		return nil, nil, err
	}
	bin, err := exec.LookPath(c.CrocBin)
	if err != nil {
		return nil, nil, err
	}
	// In blocks of 512 or 1024 bytes, as the shell likes; 4 GiB of addresses are enough for a Go program.
	script := fmt.Sprintf(`ulimit -f %d; ulimit -v 4194304 2>/dev/null; exec "$0" "$@"`, limit/512+128)
	all := append([]string{"-c", script, bin, "--relay", c.Relay, "--yes", "--disable-clipboard"}, args...)
	cmd = exec.CommandContext(ctx, "/bin/sh", all...)
	cmd.WaitDelay = endTime
	dir, err := privateFolder(cmd)
	if err != nil {
		return nil, nil, err
	}
	cmd.Env = append(cmd.Env, "CROC_SECRET="+code)
	if c.Password != "" {
		cmd.Env = append(cmd.Env, "CROC_PASS="+c.Password)
	}
	return cmd, func() { os.RemoveAll(dir) }, nil
}

// stockSend is Send with the user's croc. It takes what is on standard input; --text only says that it is a text.
func (c Carrier) stockSend(ctx context.Context, code string, payload []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.wait(ctx), ErrNobody)
	defer cancel()
	cmd, done, err := c.stock(ctx, code, len(payload), "send", "--no-local", "--text", "-")
	if err != nil {
		return err
	}
	defer done()
	log := &tail{max: maxStockLog}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(payload), log
	return stockError(ctx, cmd.Run(), log)
}

// stockReceive is Receive with the user's croc.
func (c Carrier) stockReceive(ctx context.Context, code string, limit int) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.wait(ctx), ErrNobody)
	defer cancel()
	cmd, done, err := c.stock(ctx, code, limit, "--stdout", "--overwrite", "--ignore-stdin")
	if err != nil {
		return nil, err
	}
	defer done()
	log := &tail{max: maxStockLog}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	payload, readErr := io.ReadAll(io.LimitReader(out, int64(limit)+1))
	if len(payload) > limit {
		cancel()
		cmd.Wait()
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooBig, limit)
	}
	if err := errors.Join(stockError(ctx, cmd.Wait(), log), readErr); err != nil {
		return nil, err
	}
	if len(payload) == 0 {
		return nil, fmt.Errorf("%w: croc ended well and received nothing", ErrPeerLeft)
	}
	return payload, nil
}

// stockWords are croc's words for what goes wrong. Its log is not shown: it holds the code.
var stockWords = []struct {
	words string
	err   error
}{
	{"message authentication failed", ErrWrongCode},
	{"password mismatch", ErrWrongCode},
	{"bad password", fmt.Errorf("%w: it wants another password", ErrRelay)},
	{"room full", ErrRoomTaken},
	{"could not connect", fmt.Errorf("%w: nothing answers there as a relay of croc", ErrRelay)},
	{"no such host", ErrRelay},
	{"refus", ErrRefused},
	{"file too large", ErrTooBig},
}

func stockError(ctx context.Context, err error, log *tail) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, w := range stockWords {
		if strings.Contains(log.String(), w.words) {
			return w.err
		}
	}
	return fmt.Errorf("%w, or the two codes differ: croc ended with %w", ErrPeerLeft, err)
}

// tail keeps the last bytes that are written to it.
type tail struct {
	max int
	b   []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-t.max):]
	return len(b), nil
}

func (t *tail) String() string { return string(t.b) }
