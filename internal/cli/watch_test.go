package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		asJSON bool
		want   string
	}{
		"pictures": {false, "1\n\n2\n\n3\n\n"},
		"JSON":     {true, "1\n2\n3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*watchEvery/2)
				defer cancel()
				var out bytes.Buffer
				n := 0
				err := watch(ctx, &out, tt.asJSON, func(w io.Writer, _ style) error {
					n++
					_, err := fmt.Fprintln(w, n)
					return err
				})
				if err != nil || out.String() != tt.want {
					t.Errorf("%q, %v; want %q", out.String(), err, tt.want)
				}
			})
		})
	}
}

// TestWatchEnds lets a drawing fail: by itself, and because the watch is over.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("nobody answers")
		var out bytes.Buffer
		half := func(w io.Writer, _ style) error {
			fmt.Fprint(w, "half a pic")
			return failed
		}
		if err := watch(t.Context(), &out, false, half); !errors.Is(err, failed) {
			t.Errorf("%v, want the drawing's error", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := watch(ctx, &out, false, func(w io.Writer, _ style) error {
			<-ctx.Done()
			return half(w, style{})
		})
		if err != nil || out.Len() > 0 {
			t.Errorf("%v and %q, want nothing of a drawing that was cut short", err, out.String())
		}
	})
}
