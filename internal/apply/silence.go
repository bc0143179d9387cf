package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// Unproven says that nobody can tell from the chain that the validator's key is silent.
type Unproven struct{ Why string }

// Error implements error.
func (u *Unproven) Error() string {
	return "it is not proven that the validator's key is silent: " + u.Why
}

// Gone names the validator whose lost host a plan makes anew, "" where it does nothing of the kind.
func (s *Session) Gone(p plan.Plan) string {
	if s.AssignedKey().IsZero() {
		return ""
	}
	for _, st := range p.Steps() {
		if c, is := st.(plan.CreateHost); is && roster.Role(c.Role) == roster.RoleValidator {
			return c.Name
		}
	}
	return ""
}

// silentBlocks is in how many commits in a row a key must be missing.
const silentBlocks = node.DoubleSignCheckHeight

// ProveSilence watches the chain until others have made enough blocks, from now on, without a signature of the deployment's
// consensus key. An *Unproven says that it could not be seen.
func (s *Session) ProveSilence(ctx context.Context) error {
	pub := s.AssignedKey()
	if pub.IsZero() {
		return nil // nobody ever had it
	}
	address := signing.Address(pub.Public())
	ctx, cancel := context.WithTimeout(ctx, 3*silentBlocks*s.Config.Practice.BlockTime+fresh)
	defer cancel()
	t := time.NewTicker(s.Config.Practice.BlockTime / 4)
	defer t.Stop()
	first := s.newestCommit(ctx)
	if first.Height == 0 {
		return &Unproven{"no other validator of the network answers"}
	}
	last, seen := first.Height, 0
	for seen < silentBlocks {
		select {
		case <-ctx.Done():
			return &Unproven{fmt.Sprintf("the chain made %d new blocks, and %d are to be looked at", seen, silentBlocks)}
		case <-t.C:
		}
		commit := s.newestCommit(ctx)
		if commit.Height <= last {
			continue
		}
		if slices.Contains(commit.Signers, address) {
			return &Unproven{fmt.Sprintf("it signed block %d", commit.Height)}
		}
		last, seen = commit.Height, seen+1
		s.progress(Event{Word: fmt.Sprintf("block %d is not signed by the key (%d of %d)", commit.Height, seen, silentBlocks)})
	}
	return nil
}
