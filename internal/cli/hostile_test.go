package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/apply"
)

// What errors, progress and logs carry of others' words is written out, and lines stay lines.
func TestOthersWordsArePlain(t *testing.T) {
	const hostile = "a\x1b[2J\rb"
	var errs, shown, log bytes.Buffer
	explain(&errs, hint(errors.New(hostile+"\nsecond line"), "%s", hostile))
	(&progress{out: &shown, begun: time.Now()}).show(apply.Event{Word: hostile, Why: true})
	long := strings.Repeat("x", 100_000)
	if err := copyLog(&log, strings.NewReader(hostile+"\n\tindented\n"+long+"\nend without a line's end")); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*bytes.Buffer{"an error": &errs, "progress": &shown, "a log": &log} {
		if !strings.Contains(b.String(), `a\x1b[2J\x0db`) || strings.ContainsAny(b.String(), "\x1b\r") {
			t.Errorf("%s: %.200q", name, b.String())
		}
	}
	if want := "a\\x1b[2J\\x0db\n\tindented\n" + long + "\nend without a line's end"; log.String() != want {
		t.Errorf("the log is %d bytes, want %d", log.Len(), len(want))
	}
	if strings.Count(errs.String(), "\n") != 3 {
		t.Errorf("lines of an error: %q", errs.String())
	}
}
