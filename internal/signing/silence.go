package signing

import (
	"fmt"
	"math"
)

// SilentBlocks is how many consecutive blocks must pass without a signature of a key before this host may sign
// with it. It is above CometBFT's own double_sign_check_height that we set, so a node that is merely restarting
// elsewhere shows itself within the watch.
const SilentBlocks = 30

// Proof is what a host saw when it watched the chain for signatures of a key. Every height from From to Until was
// read; none was skipped.
type Proof struct {
	From  int64 `json:"from"`
	Until int64 `json:"until"`
	// Signed is the highest height at which the key signed (for a block or for nil) within the watch, 0 = never.
	Signed int64 `json:"signed"`
}

// Floor returns the height up to which nothing may be signed, or why the key may not be armed. known is the
// highest height that the key is known to have signed from files.
func Floor(known int64, p Proof) (int64, error) {
	switch {
	case p.From <= 0 || p.Until < p.From || p.Until == math.MaxInt64:
		return 0, fmt.Errorf("arm consensus key: heights %d to %d are no watch", p.From, p.Until)
	case p.Signed != 0:
		return 0, fmt.Errorf("arm consensus key: somebody signed with it at height %d; find and stop that signer for good first", p.Signed)
	case p.Until-p.From+1 < SilentBlocks:
		return 0, fmt.Errorf("arm consensus key: %d silent blocks seen, %d are needed", p.Until-p.From+1, SilentBlocks)
	case p.From <= known:
		return 0, fmt.Errorf("arm consensus key: it is known to have signed height %d and the watch began at %d; is this the right chain, and is the node caught up?", known, p.From)
	}
	return p.Until, nil
}
