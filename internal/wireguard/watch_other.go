//go:build !linux

package wireguard

import "context"

// WatchUnderlay calls changed after an address of this computer came or went, until ctx is done. It notices within two
// seconds. It returns ctx's error, or why it cannot watch.
func WatchUnderlay(ctx context.Context, changed func()) error { return poll(ctx, addresses, changed) }
