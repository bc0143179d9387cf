package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Command is what to run on a server.
type Command struct {
	Args   []string // passed on exactly, each as one argument
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Sudo   bool // as root: through sudo, if the user is somebody else
}

// ExitError says that a command ran and ended badly.
type ExitError struct {
	Command string
	Status  int    // 0 if a signal ended it
	Signal  string // for example TERM
	Stderr  string // the end of it
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("ended with status %d", e.Status)
	if e.Signal != "" {
		how = "was ended by signal " + e.Signal
	}
	if e.Stderr == "" {
		return fmt.Sprintf("%s %s", e.Command, how)
	}
	return fmt.Sprintf("%s %s: %s", e.Command, how, e.Stderr)
}

// Run runs a command and waits for its end. An end that is not success is an [ExitError].
//
// When ctx ends, the command gets SIGTERM, its input ends and its output goes nowhere, and Run returns at once. A command
// under sudo gets no signal, because sshd may not send it one: it ends when it reads or writes next.
func (c *Client) Run(ctx context.Context, cmd Command) error {
	p, err := c.start(ctx, cmd)
	if err != nil {
		return err
	}
	return p.wait()
}

// process is a command that runs.
type process struct {
	client  *Client
	session *ssh.Session
	release func()
	ctx     context.Context
	cancel  context.CancelCauseFunc
	name    string
	stderr  *tail
	ended   chan error
}

func (c *Client) start(ctx context.Context, cmd Command) (*process, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("run on a server: no command")
	}
	line := Quote(cmd.Args...)
	if cmd.Sudo {
		as, err := c.Privilege(ctx)
		if err != nil {
			return nil, err
		}
		if line, err = as.wrap(c, line); err != nil {
			return nil, err
		}
	}
	session, release, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{client: c, session: session, release: release, name: shorten(cmd.Args), stderr: &tail{most: 2048}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.ended = make(chan error, 1)
	if err := p.begin(cmd, line); err != nil {
		p.cancel(nil)
		release()
		return nil, err
	}
	return p, nil
}

func (p *process) begin(cmd Command, line string) error {
	p.session.Stdout = &guarded{w: cmd.Stdout, fail: p.cancel}
	p.session.Stderr = &guarded{w: io.MultiWriter(p.stderr, orDiscard(cmd.Stderr)), fail: p.cancel}
	stdin, err := p.session.StdinPipe()
	if err != nil {
		return fmt.Errorf("run %s: %w", p.name, err)
	}
	_, err = within(p.ctx, p.client.limits.Session, func() (*ssh.Session, error) { return nil, p.session.Start(line) })
	switch {
	case err == nil:
	case p.ctx.Err() != nil:
		return fmt.Errorf("run %s on %s: %w", p.name, p.client.Host(), context.Cause(p.ctx))
	case timedOut(err):
		return &Error{
			Step: StepSession, Host: p.client.Host(), Err: fmt.Errorf("%s did not start within %s", p.name, p.client.limits.Session),
			hint: "the server may be overloaded, or its disk or a network file system hangs",
		}
	default:
		return p.client.failure(fmt.Errorf("start %s: %w", p.name, err))
	}
	go p.feed(stdin, cmd.Stdin)
	go func() { p.ended <- p.session.Wait() }()
	return nil
}

// feed copies the input. The command does not wait for it: a terminal's input never ends.
func (p *process) feed(stdin io.WriteCloser, from io.Reader) {
	defer stdin.Close()
	if from == nil {
		return
	}
	source := &guardedReader{r: from}
	io.Copy(stdin, source) // a command may end without reading all
	if source.err != nil {
		p.cancel(fmt.Errorf("read the input of %s: %w", p.name, source.err))
	}
}

func (p *process) wait() error {
	defer p.cancel(nil)
	select {
	case err := <-p.ended:
		p.release()
		if err == nil || p.ctx.Err() == nil {
			return p.result(err)
		}
	case <-p.ctx.Done():
		go func() { // a dead connection takes nothing
			p.session.Signal(ssh.SIGTERM)
			p.release()
		}()
	}
	return fmt.Errorf("run %s on %s: %w", p.name, p.client.Host(), context.Cause(p.ctx))
}

func (p *process) result(err error) error {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		e := &ExitError{Command: p.name, Status: exit.ExitStatus(), Signal: exit.Signal(), Stderr: p.stderr.String()}
		if e.Signal != "" {
			e.Status = 0 // the library makes one up
		}
		return e
	}
	return p.client.failure(fmt.Errorf("run %s: %w", p.name, err))
}

// shorten names a command in messages: scripts are long.
func shorten(args []string) string {
	s, _, cut := strings.Cut(strings.Join(args, " "), "\n")
	if len(s) > 60 {
		s, cut = s[:60], true
	}
	if cut {
		s += "…"
	}
	return fmt.Sprintf("%q", s)
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// guarded ends the command when its output cannot be written: it would wait forever for somebody to take it.
type guarded struct {
	w    io.Writer
	fail context.CancelCauseFunc
}

func (g *guarded) Write(p []byte) (int, error) {
	if g.w == nil {
		return len(p), nil
	}
	n, err := g.w.Write(p)
	if err != nil {
		g.fail(fmt.Errorf("write the output: %w", err))
	}
	return n, err
}

// guardedReader keeps the error of a source apart from that of the connection.
type guardedReader struct {
	r   io.Reader
	err error
}

func (g *guardedReader) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		g.err = err
	}
	return n, err
}

// tail keeps the end of what is written to it.
type tail struct {
	most int
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - t.most; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return printable(string(t.data), t.most)
}
