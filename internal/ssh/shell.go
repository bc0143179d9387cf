package ssh

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// Terminal is where a person sits. Its owner makes it raw.
type Terminal struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Kind    string // TERM; xterm-256color if empty
	Size    Size
	Resized <-chan Size // nil if it never is
}

// Size is that of a terminal, in characters.
type Size struct{ Columns, Rows int }

// Shell runs the user's login shell in a terminal until it ends or ctx does. A shell that ends with another status than 0
// is an [ExitError]: that of its last command.
func (c *Client) Shell(ctx context.Context, t Terminal) error {
	session, release, err := c.open(ctx)
	if err != nil {
		return err
	}
	p := &process{client: c, session: session, release: release, name: "the shell", stderr: &tail{}, ended: make(chan error, 1)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	if err := p.shell(t); err != nil {
		p.cancel(nil)
		release()
		return c.failure(fmt.Errorf("start a shell: %w", err))
	}
	return p.wait()
}

func (p *process) shell(t Terminal) error {
	p.session.Stdout = &guarded{w: t.Stdout, fail: p.cancel}
	p.session.Stderr = &guarded{w: t.Stderr, fail: p.cancel}
	stdin, err := p.session.StdinPipe()
	if err != nil {
		return err
	}
	_, err = within(p.ctx, p.client.limits.Session, func() (*ssh.Session, error) {
		if err := p.session.RequestPty(cmp.Or(t.Kind, "xterm-256color"), t.Size.Rows, t.Size.Columns, ssh.TerminalModes{}); err != nil {
			return nil, err
		}
		return nil, p.session.Shell()
	})
	if err != nil {
		return err
	}
	go p.feed(stdin, t.Stdin)
	go func() { p.ended <- p.session.Wait() }()
	go func() {
		for {
			select {
			case size, ok := <-t.Resized:
				if !ok {
					return
				}
				p.session.WindowChange(size.Rows, size.Columns)
			case <-p.ctx.Done():
				return
			}
		}
	}()
	return nil
}
