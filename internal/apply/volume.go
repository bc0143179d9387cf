package apply

import (
	"context"

	"github.com/pressenter/pressenter/internal/deployment"
)

// setUp starts a host's agent, which sets its machine up, and notes how large the volume was then: until that is noted, a
// volume that grew in the cloud has a file system to grow.
func (s *Session) setUp(ctx context.Context, side *sideState, want *deployment.Inventory, h deployment.Host) error {
	if err := s.Provider.StartAgent(ctx, h); err != nil {
		return err
	}
	if h.VolumeSet == h.VolumeGB {
		return nil
	}
	h.VolumeSet = h.VolumeGB
	return s.remember(side, want, h)
}
