package apply

import (
	"context"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
)

// ByPlace supplies hosts on this computer and on machines.
type ByPlace struct{ Here, Machines Provider }

var _ Provider = ByPlace{}

func (p ByPlace) of(h deployment.Host) Provider {
	if h.OnMachine() {
		return p.Machines
	}
	return p.Here
}

// Create implements Provider.
func (p ByPlace) Create(ctx context.Context, h deployment.Host) error { return p.of(h).Create(ctx, h) }

// Stage implements Provider.
func (p ByPlace) Stage(ctx context.Context, h deployment.Host, d deployment.Daemon, from string) (string, error) {
	return p.of(h).Stage(ctx, h, d, from)
}

// Destroy implements Provider.
func (p ByPlace) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	return p.of(h).Destroy(ctx, h, keep)
}

// StartAgent implements Provider.
func (p ByPlace) StartAgent(ctx context.Context, h deployment.Host) error {
	return p.of(h).StartAgent(ctx, h)
}

// StopAgent implements Provider.
func (p ByPlace) StopAgent(ctx context.Context, h deployment.Host) error {
	return p.of(h).StopAgent(ctx, h)
}

// RestartAgent implements Provider.
func (p ByPlace) RestartAgent(ctx context.Context, h deployment.Host) error {
	return p.of(h).RestartAgent(ctx, h)
}

// Client implements Provider.
func (p ByPlace) Client(h deployment.Host) *api.Client { return p.of(h).Client(h) }

// Inspect implements Provider.
func (p ByPlace) Inspect(ctx context.Context, h deployment.Host) (api.HostStatus, error) {
	return p.of(h).Inspect(ctx, h)
}

// Exists implements Provider.
func (p ByPlace) Exists(ctx context.Context, h deployment.Host) (bool, error) {
	return p.of(h).Exists(ctx, h)
}
