package croc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// program is what pressenter-croc is called.
const program = "pressenter-croc"

const (
	maxLines  = 100 // of a child's standard error
	maxDetail = 300 // bytes of its words in an error
	endTime   = 2 * time.Second
)

// header is the first line of the child's standard input.
type header struct {
	Code     string `json:"code,omitempty"`
	Password string `json:"password,omitempty"`
	Size     int    `json:"size,omitempty"`
}

// report is a line of the child's standard error.
type report struct {
	Event   string `json:"event"`
	Address string `json:"address"`
	Error   string `json:"error"`
	Detail  string `json:"detail"`
}

// kinds are the child's names of what went wrong.
var kinds = map[string]error{
	"wrong-code":        ErrWrongCode,
	"nobody":            ErrNobody,
	"timed-out":         ErrTimedOut,
	"relay-unreachable": ErrRelay,
	"relay-refused":     ErrRelay,
	"room-taken":        ErrRoomTaken,
	"same-side":         ErrRoomTaken,
	"other-version":     ErrVersion,
	"peer-left":         ErrPeerLeft,
	"too-big":           ErrTooBig,
	"refused":           ErrRefused,
	"protocol":          ErrProtocol,
}

// find returns pressenter-croc.
func (c Carrier) find() (string, error) {
	if c.Bin != "" {
		return c.Bin, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), program)
	if s, err := os.Stat(beside); err == nil && s.Mode().IsRegular() {
		return beside, nil
	}
	if p, err := exec.LookPath(program); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("%w: it is neither beside %s nor in PATH; build it with \"make croc\", or name a croc %s with --croc-bin",
		ErrMissing, self, stockWanted)
}

// child is a running pressenter-croc.
type child struct {
	cmd    *exec.Cmd
	events *bufio.Scanner
	out    io.Reader
	dir    string
}

// start starts pressenter-croc in an empty folder, without our environment, and hands it h and payload.
func (c Carrier) start(ctx context.Context, h header, payload []byte, args ...string) (p *child, err error) {
	bin, err := c.find()
	if err != nil {
		return nil, err
	}
	p = &child{cmd: exec.CommandContext(ctx, bin, args...)}
	p.cmd.WaitDelay = endTime
	if p.dir, err = privateFolder(p.cmd); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(p.dir)
		}
	}()
	in, err := p.cmd.StdinPipe() // stays open as long as we live, and tells the child when we do not
	if err != nil {
		return nil, err
	}
	events, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	p.events = bufio.NewScanner(events)
	p.events.Buffer(nil, 8<<10)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	h.Size = len(payload)
	first, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings only
	}
	go func() {
		in.Write(append(append(first, '\n'), payload...)) // a child that reads no more says why
	}()
	return p, nil
}

// privateFolder gives cmd an empty folder to work in, and an environment that knows nothing but it.
func privateFolder(cmd *exec.Cmd) (string, error) {
	dir, err := os.MkdirTemp("", "pressenter-croc-")
	if err != nil {
		return "", err
	}
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + dir, "TMPDIR=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_CACHE_HOME=" + dir, "CROC_CONFIG_DIR=" + dir,
		"PATH=/usr/bin:/bin",
	}
	return dir, nil
}

// next returns the child's next report; false when it says nothing more.
func (p *child) next() (r report, ok bool) {
	if !p.events.Scan() || json.Unmarshal(p.events.Bytes(), &r) != nil {
		return report{}, false
	}
	return r, true
}

// end waits for the child's end and says what went wrong, which last says unless it was killed.
func (p *child) end(ctx context.Context, last report) error {
	err := p.cmd.Wait()
	os.RemoveAll(p.dir)
	switch kind := kinds[last.Error]; {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case kind != nil:
		return fmt.Errorf("%w: %s", kind, printable(last.Detail))
	case last.Error != "":
		return fmt.Errorf("%s: %s", program, printable(last.Detail))
	}
	return fmt.Errorf("%s: %w", program, err)
}

// printable returns words that a terminal can be shown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

// transfer runs one transfer.
func (c Carrier) transfer(ctx context.Context, command, code string, payload []byte, limit int) ([]byte, error) {
	args := []string{command, "-relay", c.Relay, "-wait", c.wait(ctx).String(), "-limit", c.limit().String()}
	if limit > 0 {
		args = append(args, "-max", strconv.Itoa(limit))
	}
	p, err := c.start(ctx, header{Code: code, Password: c.Password}, payload, args...)
	if err != nil {
		return nil, err
	}
	var received bytes.Buffer
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(&received, io.LimitReader(p.out, int64(limit)+1))
		io.Copy(io.Discard, p.out)
		read <- err
	}()
	var last report
	for range maxLines {
		r, ok := p.next()
		if !ok {
			break
		}
		if last = r; r.Event == "waiting" && c.Waiting != nil {
			c.Waiting()
		}
	}
	readErr := <-read
	if err := p.end(ctx, last); err != nil {
		return nil, err
	}
	if received.Len() > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooBig, limit)
	}
	return received.Bytes(), readErr
}

// codeRE is what a code of croc v10 looks like.
var codeRE = regexp.MustCompile(`^[0-9]{4}-[a-z]+-[a-z]+-[a-z]+$`)

func (c Carrier) code(ctx context.Context) (string, error) {
	p, err := c.start(ctx, header{}, nil, "code")
	if err != nil {
		return "", err
	}
	out, readErr := io.ReadAll(io.LimitReader(p.out, 200))
	last, _ := p.next()
	if err := errors.Join(p.end(ctx, last), readErr); err != nil {
		return "", err
	}
	code := strings.TrimSpace(string(out))
	if !codeRE.MatchString(code) {
		return "", fmt.Errorf("%s made no code", program)
	}
	return code, nil
}

func (c Carrier) relay(ctx context.Context, address string, ready func(string)) error {
	p, err := c.start(ctx, header{Password: c.Password}, nil, "relay", "-listen", address)
	if err != nil {
		return err
	}
	var last report
	for {
		r, ok := p.next()
		if !ok {
			break
		}
		if last = r; r.Event == "listening" && ready != nil {
			ready(r.Address)
		}
	}
	switch err := p.end(ctx, last); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	return errors.New("the relay ended by itself")
}
