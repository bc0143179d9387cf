package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/takeover"
)

// Genesis reads the network's genesis from the home of a daemon that was looked at. Nothing is changed there.
func (p *Provider) Genesis(ctx context.Context, h deployment.Host, f *adopt.Found) (genesis []byte, sum string, err error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return nil, "", err
	}
	return f.Genesis(ctx, reader{c})
}

// Suits says why a server on which a daemon runs could not be a host once that is gone. Nothing is changed there.
func (p *Provider) Suits(ctx context.Context, h deployment.Host) error {
	c, err := p.dial(ctx, h)
	if err != nil {
		return err
	}
	f, err := look(ctx, c)
	if err != nil {
		return err
	}
	f.daemons, f.listens = nil, nil // they go
	if err := errors.Join(p.refuse(f, h)...); err != nil {
		return fmt.Errorf("%q cannot be a host: %w", h.Name, err)
	}
	return nil
}

// TakeOver begins to take a daemon over from its unit, or goes on with that. It goes on by itself there.
func (p *Provider) TakeOver(ctx context.Context, h deployment.Host, o takeover.Order) (takeover.State, error) {
	program, err := p.bring(ctx, h)
	if err != nil {
		return takeover.State{}, err
	}
	o.Deployment, o.Host, o.Program = p.Deployment, h.Name, program
	return call[takeover.State](ctx, p, h, program, "takeover", o)
}

// TakenOver says how far a takeover is.
func (p *Provider) TakenOver(ctx context.Context, h deployment.Host) (takeover.State, error) {
	program, err := p.program()
	if err != nil {
		return takeover.State{}, err
	}
	return call[takeover.State](ctx, p, h, program, "takeover-look", struct{}{})
}

// GiveBack begins to undo the takeover of a key, as long as that can be, and says how far that is: none is what is left once
// it is done. Nothing is undone where none was begun.
func (p *Provider) GiveBack(ctx context.Context, h deployment.Host, pub []byte) (takeover.State, error) {
	program, err := p.bring(ctx, h)
	if err != nil {
		return takeover.State{}, err
	}
	return call[takeover.State](ctx, p, h, program, "takeover-undo", takeover.Whose{Deployment: p.Deployment, Host: h.Name, PubKey: pub})
}

// bring brings this program to a server, and nothing else.
func (p *Provider) bring(ctx context.Context, h deployment.Host) (program string, err error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return "", err
	}
	if err := p.suits(ctx, c); err != nil {
		return "", err
	}
	if program, err = p.program(); err != nil {
		return "", err
	}
	if err := push(ctx, c, p.Exe, p.sum, program); err != nil {
		return "", fmt.Errorf("bring this program to %q: %w", h.Name, err)
	}
	return program, nil
}
