package comet

import (
	"context"
	"fmt"
	"strings"
)

// Pages of /validators. The node gives at most 100 a page; no chain has more validators than these hold.
const (
	validatorsPerPage = 100
	maxValidatorPages = 20
)

// InValidatorSet says whether the validator with this consensus address (hex) may vote at a height. Where it may not, the
// absence of its signature says nothing.
func (c *Client) InValidatorSet(ctx context.Context, height int64, address string) (bool, error) {
	for page := 1; page <= maxValidatorPages; page++ {
		var j struct {
			Total      Int `json:"total"`
			Validators []struct {
				Address string `json:"address"`
			} `json:"validators"`
		}
		path := fmt.Sprintf("/validators?height=%d&page=%d&per_page=%d", height, page, validatorsPerPage)
		if err := c.get(ctx, path, maxBody, &j); err != nil {
			return false, fmt.Errorf("read validators at height %d of node at %q: %w", height, c.URL, err)
		}
		for _, v := range j.Validators {
			if strings.EqualFold(v.Address, address) {
				return true, nil
			}
		}
		if len(j.Validators) == 0 || page*validatorsPerPage >= int(j.Total) {
			return false, nil
		}
	}
	return false, fmt.Errorf("read validators at height %d of node at %q: more than %d", height, c.URL, maxValidatorPages*validatorsPerPage)
}
