package relay

import (
	"sync"
	"time"
)

// bucket is a token bucket: so much a second, and up to burst at once. It starts full.
type bucket struct {
	rate, burst float64

	mu    sync.Mutex
	spent float64 // of burst, at the time of
	at    time.Time
}

// take reports whether n more may pass now.
func (b *bucket) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.spent = max(0, b.spent-now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.spent+float64(n) > b.burst {
		return false
	}
	b.spent += float64(n)
	return true
}
