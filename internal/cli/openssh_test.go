package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/apply"
)

// What is opened for a time ends by the clock on the wall, also where the computer slept meanwhile and timers stood.
func TestWaitUntilAfterASleep(t *testing.T) {
	for name, slept := range map[string]time.Duration{"awake": 0, "slept over the end": 2 * time.Hour, "slept before it": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, looks := time.Now(), 0
				now := func() time.Time {
					if looks++; looks == 1 {
						return time.Now()
					}
					return time.Now().Add(slept)
				}
				const limit = 30 * time.Minute
				waitUntil(t.Context(), begun.Add(limit), now)
				want := max(limit-slept, wallTick)
				if took := time.Since(begun); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
			})
		})
	}
}

func TestWaitUntilIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		waitUntil(ctx, begun.Add(time.Hour), time.Now)
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// Whatever was begun is shut once, and not by a context that Ctrl-C has ended. What waited for a lock has begun nothing.
func TestForATimeShuts(t *testing.T) {
	broken := errors.New("a cloud did not answer")
	for name, c := range map[string]struct {
		err          error
		waits, shuts int
	}{
		"opened": {nil, 1, 1}, "opened in part": {broken, 0, 1}, "locked": {&apply.Locked{}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			waits, shuts := 0, 0
			err := forATime(ctx, func(context.Context) error { interrupt(); return c.err }, func(context.Context) { waits++ }, func(ctx context.Context) error {
				shuts++
				return ctx.Err()
			})
			if !errors.Is(err, c.err) || c.err == nil && err != nil || waits != c.waits || shuts != c.shuts {
				t.Errorf("%v, waited %d times, shut %d times", err, waits, shuts)
			}
		})
	}
}

// Nobody lets in the whole internet by a slip.
func TestFromIsNarrow(t *testing.T) {
	for from, c := range map[string]struct {
		wide bool
		want string // empty: refused
	}{
		"198.51.100.7":        {false, "198.51.100.7/32"},
		"::ffff:198.51.100.7": {false, "198.51.100.7/32"},
		"198.51.0.0/16":       {false, "198.51.0.0/16"},
		"2001:db8::/32":       {false, "2001:db8::/32"},
		"0.0.0.0/0":           {false, ""},
		"::/0":                {false, ""},
		"128.0.0.0/1":         {false, ""},
		"::ffff:0:0/96":       {false, ""},
		"198.51.100.7/24":     {true, ""}, // not its first address
		"0.0.0.0/0 ":          {true, ""},
	} {
		o := openSSHCmd{from: from, wide: c.wide}
		if got, err := o.network(t.Context(), nil); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("--from %q: %q, %v", from, got, err)
		}
	}
	for _, from := range []string{"0.0.0.0/0", "::/0"} {
		o := openSSHCmd{from: from, wide: true}
		if got, err := o.network(t.Context(), nil); got != from || err != nil {
			t.Errorf("--from %q --wide: %q, %v", from, got, err)
		}
	}
}
