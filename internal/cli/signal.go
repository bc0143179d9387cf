package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// signaled is why a context ended: somebody wants the program to end.
type signaled struct{ syscall.Signal }

func (s signaled) Error() string { return s.String() + " signal received" }

// exitCode is what a shell reports of a program that the signal ended.
func (s signaled) exitCode() int { return 128 + int(s.Signal) }

// interrupted is the exit code of a command that a signal ended early.
func interrupted(ctx context.Context) (code int, yes bool) {
	var s signaled
	if !errors.As(context.Cause(ctx), &s) {
		return 0, false
	}
	return s.exitCode(), true
}

// untilSignal returns a context that ends when the program is asked to end. What runs then finishes what cannot be left
// half done. Whoever presses Ctrl-C again does not want to wait for that: the program ends at once. Any other signal is
// sent by machines, which have a stronger one, so its repetition means no more than the first.
func untilSignal(parent context.Context, stderr io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			if ctx.Err() != nil && s == os.Interrupt {
				fmt.Fprintln(stderr, "pressenter: interrupted again: ended at once; run the same command again to go on")
				os.Exit(signaled{syscall.SIGINT}.exitCode())
			}
			if number, ok := s.(syscall.Signal); ok {
				cancel(signaled{number})
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
