package apply

import (
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// usualBlockTime is about how long a block takes where nobody told us.
const usualBlockTime = 6 * time.Second

// blockTime is about how long the chain takes for a block.
func (s *Session) blockTime() time.Duration {
	if t := s.Config.Practice.BlockTime; t > 0 {
		return t
	}
	if a := s.Adoption(); a != nil && a.BlockTime > 0 {
		return a.BlockTime
	}
	return usualBlockTime
}

// others are the nodes whose word on what the validator signed counts: the world's validators, and on a network that is
// there already the sentries, which verify what its validators made.
func (s *Session) others() []deployment.Host {
	if !s.want.Existing() {
		return s.world.inventory.Hosts
	}
	return slices.DeleteFunc(slices.Clone(s.own.inventory.Hosts), func(h deployment.Host) bool { return h.Role != roster.RoleSentry })
}
