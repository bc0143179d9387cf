package remote

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/ssh"
)

// Look reads a server on which a chain's daemon runs already. Nothing is brought there or changed.
func (p *Provider) Look(ctx context.Context, h deployment.Host, unit string) (*adopt.Found, error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return nil, err
	}
	return adopt.Look(ctx, reader{c}, unit)
}

// reader is an [adopt.Shell] over SSH.
type reader struct{ client *ssh.Client }

// Run implements adopt.Shell.
func (r reader) Run(ctx context.Context, script string, limit int64, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := bounded{left: limit, end: cancel}
	err := r.client.Run(ctx, ssh.Command{Args: append([]string{"/bin/sh", "-c", script, "pressenter-look"}, args...), Stdout: &out, Sudo: true})
	if out.left < 0 {
		return nil, fmt.Errorf("the server tells more than %d bytes", limit)
	}
	return out.Bytes(), err
}

// bounded keeps no more than left bytes, and ends what writes more.
type bounded struct {
	bytes.Buffer
	left int64
	end  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		b.left = -1
		b.end()
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
