package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
)

// reason returns what went wrong without the addresses that the network's errors carry. A look-up that times out tells
// in words which of our addresses it asked from.
func reason(err error) error {
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			return fmt.Errorf("look up %s: no such host", dns.Name)
		case dns.IsTimeout:
			return fmt.Errorf("look up %s: no answer in time", dns.Name)
		}
		return fmt.Errorf("look up %s: no answer", dns.Name)
	}
	for op := (*net.OpError)(nil); errors.As(err, &op); {
		err = op.Err
	}
	return err
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
