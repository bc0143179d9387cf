package mesh

import "time"

// What one peer may make us do.
const (
	answersPerSecond = 20
	answersAtOnce    = 60
)

// bucket limits how often something is done for one peer.
type bucket struct {
	tokens float64
	at     instant
}

func newBucket(now instant) bucket { return bucket{tokens: answersAtOnce, at: now} }

// take reports whether it may be done once more.
func (b *bucket) take(now instant) bool {
	b.tokens = min(answersAtOnce, b.tokens+float64(now-b.at)/float64(time.Second)*answersPerSecond)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
