package adopt

import (
	"context"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
)

// paceOver is over how many blocks their time is taken.
const paceOver = 100

// pace is about how long the newest blocks took, by their headers; 0 where that cannot be told.
func pace(ctx context.Context, c *comet.Client, newest comet.Status) time.Duration {
	from := max(newest.Height-paceOver, newest.Earliest, 1)
	if from >= newest.Height {
		return 0
	}
	b, err := c.Commit(ctx, from)
	if err != nil || int64(b.Header.Height) != from {
		return 0
	}
	took := newest.Time.Sub(b.Header.Time) / time.Duration(newest.Height-from)
	if took < 10*time.Millisecond || took > time.Hour { // what no chain does
		return 0
	}
	return took
}
