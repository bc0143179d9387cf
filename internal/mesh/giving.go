package mesh

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/pressenter/pressenter/internal/roster"
)

// How often a peer is given again what it was given before: it may have been rolled back, and a connection may have broken.
const (
	giveAgain      = 4 // times at once
	giveAgainEvery = 10 * time.Minute
)

// giving is what a peer was given. What it says that it has is its word alone: whoever says "nothing" each time is not
// sent all there is each time.
type giving struct {
	heads []roster.Hash // of what was sent, with all their ancestors
	again *rate.Limiter // of sending that again
}

func newGiving() giving {
	return giving{again: rate.NewLimiter(rate.Every(giveAgainEvery), giveAgain)}
}

// give returns what to send to a peer that says what it has, parents first, as much as fits in one exchange.
func (m *Mesh) give(p *peer, has []roster.Hash) []roster.Envelope {
	m.mu.Lock()
	heads, given := m.rosters.heads, p.fetch.given.heads
	m.mu.Unlock()
	lacks := m.c.Rosters.Missing(has...)
	if len(lacks) == 0 {
		return nil
	}
	if given != nil {
		news := m.c.Rosters.Missing(append(given[:len(given):len(given)], has...)...)
		m.mu.Lock()
		if len(news) < len(lacks) && !p.fetch.given.again.Allow() {
			lacks = news
		}
		m.mu.Unlock()
	}
	sent := fitting(lacks)
	if len(sent) < len(lacks) {
		heads = []roster.Hash{sent[len(sent)-1].Hash()}
	}
	m.mu.Lock()
	p.fetch.given.heads = heads
	m.mu.Unlock()
	return sent
}

// fitting returns as many of envs as one exchange may hold.
func fitting(envs []roster.Envelope) []roster.Envelope {
	total := 0
	for i, e := range envs {
		total += roster.EncodedLen(e)
		if i == maxSent || total > maxSentBytes {
			return envs[:i]
		}
	}
	return envs
}
