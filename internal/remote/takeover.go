package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/machine"
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

// takenScript prints the journal of a takeover, where there is one: this program need not be there, or another build of it is.
const takenScript = `if [ -e "$1" ] || [ -L "$1" ]; then exec cat "$1"; fi; echo '{}'`

// TakenOver says how far a takeover is. It needs nothing of ours on the server, and changes nothing.
func (p *Provider) TakenOver(ctx context.Context, h deployment.Host) (st takeover.State, err error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return st, err
	}
	out, err := reader{c}.Run(ctx, takenScript, 1<<20, path.Join(machine.Folder, "agent", "takeover.json"))
	if err != nil {
		return st, fmt.Errorf("read how far a takeover is: %w", err)
	}
	if err := json.Unmarshal(out, &st); err != nil {
		return st, errors.New("read how far a takeover is: its journal is damaged")
	}
	health.PlainAll(&st)
	switch st.Phase {
	case takeover.None, takeover.Silencing, takeover.Moving, takeover.Done, takeover.Undoing:
		return st, nil
	}
	return st, fmt.Errorf("read how far a takeover is: there is no phase %q", st.Phase)
}

// genesisScript prints the first of some files that is there.
const genesisScript = `for f; do if [ -f "$f" ]; then exec cat "$f"; fi; done; echo "no genesis is there" >&2; exit 1`

// TakenGenesis reads the network's genesis from a home that is being taken over, or was. It is the one of the order.
func (p *Provider) TakenGenesis(ctx context.Context, h deployment.Host, o takeover.Order) ([]byte, error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return nil, err
	}
	const file = "config/genesis.json"
	genesis, err := reader{c}.Run(ctx, genesisScript, 64<<20, path.Join(machine.Folder, "node", "home", file), path.Join(o.Home, file))
	if err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	if sum := sha256.Sum256(genesis); hex.EncodeToString(sum[:]) != o.Genesis {
		return nil, fmt.Errorf("read genesis: it has the SHA-256 %x, and the one that was joined has %s", sum, o.Genesis)
	}
	return genesis, nil
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
