package doctor

import (
	"testing"
	"testing/synctest"
	"time"
)

func goodClock() Clock {
	return Clock{
		Start: begin, End: begin.Add(2 * time.Second), Elapsed: 2 * time.Second, Built: begin.AddDate(0, -1, 0),
		Newest: begin.Add(-time.Hour), NewestPath: "/d/inventory.json", Kernel: Kernel{Synchronised: true, MaxError: 3 * time.Millisecond},
		Blocks: []Block{
			{Host: "s1", Height: 8, Time: begin.Add(-time.Second), Seen: begin.Add(time.Second)},
			{Host: "s2", Height: 9, Time: begin, Seen: begin.Add(time.Second), Fresh: true},
		},
		Interval: time.Second,
	}
}

func TestClocks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*Clock)
		code  string
		want  Verdict
		says  string
	}{
		{"good", func(*Clock) {}, CodeClockChain, OK, "agrees"},
		{"before it was built", func(c *Clock) { c.Built = begin.AddDate(0, 0, 1) }, CodeClockYear, Critical, "built then"},
		{"without a battery", func(c *Clock) { c.Built, c.End = time.Time{}, time.Unix(0, 0) }, CodeClockYear, Critical, "first version"},
		{"far in the future", func(c *Clock) { c.End = begin.AddDate(40, 0, 0) }, CodeClockYear, Warning, "fifteen years"},
		{"nobody keeps it", func(c *Clock) { c.Kernel.Synchronised = false }, CodeClockSync, Warning, "not synchronised"},
		{"nobody says", func(c *Clock) { c.Kernel = Kernel{Err: "not permitted"} }, CodeClockSync, NotChecked, "not permitted"},
		{"set forward", func(c *Clock) { c.Elapsed -= 1500 * time.Millisecond }, CodeClockStep, Warning, "was set"},
		{"set back", func(c *Clock) { c.End = begin.Add(-time.Minute) }, CodeClockStep, Warning, "was set"},
		{"slewed", func(c *Clock) { c.Elapsed += 900 * time.Microsecond }, CodeClockStep, OK, "evenly"},
		{"file from the future", func(c *Clock) { c.Newest = c.End.Add(time.Hour) }, CodeClockFiles, Warning, "set back"},
		{"no files", func(c *Clock) { c.Newest = time.Time{} }, CodeClockFiles, NotChecked, "no deployment"},
		{"block from the future", func(c *Clock) { c.Blocks[0].Time = c.Blocks[0].Seen.Add(6 * time.Second) }, CodeClockChain, Warning, "behind"},
		{"block hardly from the future", func(c *Clock) { c.Blocks[0].Time = c.Blocks[0].Seen.Add(4 * time.Second) }, CodeClockChain, OK, "agrees"},
		{"new block is old", func(c *Clock) { c.Blocks[1].Time = c.Blocks[1].Seen.Add(-8 * time.Second) }, CodeClockChain, Warning, "ahead"},
		{"new block of a slow chain", func(c *Clock) { c.Blocks[1].Time, c.Interval = c.Blocks[1].Seen.Add(-8*time.Second), 0 }, CodeClockChain, OK, "agrees"},
		{"old block of a chain that stands still", func(c *Clock) { c.Blocks = c.Blocks[:1]; c.Blocks[0].Time = begin.Add(-time.Hour) }, CodeClockChain, NotChecked, "no new block"},
		{"no node", func(c *Clock) { c.Blocks = nil }, CodeClockChain, NotChecked, "no node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := goodClock()
			tt.spoil(&c)
			find(t, Clocks(c), tt.code, Computer, tt.want, tt.says)
		})
	}
}

// Looking takes as long by both clocks where nobody sets one.
func TestClockOfLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		time.Sleep(3 * time.Second)
		c := Target{Dir: "/nowhere"}.clock(t.Context(), start, &Facts{})
		if c.Elapsed != 3*time.Second || c.End.Sub(c.Start) != 3*time.Second {
			t.Errorf("clock went on %s, and by the other %s, want 3 s", c.End.Sub(c.Start), c.Elapsed)
		}
		if c.Start != start.Round(0) {
			t.Error("the start holds the clock that nobody can set: a difference to it would show no step")
		}
	})
}
