package comet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// DialPeers tells the node to dial these peers, id@host:port, now and whenever a link to one of them is lost, in place of
// those that it did that for. The node takes the order only where its configuration has rpc.unsafe.
func (c *Client) DialPeers(ctx context.Context, peers []string) error {
	list, err := json.Marshal(peers)
	if err != nil {
		return err
	}
	q := url.Values{"peers": {string(list)}, "persistent": {"true"}}
	if err := c.get(ctx, "/dial_peers?"+q.Encode(), maxBody, &struct{}{}); err != nil {
		return fmt.Errorf("tell node at %q whom to dial: %w", c.URL, err)
	}
	return nil
}
