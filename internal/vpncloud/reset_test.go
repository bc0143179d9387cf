package vpncloud

import (
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

func TestReset(t *testing.T) {
	a, b, stranger := tunnel.Key{1}, tunnel.Key{2}, tunnel.Key{3}
	now := time.Now()
	for _, c := range []struct {
		name    string
		running bool
		started time.Time
		before  map[tunnel.Key]time.Time
		key     tunnel.Key
		restart bool
		fails   bool
	}{
		{name: "stranger", running: true, started: now.Add(-time.Hour), key: stranger, fails: true},
		{name: "one of two", running: true, started: now.Add(-time.Hour), key: a},
		{name: "the other long ago", running: true, started: now.Add(-time.Hour), before: map[tunnel.Key]time.Time{b: now.Add(-time.Minute)}, key: a},
		{name: "all", running: true, started: now.Add(-time.Hour), before: map[tunnel.Key]time.Time{b: now.Add(-time.Second)}, key: a, restart: true},
		{name: "all, just restarted", running: true, started: now, before: map[tunnel.Key]time.Time{b: now.Add(-time.Second)}, key: a},
		{name: "all, not running", started: now.Add(-time.Hour), before: map[tunnel.Key]time.Time{b: now.Add(-time.Second)}, key: a},
	} {
		d := &Device{
			wanted: []tunnel.Peer{{Key: a}, {Key: b}}, started: c.started, poke: make(chan struct{}, 1), resets: map[tunnel.Key]time.Time{},
		}
		for k, at := range c.before {
			d.resets[k] = at
		}
		if c.running {
			d.running = trusted(d.wanted)
		}
		err := d.Reset(c.key)
		if _, due := d.restartDue(); c.running && due != c.restart || d.restart != c.restart || (err != nil) != c.fails {
			t.Errorf("%s: restart %v, %v", c.name, d.restart, err)
		}
	}
}
