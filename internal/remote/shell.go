package remote

import (
	"context"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/ssh"
)

// Shell runs the login shell of the user that a host is reached as, in a terminal.
func (p *Provider) Shell(ctx context.Context, h deployment.Host, t ssh.Terminal) error {
	c, err := p.dial(ctx, h)
	if err != nil {
		return err
	}
	return c.Shell(ctx, t)
}

// Exec runs a command on a host.
func (p *Provider) Exec(ctx context.Context, h deployment.Host, cmd ssh.Command) error {
	c, err := p.dial(ctx, h)
	if err != nil {
		return err
	}
	return c.Run(ctx, cmd)
}
