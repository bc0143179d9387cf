package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

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
// When ctx ends, Run returns at once, and the command and what it started get SIGTERM, their input ends and their output goes
// nowhere.
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
	start   *beginning // nil for a shell in a terminal
	kill    string     // the line that ends it, after its number
	ended   chan error
}

func (c *Client) start(ctx context.Context, cmd Command) (*process, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("run on a server: no command")
	}
	line, kill := Quote(cmd.Args...), "kill -TERM -- -"
	if cmd.Sudo {
		as, err := c.Privilege(ctx)
		if err != nil {
			return nil, err
		}
		if line, err = as.wrap(c, line); err != nil {
			return nil, err
		}
		kill, _ = as.wrap(c, kill)
	}
	session, release, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{client: c, session: session, release: release, name: shorten(cmd.Args), stderr: &tail{most: 2048}, kill: kill}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.ended = make(chan error, 1)
	if err := p.begin(cmd, announce+line); err != nil {
		p.cancel(nil)
		release()
		return nil, err
	}
	return p, nil
}

func (p *process) begin(cmd Command, line string) error {
	p.start = &beginning{w: &guarded{w: cmd.Stdout, fail: p.cancel}}
	p.session.Stdout = p.start
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
		go p.end()
	}
	return fmt.Errorf("run %s on %s: %w", p.name, p.client.Host(), context.Cause(p.ctx))
}

// end stops a command that nobody waits for. sshd passes no signal on to a command of root's, nor to one under sudo, so a
// second command does that too. It takes the session that open leaves free.
func (p *process) end() {
	p.session.Signal(ssh.SIGTERM)
	p.release()
	if p.start == nil || p.start.number() == "" {
		return
	}
	c := p.client
	c.ending.Lock()
	defer c.ending.Unlock()
	s, err := within(context.Background(), c.limits.Session, c.ssh().NewSession)
	if err != nil {
		return
	}
	stop := time.AfterFunc(c.limits.Session, func() { s.Close() })
	defer stop.Stop()
	defer s.Close()
	s.Run(p.kill + p.start.number())
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
		if e.Stderr == "" && p.start != nil {
			e.Stderr = p.start.before() // a login shell that lets nobody in says so on its output
		}
		return e
	}
	return p.client.failure(fmt.Errorf("run %s: %w", p.name, err))
}

// announce has the login shell tell its number, which is that of the command and of its group, before it becomes the
// command. What a shell's own start-up files print comes before that, and is dropped.
const announce = `printf '\npressenter-pid %s\n' $$; exec `

var announced = regexp.MustCompile(`\npressenter-pid ([0-9]+)\n`)

// beginning takes the announcement off the output.
type beginning struct {
	w    io.Writer
	mu   sync.Mutex
	seen []byte // until the announcement came
	pid  string
}

func (b *beginning) Write(p []byte) (int, error) {
	if b.number() != "" {
		return b.w.Write(p)
	}
	b.mu.Lock()
	b.seen = append(b.seen, p...)
	at := announced.FindSubmatchIndex(b.seen)
	if at == nil {
		over := len(b.seen) > 1<<16
		b.mu.Unlock()
		if over {
			return 0, errors.New("the login shell prints without end")
		}
		return len(p), nil
	}
	b.pid = string(b.seen[at[2]:at[3]])
	rest := b.seen[at[1]:]
	b.seen = nil
	b.mu.Unlock()
	if len(rest) > 0 {
		if _, err := b.w.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (b *beginning) number() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pid
}

func (b *beginning) before() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return printable(string(b.seen), 300)
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
