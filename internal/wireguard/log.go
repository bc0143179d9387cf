package wireguard

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/underlay"
	"golang.zx2c4.com/wireguard/device"
)

// redacted is an error that tells no address and can still be matched.
type redacted struct{ error }

func (r redacted) Error() string { return underlay.Redact(r.error.Error(), netip.Prefix{}) }
func (r redacted) Unwrap() error { return r.error }

// quiet is how long an error that repeats is kept back: a host without a network has one for every packet.
const quiet = time.Minute

// deviceLogger returns where WireGuard in user space logs to: l, without addresses, and without an error of one kind
// more often than once a minute.
func deviceLogger(l *slog.Logger) *device.Logger {
	log := func(level slog.Level, format string, args []any, attrs ...slog.Attr) {
		says := underlay.Redact(fmt.Sprintf(format, args...), netip.Prefix{})
		l.LogAttrs(context.Background(), level, "wireguard", append(attrs, slog.String("says", says))...)
	}
	var mu sync.Mutex
	last, kept := map[string]time.Time{}, map[string]int{}
	return &device.Logger{
		Verbosef: func(format string, args ...any) {
			if l.Enabled(context.Background(), slog.LevelDebug) {
				log(slog.LevelDebug, format, args)
			}
		},
		Errorf: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			if t, ok := last[format]; ok && time.Since(t) < quiet {
				kept[format]++
				return
			}
			last[format] = time.Now()
			log(slog.LevelWarn, format, args, slog.Int("unsaid", kept[format]))
			kept[format] = 0
		},
	}
}
