package earlygc

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestOn(t *testing.T) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		t.Skip("the environment says when to collect")
	}
	if got := debug.SetGCPercent(-1); got != -1 {
		t.Errorf("collection starts at %d %% before On, want never", got)
	}
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("collection starts at %d bytes before On, want %d", got, limit)
	}
	On()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("collection starts at %d %% after On, want 100", got)
	}
}
