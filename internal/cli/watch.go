package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"
)

// watchEvery is how often what is watched is drawn.
const watchEvery = time.Second

// watch draws again and again until ctx is done. What draw writes appears at once, on a terminal in place of what was
// there before; JSON is one object after the other.
func watch(ctx context.Context, w io.Writer, asJSON bool, draw func(io.Writer, style) error) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		var b bytes.Buffer
		if !asJSON && isTerminal(w) {
			b.WriteString("\033[H\033[2J")
		}
		err := draw(&b, styleFor(w))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !asJSON {
			fmt.Fprintln(&b)
		}
		if _, err := b.WriteTo(w); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
