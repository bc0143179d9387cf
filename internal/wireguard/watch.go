package wireguard

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"
)

// lookEvery is how often to look where the kernel does not tell.
const lookEvery = 2 * time.Second

// poll calls changed whenever look gives something else than before, until ctx is done.
func poll(ctx context.Context, look func() (string, error), changed func()) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	return follow(look, changed, func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		}
	})
}

// follow looks whenever wait returns, and calls changed if that gives something else than before. It ends with an error
// of one of the two.
func follow(look func() (string, error), changed func(), wait func() error) error {
	last, err := look()
	if err != nil {
		return err
	}
	for {
		if err := wait(); err != nil {
			return err
		}
		now, err := look()
		if err != nil {
			return err
		}
		if now != last {
			last = now
			changed()
		}
	}
}

// addresses returns this computer's addresses as one text.
func addresses() (string, error) {
	as, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	var out []string
	for _, a := range as {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}
